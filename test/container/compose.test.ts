import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { composeServices } from './parts.ts'

const services = composeServices()
const names = [...services.keys()]

describe('docker-compose.yml', () => {
  it('every image has a version, and the S3 server is replaced by one line', () => {
    const images = [...services.values()].map(({ image }) => image.replace(/^\$\{\w+:-(.*)\}$/, '$1'))
    expect(images.filter((image) => image !== 'pgproof' && !/:v?\d|:RELEASE\.\d/.test(image))).toEqual([])
    const text = readFileSync('docker-compose.yml', 'utf8')
    expect(text.match(/minio\/minio:/g)).toHaveLength(1)
    const tests = readFileSync('test/support/s3-server.ts', 'utf8')
    const minio = /minio\/minio:[\w.-]+/.exec(text)?.[0] ?? 'none'
    expect(tests).toContain(minio)
  })

  it('every service: read-only root, no capabilities, no new privileges; none is reachable from other machines', () => {
    for (const [name, service] of services) {
      expect(service.read_only, name).toBe(true)
      expect(service.cap_drop, name).toEqual(['ALL'])
      expect(service.security_opt, name).toContain('no-new-privileges:true')
      expect(service.privileged, name).toBeUndefined()
      expect((service.ports ?? []).filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([])
    }
  })

  it('every service that stays has a health check, and waits for those it needs', () => {
    for (const [name, { healthcheck, depends_on }] of services) {
      if (name === 'setup') continue
      // That of pgproof is in the image.
      if (name !== 'pgproof') expect(healthcheck?.test?.[0], name).toBe('CMD')
      for (const [other, { condition }] of Object.entries(depends_on ?? {}))
        expect(condition, `${name} → ${other}`).toBe(
          other === 'setup' ? 'service_completed_successfully' : 'service_healthy',
        )
    }
    const waiting = names.filter((name) => services.get(name)?.depends_on?.['setup'] !== undefined)
    expect(waiting.sort()).toEqual(['db', 'grafana', 'pgproof', 's3'])
  })

  it('what is mounted from the repository is in it; secrets are files, and none is committed', () => {
    const mounted = [...services.values()]
      .flatMap(({ volumes = [] }) => volumes)
      .map((volume) => volume.split(':')[0] ?? '')
      .filter((source) => source.startsWith('./'))
    expect(mounted).toContain('./config/prometheus')
    // These are made by the set-up.
    const isMade = (source: string): boolean => source.startsWith('./compose/secrets/')
    expect(mounted.filter((source) => !isMade(source) && !existsSync(source))).toEqual([])
    for (const folder of ['secrets', 'keys', 'escrow'])
      expect(readFileSync(join('compose', folder, '.gitignore'), 'utf8')).toMatch(/^\*$/m)
    const settings = [...services.values()].flatMap(({ environment = {} }) => Object.entries(environment))
    const secrets = settings.filter(([key, value]) => /PASSWORD|SECRET|TOKEN/.test(key) && !value.startsWith('/run/'))
    expect(secrets).toEqual([])
  })

  it('nobody but the set-up sees the keys in escrow, and each container its own secrets only', () => {
    const who = (source: string): string[] =>
      names.filter((name) => services.get(name)?.volumes?.some((volume) => volume.split(':')[0] === source))
    expect(who('./compose/escrow')).toEqual(['setup'])
    expect(who('./compose/secrets')).toEqual(['setup'])
    expect(who('./compose/keys')).toEqual(['setup', 'pgproof'])
    for (const name of ['db', 's3', 'pgproof', 'grafana']) expect(who(`./compose/secrets/${name}`)).toEqual([name])
  })
})

describe('compose/setup.sh', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'pgproof-compose-'))
    mkdirSync(join(folder, 'bin'))
    // As in the image: the command on the PATH, and root's right to give files away, which a test need not have.
    writeFileSync(
      join(folder, 'bin', 'pgproof'),
      `#!/bin/sh\nexec '${process.execPath}' '${join(process.cwd(), 'src', 'main.ts')}' "$@"\n`,
    )
    chmodSync(join(folder, 'bin', 'pgproof'), 0o755)
    symlinkSync('/bin/true', join(folder, 'bin', 'chown'))
    mkdirSync(join(folder, 'compose'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const setUp = (): string =>
    execFileSync('sh', ['compose/setup.sh', join(folder, 'compose')], {
      encoding: 'utf8',
      env: { PATH: `${join(folder, 'bin')}:${process.env['PATH']}` },
    })
  const contents = (): Record<string, string> =>
    Object.fromEntries(
      readdirSync(join(folder, 'compose'), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .map((path) => [path, readFileSync(path, 'utf8')]),
    )

  it('the first time makes secrets that only their owner reads; the second time changes nothing', async () => {
    const said = setUp()
    const made = contents()
    const paths = Object.keys(made).map((path) => path.slice(join(folder, 'compose').length + 1))
    expect(paths.sort()).toEqual([
      'escrow/backup-escrow.key.asc',
      'escrow/backup-escrow.rev.asc',
      'escrow/backup.kit.md',
      'keys/backup-escrow.pub.asc',
      'keys/backup.key.asc',
      'keys/backup.pub.asc',
      'keys/backup.rev.asc',
      'keys/signing.key.asc',
      'keys/signing.pub.asc',
      'keys/signing.rev.asc',
      'secrets/db/pg_password',
      'secrets/grafana/admin_password',
      'secrets/grafana_password',
      'secrets/pgproof/ops.sha256',
      'secrets/pgproof/pg_password',
      'secrets/pgproof/s3_secret',
      'secrets/s3/s3_secret',
      'secrets/token',
    ])
    for (const [path, text] of Object.entries(made)) {
      if (/secrets|key\.asc$/.test(path)) expect(statSync(path).mode & 0o077, path).toBe(0)
      if (path.includes('secrets')) expect(said).not.toContain(text)
    }
    const secrets = Object.entries(made).filter(([path]) => /secrets\/(?!pgproof|grafana\/)/.test(path))
    expect(new Set(secrets.map(([, text]) => text)).size).toBe(4)
    expect(made[join(folder, 'compose', 'secrets', 'pgproof', 's3_secret')]).toBe(
      made[join(folder, 'compose', 'secrets', 's3', 's3_secret')],
    )
    setUp()
    expect(contents()).toEqual(made)
  })

  it('cut short between key and public key - the next time there is a whole pair', () => {
    const keys = join(folder, 'compose', 'keys')
    const before = readFileSync(join(keys, 'signing.pub.asc'), 'utf8')
    mkdirSync(join(keys, 'new'))
    writeFileSync(join(keys, 'new', 'signing.key.asc'), 'half')
    rmSync(join(keys, 'signing.pub.asc'))
    setUp()
    expect(existsSync(join(keys, 'new'))).toBe(false)
    expect(readFileSync(join(keys, 'signing.pub.asc'), 'utf8')).not.toBe(before)
    expect(readFileSync(join(keys, 'signing.key.asc'), 'utf8')).toContain('BEGIN PGP PRIVATE KEY BLOCK')
  })

  it('what it made is what compose/pgproof.yaml asks for', async () => {
    setUp()
    const text = readFileSync('compose/pgproof.yaml', 'utf8')
    const secrets = join(folder, 'compose', 'secrets', 'pgproof')
    writeFileSync(join(folder, 'compose', 'pgproof.yaml'), text.replaceAll('/run/secrets', secrets))
    const { config } = await loadConfig({ file: 'pgproof.yaml', env: {}, cwd: join(folder, 'compose') })
    expect(config.servers[0]?.name).toBe('main')
  })
})
