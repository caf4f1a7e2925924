import { copyFile, cp, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { readRecipients } from '../../src/encryption/keys.ts'
import { startGpg } from '../support/gpg.ts'
import { testDatabase } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { type CliFolder, type CliOptions, cliFolder } from './cli.ts'

// A machine on which nothing is but pgproof: an empty folder with the private key.
let shop: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder
let night = ''
let store = ''
let label = ''
let roles = ''
let options: CliOptions

beforeAll(async () => {
  shop = await testDatabase('template1')
  await query(shop.url, 'CREATE TABLE sold (id int); INSERT INTO sold SELECT generate_series(1, 500)')
  folder = await cliFolder([shop.name])
  roles = String((await folder.json(['backup', '--roles'])).document['runs']?.[0]?.['label'])
  label = String((await folder.json(['backup'])).document['runs']?.[0]?.['label'])
  expect((await folder.run(['drill'])).code).toBe(0)
  night = await mkdtemp(join(tmpdir(), 'night-'))
  store = join(night, 'disk/backups')
  await mkdir(join(night, 'disk'))
  await rename(join(folder.path, 'store'), store)
  await copyFile(join(folder.path, 'key.asc'), join(night, 'backup.key.asc'))
  // A PGPROOF_CONFIG that is left over somewhere must not matter.
  options = {
    config: null,
    cwd: night,
    env: { PGPROOF_CONFIG: 'gone.yaml', PGPROOF_DRILL__SPOOL: join(night, 'spool') },
  }
})
afterAll(async () => {
  await rm(night, { recursive: true, force: true })
  await folder[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

describe('the store alone', () => {
  it.each([
    ['a path', () => 'disk/backups'],
    ['a URL', () => `file://${store}`],
  ])('list, %s - every backup and drill', async (_what, given) => {
    const { code, stdout, stderr } = await folder.run(['list', '--store', given()], options)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^${label}  main/${shop.name} .* verified \\d+ s ago$`, 'm'))
    expect(stdout).toMatch(new RegExp(`^${roles}  main \\(roles\\) `, 'm'))
    const { document } = await folder.json(['list', '--drills', '--store', given()], options)
    expect(document).toMatchObject({ drills: [{ verdict: 'passed', backup: label }] })
  })

  it('list --server - of the catalog; another one - exit 2 that names those there are', async () => {
    const { stdout } = await folder.run(['list', '--store', store, '--server', 'main'], options)
    expect(stdout).toContain(label)
    const { code, stderr } = await folder.run(['list', '--store', store, '--server', 'other'], options)
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: 'error: no server named "other" is known\nhint: Known servers: main.\n',
    })
  })

  it('status - the databases and roles that the store knows, and nothing that worries', async () => {
    const { code, document } = await folder.json(['status', '--store', store], options)
    expect(code).toBe(0)
    expect(document).toMatchObject({
      databases: [
        { server: 'main', database: shop.name, newestBackup: { label }, backups: { retained: 1, verified: 1 } },
      ],
      roles: [{ server: 'main', newestBackup: { label: roles } }],
      worries: [],
    })
  })

  it('gate - open by the store alone; its answer about another database is as ever', async () => {
    const gate = ['gate', '--store', store, '--max-age', '1h', '--verified-within', '1h']
    expect((await folder.run([...gate, `main/${shop.name}`], options)).code).toBe(0)
    expect((await folder.run([...gate, 'main/other'], options)).code).toBe(3)
  })

  it('show without a key - all but the tables, and which flag shows them; with --key - all', async () => {
    const hidden = await folder.run(['show', label, '--store', store], options)
    expect(hidden.code).toBe(0)
    expect(hidden.stdout).toMatch(/can be shown with --key\.$/m)
    const shown = await folder.run(['show', label, '--store', store, '--key', 'backup.key.asc'], options)
    expect(shown.stdout).toMatch(/^ {2}public\.sold +500 /m)
  })

  it('verify with --key before the label - passed, for both kinds of backup; nothing is left', async () => {
    for (const one of [label, roles]) {
      const args = ['verify', '--store', store, '--key', 'backup.key.asc', one]
      const { code, document } = await folder.json(args, options)
      expect(code).toBe(0)
      expect(document).toMatchObject({ verdict: 'passed' })
    }
  })

  it('--trusted-signer that signed nothing here - the drill proves nothing, the backup is refused', async () => {
    const signing = await generateKeyPair({ name: 'signing', kind: 'ecc', use: 'signing', now: new Date() })
    await folder.write('signing.asc', signing.publicKey)
    await copyFile(join(folder.path, 'signing.asc'), join(night, 'signing.asc'))
    const flags = ['--store', store, '--trusted-signer', 'signing.asc']
    expect((await folder.run(['list', ...flags], options)).stdout).toMatch(
      new RegExp(`^${label} .*never drilled$`, 'm'),
    )
    const { code, stdout } = await folder.run(['verify', label, ...flags, '--key', 'backup.key.asc'], options)
    expect(code).toBe(3)
    expect(stdout).toMatch(/^FAILED /)
  })

  it('--key beside the configuration of the backup side, which holds none', async () => {
    await using side = await cliFolder([shop.name], {
      store: { url: `file://${store}` },
      encryption: { recipients: ['pub.asc'] },
    })
    expect(await side.run(['verify', label])).toMatchObject({ code: 13, stderr: expect.stringContaining('--key') })
    expect((await side.run(['verify', label, '--key', 'key.asc'])).code).toBe(0)
  })
})

describe('keys that GnuPG made', () => {
  it('recipient by `gpg --export`, private key by `gpg --export-secret-keys` - the backup is verified with it', async () => {
    await using gpg = await startGpg()
    const passphrase = 'correct horse'
    const fingerprint = await gpg.generateKey('ops', 'rsa3072', 'cert,sign', { passphrase })
    await gpg.run(['--quick-add-key', fingerprint, 'cv25519', 'encr'], { passphrase })
    await using own = await cliFolder([shop.name], { encryption: { recipients: ['ops.gpg'] } })
    await writeFile(join(own.path, 'ops.gpg'), (await gpg.run(['--export', fingerprint])).stdout)
    const { document } = await own.json(['backup'])
    const made = String(document['runs']?.[0]?.['label'])
    await own.write('passphrase', `${passphrase}\n`)
    for (const how of ['--export-secret-keys', '--export-secret-subkeys']) {
      await writeFile(join(own.path, 'ops.key'), (await gpg.run([how, fingerprint], { passphrase })).stdout, {
        mode: 0o600,
      })
      const args = ['verify', made, '--store', 'store', '--key', 'ops.key', '--passphrase-file', 'passphrase']
      const { code, stdout } = await own.run(args, { config: null })
      expect(code, stdout).toBe(0)
    }
  })
})

describe('a bucket', () => {
  let bucket: TestBucket
  let flags: string[]
  let credentials: CliOptions
  beforeAll(async () => {
    bucket = await makeTestBucket()
    const { endpoint, region, provider, accessKeyId, secretAccessKey } = bucket.server
    flags = ['--endpoint', endpoint, '--region', region, '--provider', provider]
    const env = { ...options.env, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
    credentials = { ...options, env }
  })
  afterAll(() => bucket.remove())

  it('credentials from the environment and a key - list and verify; without --store nothing is known', async () => {
    const { endpoint, region, provider } = bucket.server
    await using own = await cliFolder([shop.name], {
      store: { url: `s3://${bucket.name}/prod`, endpoint, region, provider },
    })
    const { document } = await own.json(['backup'], { env: credentials.env ?? {} })
    const made = String(document['runs']?.[0]?.['label'])
    const listed = await folder.run(['list', '--store', `s3://${bucket.name}/prod`, ...flags], credentials)
    expect(listed).toMatchObject({ code: 0, stdout: expect.stringContaining(made) })
    const args = ['verify', made, '--store', `s3://${bucket.name}/prod`, ...flags, '--key', 'backup.key.asc']
    expect((await folder.run(args, credentials)).code).toBe(0)
    expect((await folder.run(['list'], { ...credentials, env: {} })).code).toBe(2)
  })

  it.each([
    [
      'another prefix',
      () => `s3://${bucket.name}/other`,
      /^error: there is no store of pgproof at s3:.+pgproof\.json\nhint: /,
    ],
    [
      'another bucket',
      () => 's3://pgproof-not-there',
      /^error: bucket or directory pgproof-not-there does not exist\n/,
    ],
  ])('%s - exit 11 that says so', async (_what, url, message) => {
    const { code, stderr } = await folder.run(['list', '--store', url(), ...flags], credentials)
    expect(code).toBe(11)
    expect(stderr).toMatch(message)
  })

  it('no credentials anywhere - exit 11, and where they come from', async () => {
    const env = { ...options.env, AWS_EC2_METADATA_DISABLED: 'true' }
    const { code, stderr } = await folder.run(['list', '--store', `s3://${bucket.name}`, ...flags], { ...options, env })
    expect(code).toBe(11)
    expect(stderr).toMatch(/^error: .*no credentials.*\nhint: .*AWS_ACCESS_KEY_ID/s)
  })

  it('expired credentials - exit 11 that says they are', async () => {
    const server = createServer((_request, response) => {
      response.writeHead(400, { 'content-type': 'application/xml' })
      response.end('<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>')
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const args = ['list', '--store', 's3://backups', '--endpoint', endpoint]
    const { code, stderr } = await folder.run(args, credentials)
    server.close()
    expect(code).toBe(11)
    expect(stderr).toMatch(/^error: the store refused .*expired/)
  })
})

describe('what a newcomer types wrong', () => {
  it('no such directory - exit 11 that names it', async () => {
    const { code, stderr } = await folder.run(['list', '--store', 'nowhere'], options)
    expect(code).toBe(11)
    expect(stderr).toContain(`error: bucket or directory ${join(night, 'nowhere')} does not exist\n`)
  })

  it.each([
    ['the directory around it', 'disk', true],
    ['a directory inside of it', 'disk/backups/backups/main', true],
    ['a directory that has nothing to do with it', '.', false],
  ])('%s - exit 11 that says what was looked for, and where there is one', async (_what, given, isNear) => {
    const { code, stderr } = await folder.run(['list', '--store', given], options)
    expect(code).toBe(11)
    expect(stderr).toMatch(/^error: there is no store of pgproof at file:\S+: it holds no pgproof\.json\nhint: /)
    expect(stderr.includes(`There is one at file://${store}.`)).toBe(isNear)
  })

  it('no key - exit 13 that names --key', async () => {
    const { code, stderr } = await folder.run(['verify', label, '--store', store], options)
    expect({ code, line: stderr.split('\n')[0] }).toEqual({
      code: 13,
      line: 'error: a verification needs --key, which is not given',
    })
  })

  it('another key - exit 14, and the fingerprints of those that open it', async () => {
    const stranger = await generateKeyPair({ name: 'stranger', kind: 'ecc', use: 'backup', now: new Date() })
    const key = await folder.write('stranger.key.asc', stranger.privateKey)
    const { fingerprints } = await readRecipients([join(folder.path, 'pub.asc')], new Date())
    const { code, stderr } = await folder.run(['verify', label, '--store', store, '--key', key], options)
    expect(code).toBe(14)
    expect(stderr).toContain(`hint: It was encrypted to: ${fingerprints.join(', ')}. Give one of these private keys`)
  })

  it.each([
    ['the public key', 'pub.asc', [], 'it is a public key, and the private one is needed here'],
    ['the revocation certificate', 'rev.asc', [], 'it is not an OpenPGP key but a signature, such as a revocation'],
    ['a wrong passphrase', 'locked.asc', ['--passphrase-file', 'wrong'], 'the passphrase does not open the key'],
    ['a locked key and nobody to ask', 'locked.asc', [], 'which is not given'],
  ])('%s - exit 13', async (_what, name, more, message) => {
    const request = { name: 'locked', kind: 'ecc', use: 'backup', passphrase: 'right', now: new Date() } as const
    const locked = await generateKeyPair(request)
    await folder.write('locked.asc', locked.privateKey)
    await folder.write('rev.asc', locked.revocationCertificate)
    await folder.write('wrong', 'wrong')
    const flags = ['--store', store, '--key', name, ...more]
    const { code, stderr } = await folder.run(['verify', label, ...flags], { ...options, cwd: folder.path })
    expect(code).toBe(13)
    expect(stderr).toContain(message)
  })

  it('a copy of the store without its marker - exit 11: it may not be whole', async () => {
    const copy = join(night, 'copy')
    await cp(store, copy, { recursive: true })
    await rm(join(copy, 'pgproof.json'))
    expect((await folder.run(['list', '--store', copy], options)).code).toBe(11)
    await rm(copy, { recursive: true })
  })
})

it('commands that write or need a server take no --store', async () => {
  for (const command of ['backup', 'drill', 'prune', 'serve', 'check'])
    expect((await folder.run([command, '--store', store], options)).code, command).toBe(2)
})
