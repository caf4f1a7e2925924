import { createHash, randomUUID } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type DrillReport, encodeDrillReport } from '../../src/domain/drill-report.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { readSigningKey } from '../../src/encryption/keys.ts'
import { signDetached } from '../../src/encryption/sign.ts'
import { silentLog } from '../../src/log.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import { drillReportKey } from '../../src/storage/object-keys.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { manifestAt, reportOf, storeBackup, storeReport } from '../catalog/stored.ts'
import { type ProxiedRequest, startFaultProxy } from '../support/fault-proxy.ts'
import type { MemoryStore } from '../support/memory-store.ts'
import { freePort } from '../support/postgres-server.ts'
import { makeTestBucket } from '../support/test-bucket.ts'
import { type CliFolder, cliFolder, waitFor } from './cli.ts'

const hour = 3_600_000
const ago = (hours: number): string => new Date(Math.floor(Date.now() / 1000) * 1000 - hours * hour).toISOString()

type Made = { readonly backups?: readonly Manifest[]; readonly drills?: readonly DrillReport[] }

/** A folder whose store holds what was made by hand; `shop` and `crm` are configured. */
async function gateFolder({ backups = [], drills = [] }: Made): Promise<CliFolder> {
  const folder = await cliFolder(['shop', 'crm'])
  const store = new DirectoryStore(pathToFileURL(join(folder.path, 'store')).href, { clock: systemClock })
  // Whatever takes objects will do.
  const taking = store as unknown as MemoryStore
  for (const backup of backups) await storeBackup(taking, backup)
  for (const drill of drills) await storeReport(taking, drill)
  await store.close()
  return folder
}

const shop = (hours: number): Manifest => manifestAt(ago(hours), { database: 'shop' })
const crm = (hours: number): Manifest => manifestAt(ago(hours), { database: 'crm' })
const passed = (manifest: Manifest, hours: number): DrillReport => reportOf(manifest, ago(hours))
const failed = (manifest: Manifest, hours: number): DrillReport => {
  const reason = { code: 'EVIDENCE_MISMATCH', message: 'one row is missing', hint: 'Look.' }
  return reportOf(manifest, ago(hours), { verdict: 'failed', reason })
}
const inconclusive = (manifest: Manifest, hours: number): DrillReport =>
  reportOf(manifest, ago(hours), {
    verdict: 'inconclusive',
    reason: { code: 'SPOOL_FULL', message: 'full', hint: 'Free.' },
  })

const both = ['gate', '--max-age', '26h', '--verified-within', '8d']
const hint = 'hint: Take a backup (`pgproof backup`) or order a drill (`pgproof drill`), then ask again.\n'

describe('a gate at the store', () => {
  it('every database fresh and proven - exit 0 and one line; as JSON with ages', async () => {
    const [one, other] = [shop(5), crm(3)]
    await using folder = await gateFolder({ backups: [one, other], drills: [passed(one, 50), passed(other, 1)] })
    expect(await folder.run(both)).toEqual({
      code: 0,
      stdout: 'open: 2 databases, oldest backup 5 h, oldest proof 2 d\n',
      stderr: '',
    })
    const { code, document } = await folder.json(both)
    expect(code).toBe(0)
    expect(document).toMatchObject({
      open: true,
      databases: [
        {
          server: 'main',
          database: 'shop',
          open: true,
          backup: { label: one.label, snapshotTime: one.snapshotTime },
          proof: { drill: expect.stringMatching(/-dr11$/) },
          reasons: [],
        },
        { database: 'crm', open: true },
      ],
    })
    expect(Number(document['databases']?.[0]?.['backup']?.['ageSeconds'])).toBeGreaterThanOrEqual(5 * 3600)
  })

  it('a backup that is too old - exit 3 and one line why; the other database alone - exit 0', async () => {
    const [one, other] = [shop(31), crm(3)]
    await using folder = await gateFolder({ backups: [one, other], drills: [passed(one, 2), passed(other, 1)] })
    expect(await folder.run(both)).toEqual({
      code: 3,
      stdout: '',
      stderr: `error: the gate is closed: main/shop: newest backup is 31 h old, at most 26h\n${hint}`,
    })
    expect((await folder.run([...both, 'main/crm'])).code).toBe(0)
    expect((await folder.run([...both, 'main/crm', 'main'])).code).toBe(3)
    const { code, document } = await folder.json(both)
    expect({ code, open: document['open'], error: document['error']?.['code'] }).toEqual({
      code: 3,
      open: false,
      error: 'GATE_CLOSED',
    })
    expect(document['databases']).toMatchObject([
      { database: 'shop', open: false, reasons: ['newest backup is 31 h old, at most 26h'] },
      { database: 'crm', open: true, reasons: [] },
    ])
  })

  it('several closed - a line for each in the details', async () => {
    const one = shop(3)
    await using folder = await gateFolder({ backups: [one], drills: [passed(one, 24 * 9)] })
    const { code, stderr } = await folder.run(both)
    expect(code).toBe(3)
    expect(stderr).toBe(
      `error: the gate is closed: 2 reasons among 2 databases\n${hint}` +
        '  main/shop: last passed drill is 9 d old, at most 8d\n  main/crm: there is no backup; no drill has passed\n',
    )
  })

  it('the newest drill failed, even if one came to no end since - closed with its reason', async () => {
    const one = shop(3)
    const drills = [passed(one, 5), failed(one, 2), inconclusive(one, 1)]
    await using folder = await gateFolder({ backups: [one], drills })
    const { code, stderr } = await folder.run([...both, 'main/shop'])
    expect(code).toBe(3)
    expect(stderr).toMatch(
      /closed: main\/shop: none of its backups can be restored; drill \S+ failed: one row is missing\n/,
    )
  })

  it('the newest backup failed its drill, and an older one passed later - only the older one counts', async () => {
    const [young, old] = [shop(1), shop(30)]
    const drills = [failed(young, 0.9), passed(old, 0.5)]
    await using folder = await gateFolder({ backups: [young, old], drills })
    const line = 'closed: main/shop: newest backup is 30 h old, at most 26h\n'
    const own = await folder.run([...both, 'main/shop'])
    expect(own).toMatchObject({ code: 3, stderr: expect.stringContaining(line) })
    expect(await folder.run(['gate', '--max-age', '31h', 'main/shop'])).toMatchObject({ code: 0 })

    const port = await freePort()
    const servers = [{ name: 'main', url: 'postgres://u@127.0.0.1:1/postgres', databases: ['shop'] }]
    await folder.configure({ servers, http: { listen: `127.0.0.1:${port}` }, log: { format: 'json' } })
    const daemon = folder.start(['serve'])
    await waitFor('ready', () => daemon.stderr().includes('"msg":"ready"'))
    const asked = await folder.run([...both, '--url', `http://127.0.0.1:${port}`], { config: null })
    expect(asked).toMatchObject({ code: 3, stderr: expect.stringContaining(line) })
    daemon.child.kill('SIGTERM')
    await daemon.result
  })

  it('a failed drill before a passed one - open', async () => {
    const one = shop(3)
    await using folder = await gateFolder({ backups: [one], drills: [failed(one, 5), passed(one, 2)] })
    expect((await folder.run([...both, 'main/shop'])).code).toBe(0)
  })

  it('a young backup of which an object is missing - an older whole one counts, and none closes', async () => {
    const [young, old] = [shop(1), shop(10)]
    await using folder = await gateFolder({ backups: [young, old], drills: [passed(old, 2)] })
    const remove = (label: string): void => {
      const file = folder.objects().find((path) => path.includes(label) && path.endsWith('dump.zst.pgp'))
      rmSync(String(file))
    }
    remove(young.label)
    const { document } = await folder.json([...both, 'main/shop'])
    expect(document['databases']?.[0]).toMatchObject({ open: true, backup: { label: old.label } })
    remove(old.label)
    const { code, stderr } = await folder.run([...both, 'main/shop'])
    expect(code).toBe(3)
    expect(stderr).toContain('closed: main/shop: none of its backups can be restored\n')
  })

  it('a database that is only in the store - is asked for, too, unless it is excluded', async () => {
    const other = manifestAt(ago(100), { database: 'old' })
    const [one, two] = [shop(1), crm(1)]
    await using folder = await gateFolder({ backups: [one, two, other] })
    const { stderr } = await folder.run(['gate', '--max-age', '26h'])
    expect(stderr).toContain('closed: main/old: newest backup is 4 d old, at most 26h\n')
    const exclude = { PGPROOF_SERVERS__0__EXCLUDE: 'o*' }
    expect(await folder.run(['gate', '--max-age', '26h'], { env: exclude })).toMatchObject({ code: 0 })
  })

  it('nothing configured by name and nothing in the store - closed', async () => {
    await using folder = await cliFolder('all')
    const { code, stderr } = await folder.run(both)
    expect(code).toBe(3)
    expect(stderr).toContain('error: the gate is closed: there is no database to ask for\n')
  })

  it('a database that nobody knows - closed; a server that nobody knows - exit 2', async () => {
    await using folder = await gateFolder({ backups: [shop(1)] })
    const closed = await folder.run(['gate', '--max-age', '1d', 'main/shpo'])
    expect(closed.code).toBe(3)
    expect(closed.stderr).toContain('closed: main/shpo: there is no backup\n')
    const unknown = await folder.run(['gate', '--max-age', '1d', 'mian/shop'])
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toContain('no server named "mian" is known')
  })

  it('a report in the store that no trusted signer signed - counts for nothing', async () => {
    const one = shop(3)
    await using folder = await gateFolder({ backups: [one], drills: [passed(one, 2)] })
    await folder.run(['keygen', '--name', 'signer', '--signing'], { config: null })
    await folder.configure({
      encryption: { recipients: ['pub.asc'], trustedSigners: ['signer.pub.asc'] },
      servers: [{ name: 'main', url: 'postgres://u@127.0.0.1:1/postgres', databases: ['shop'] }],
    })
    const { code, stderr } = await folder.run(both)
    expect(code).toBe(3)
    expect(stderr).toContain('no drill has passed')
  })

  it('a young backup that no trusted signer signed - does not count: whoever can write to the store can put it there', async () => {
    await using folder = await gateFolder({ backups: [shop(3)] })
    await folder.run(['keygen', '--name', 'signer', '--signing'], { config: null })
    const encryption = { recipients: ['pub.asc'], trustedSigners: ['signer.pub.asc'] }
    const server = { name: 'main', url: 'postgres://u@127.0.0.1:1/postgres', databases: ['shop'] }
    await folder.configure({ encryption: { recipients: ['pub.asc'] }, servers: [server] })
    expect(await folder.run(['gate', '--max-age', '26h'])).toMatchObject({ code: 0 })
    await folder.configure({ encryption, servers: [server] })
    const { code, stderr } = await folder.run(['gate', '--max-age', '26h'])
    expect({ code, line: stderr.split('\n')[0] }).toEqual({
      code: 3,
      line: 'error: the gate is closed: main/shop: none of its backups can be restored',
    })
  })

  it('a report that a trusted signer signed for another store - counts for nothing, one for this store does', async () => {
    const one = shop(3)
    await using folder = await gateFolder({ backups: [one] })
    await folder.run(['keygen', '--name', 'signer', '--signing'], { config: null })
    await folder.configure({
      encryption: { recipients: ['pub.asc'], trustedSigners: ['signer.pub.asc'] },
      servers: [{ name: 'main', url: 'postgres://u@127.0.0.1:1/postgres', databases: ['shop'] }],
    })
    const storeId = randomUUID()
    await folder.write('store/pgproof.json', JSON.stringify({ format: 1, storeId, createdAt: one.snapshotTime }))
    const key = await readSigningKey(join(folder.path, 'signer.key.asc'), undefined, new Date())
    const store = new DirectoryStore(pathToFileURL(join(folder.path, 'store')).href, { clock: systemClock })
    const reasonsWith = async (of: string): Promise<string> => {
      const bytes = encodeDrillReport({ ...passed(one, 2), storeId: of, signer: key.fingerprint })
      const path = drillReportKey('main', 'shop', passed(one, 2).label)
      const { signal } = new AbortController()
      await store.put(`${path}.sig`, await signDetached(bytes, key, new Date()), { signal })
      await store.put(path, bytes, { signal })
      return JSON.stringify((await folder.json(both)).document['databases']?.[0]?.['reasons'])
    }
    expect(await reasonsWith(randomUUID())).toContain('no drill has passed')
    expect(await reasonsWith(storeId)).not.toContain('no drill has passed')
    await store.close()
  })

  it('a store that refuses a manifest that it let be read before - exit 11 and why, not an older backup in its place', async () => {
    const bucket = await makeTestBucket()
    // The first to read it is the catalog, the next one looks whether it is signed.
    const isRefused = ({ operation, path, nth }: ProxiedRequest): boolean =>
      operation === 'GetObject' && path.endsWith('/manifest.json') && nth > 0
    const proxy = await startFaultProxy(bucket.server.endpoint, {
      faultOf: (request) =>
        isRefused(request) ? { kind: 'answer', status: 403, code: 'AccessDenied', isEarly: false } : undefined,
      refuses: () => false,
      outageMs: () => 0,
    })
    try {
      const { secretAccessKey, ...settings } = bucket.settings({ endpoint: proxy.endpoint })
      const store = new S3Store({ ...settings, secretAccessKey }, { clock: systemClock, log: silentLog })
      await storeBackup(store as unknown as MemoryStore, shop(3))
      await store.close()
      await using folder = await cliFolder(['shop'])
      await folder.run(['keygen', '--name', 'signer', '--signing'], { config: null })
      const { url, endpoint, region, provider, accessKeyId } = settings
      await folder.configure({
        store: { url, endpoint, region, provider, accessKeyId, secretAccessKey: secretAccessKey?.() },
        encryption: { recipients: ['pub.asc'], trustedSigners: ['signer.pub.asc'] },
      })
      const { code, stdout, stderr } = await folder.run(['gate', '--max-age', '26h'])
      expect({ code, stdout }).toEqual({ code: 11, stdout: '' })
      expect(stderr).toMatch(/^error: the store refused GetObject of \S+\/manifest\.json: AccessDenied/)
    } finally {
      await proxy.stop()
      await bucket.remove()
    }
  })

  it('a store that cannot be read - exit 11', async () => {
    await using folder = await cliFolder(['shop'])
    await folder.configure({ store: { url: `file://${folder.path}/nowhere` } })
    expect((await folder.run(both)).code).toBe(11)
  })

  it('neither rule, a rule without a unit, a token without a daemon - exit 2 and what is meant', async () => {
    await using folder = await cliFolder(['shop'])
    const asked = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await folder.run(['gate', ...args])
      return `${code} ${stderr.split('\n')[0]}`
    }
    expect(await asked()).toBe('2 error: a gate needs --max-age or --verified-within, or both')
    expect(await asked('--max-age', '26')).toBe('2 error: --max-age must be a time such as 26h or 8d, not 26')
    expect(await asked('--verified-within', '0d')).toContain('--verified-within must be a time')
    expect(await asked('--max-age', '1d', '--token-file', 'x')).toBe(
      '2 error: --token-file has no meaning without --url',
    )
  })
})

describe('a gate at a daemon', () => {
  const token = 'the-token-of-the-pipeline'
  const one = shop(5)
  let folder: CliFolder
  let url: string
  let daemon: ReturnType<CliFolder['start']>

  beforeAll(async () => {
    folder = await gateFolder({ backups: [one], drills: [passed(one, 50), inconclusive(one, 1)] })
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    const hash = createHash('sha256').update(token).digest('hex')
    await folder.configure({
      servers: [{ name: 'main', url: 'postgres://u@127.0.0.1:1/postgres', databases: ['shop'] }],
      http: { listen: `127.0.0.1:${port}`, tokens: [{ name: 'ci', scope: 'read', hash }] },
      log: { format: 'json' },
    })
    await folder.write('token', `${token}\n`)
    daemon = folder.start(['serve'])
    await waitFor('ready', () => daemon.stderr().includes('"msg":"ready"'))
  })
  afterAll(async () => {
    daemon.child.kill('SIGTERM')
    await daemon.result
    await folder[Symbol.asyncDispose]()
  })

  const ask = (args: readonly string[], env: Record<string, string> = {}) =>
    folder.run([...both, ...args], { config: null, env })

  it('a token by file, or by the environment - open, without any configuration', async () => {
    const line = 'open: 1 database, oldest backup 5 h, oldest proof 2 d\n'
    expect(await ask(['--url', url, '--token-file', 'token'])).toEqual({ code: 0, stdout: line, stderr: '' })
    expect(await ask(['--url', `${url}/`, 'main/shop'], { PGPROOF_TOKEN: token })).toMatchObject({ code: 0 })
    const { document } = await folder.json([...both, '--url', url, '--token-file', 'token'], { config: null })
    expect(document).toMatchObject({
      open: true,
      databases: [{ server: 'main', database: 'shop', backup: { label: one.label }, proof: {}, reasons: [] }],
    })
  })

  it('a rule that is not met, a database it does not know - exit 3 and why', async () => {
    const old = await folder.run(['gate', '--max-age', '2h', '--url', url, '--token-file', 'token'], { config: null })
    expect(old.code).toBe(3)
    expect(old.stderr).toContain('closed: main/shop: newest backup is 5 h old, at most 2h\n')
    const unknown = await ask(['--url', url, '--token-file', 'token', 'main/crm'])
    expect(unknown.code).toBe(3)
    expect(unknown.stderr).toContain('closed: main/crm: there is no backup\n')
  })

  it('a wrong token - exit 2 DAEMON_UNAUTHORIZED, and the token is not said', async () => {
    const { code, stdout, stderr } = await ask(['--url', url], { PGPROOF_TOKEN: 'not-the-token' })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(`error: the daemon at ${url}/ does not know the token, or none was given\n`)
    expect(stderr).not.toContain('not-the-token')
  })

  it('nobody listens - exit 11 DAEMON_UNREACHABLE', async () => {
    const { code, document } = await folder.json([...both, '--url', `http://127.0.0.1:${await freePort()}`], {
      config: null,
    })
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 11, error: 'DAEMON_UNREACHABLE' })
  })

  it('a URL that is none, that holds a password, a token file that is not there - exit 2', async () => {
    expect((await ask(['--url', 'host:9432'])).code).toBe(2)
    const secret = await ask(['--url', 'http://ci:hidden@host:9432'])
    expect(secret.code).toBe(2)
    expect(secret.stderr).not.toContain('hidden')
    expect((await ask(['--url', url, '--token-file', 'nowhere'])).code).toBe(2)
  })

  it('leaves nothing behind', () => {
    expect(readdirSync(join(folder.path, 'tmp'))).toEqual([])
  })
})

describe('a gate at something that answers', () => {
  /** Answers every request alike; what came as Authorization. */
  async function answering(status: number, body: unknown, headers: Record<string, string> = {}) {
    const seen: (string | undefined)[] = []
    const server = createServer((request, response) => {
      seen.push(request.headers.authorization)
      response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))
    })
    const port = await freePort()
    await new Promise<void>((done) => server.listen(port, '127.0.0.1', done))
    return {
      url: `http://127.0.0.1:${port}`,
      seen,
      [Symbol.asyncDispose]: async () => {
        await new Promise((done) => server.close(done))
      },
    }
  }

  const status = (changes: object = {}): object => ({
    time: new Date().toISOString(),
    isReady: true,
    reasons: [],
    databases: [
      {
        server: 'main',
        database: 'shop',
        newestBackup: { label: 'young', snapshotTime: ago(1), faults: ['gone'] },
        recoveryPoint: ago(6),
        lastDrill: null,
        lastPassedDrill: { label: 'd', finishedAt: ago(3), verdict: 'passed', reason: null, more: 1 },
        something: 'that is new',
      },
    ],
    roles: [],
    store: { isComplete: true, more: {} },
    ...changes,
  })

  const gate = async (url: string) => {
    await using folder = await cliFolder('all')
    return await folder.run([...both, '--url', url], { config: null, env: { PGPROOF_TOKEN: 't0k3n' } })
  }

  it('a newer daemon that says more - open; the token goes as a bearer', async () => {
    await using server = await answering(200, status())
    expect(await gate(server.url)).toMatchObject({
      code: 0,
      stdout: 'open: 1 database, oldest backup 6 h, oldest proof 3 h\n',
    })
    expect(server.seen).toEqual(['Bearer t0k3n'])
  })

  it.each<[string, object, RegExp]>([
    ['not ready', { isReady: false, reasons: ['no store'] }, /closed: the daemon is not ready: no store\n/],
    ['an incomplete store', { store: { isComplete: false } }, /closed: the daemon could not read everything/],
    ['no database', { databases: [] }, /closed: there is no database to ask for\n/],
  ])('%s - closed', async (_, changes, line) => {
    await using server = await answering(200, status(changes))
    const { code, stderr } = await gate(server.url)
    expect(code).toBe(3)
    expect(stderr).toMatch(line)
  })

  it('503 NOT_READY - closed', async () => {
    await using server = await answering(503, { code: 'NOT_READY' })
    expect(await gate(server.url)).toMatchObject({ code: 3 })
  })

  it.each<[string, number, unknown, number, string]>([
    ['403', 403, { code: 'FORBIDDEN' }, 2, 'refuses the token'],
    ['404', 404, 'nothing here', 2, 'is no pgproof daemon: it answers with HTTP 404'],
    ['HTML', 200, '<html></html>', 2, 'is no pgproof daemon: its answer is no JSON'],
    ['other JSON', 200, { ok: true }, 2, 'is no pgproof daemon: its answer lacks time'],
    ['502 of a proxy', 502, 'bad gateway', 11, 'cannot ask the daemon'],
  ])('%s - its own error', async (_, answer, body, exit, message) => {
    await using server = await answering(answer, body)
    const { code, stdout, stderr } = await gate(server.url)
    expect({ code, stdout }).toEqual({ code: exit, stdout: '' })
    expect(stderr).toContain(message)
  })

  it('a redirection - is not followed: the token goes nowhere else', async () => {
    await using other = await answering(200, status())
    await using server = await answering(302, '', { location: `${other.url}/v1/status` })
    expect(await gate(server.url)).toMatchObject({ code: 2 })
    expect(other.seen).toEqual([])
  })

  it('a clock here that is a day behind the one of the daemon - the ages are those by the later clock', async () => {
    const time = new Date(Date.now() + 24 * hour).toISOString()
    await using server = await answering(200, status({ time }))
    const { code, stderr } = await gate(server.url)
    expect(code).toBe(3)
    expect(stderr).toMatch(/^warning: the daemon's clock is 2\d h ahead of this one's/)
    expect(stderr).toContain('main/shop: newest backup is 30 h old, at most 26h')
  })

  it('a database twice, named and unlike - both count', async () => {
    const [one] = (status() as { databases: object[] }).databases
    const databases = [{ ...one, recoveryPoint: null }, one]
    await using server = await answering(200, status({ databases }))
    await using folder = await cliFolder('all')
    const env = { PGPROOF_TOKEN: 't0k3n' }
    expect(await folder.run([...both, 'main/shop', '--url', server.url], { config: null, env })).toMatchObject({
      code: 3,
    })
  })

  it('a clock that is ten minutes behind - said on stderr', async () => {
    await using server = await answering(200, status({ time: ago(1 / 6) }))
    const { code, stderr } = await gate(server.url)
    expect(code).toBe(0)
    expect(stderr).toMatch(/^warning: the daemon's clock is 10 min behind this one's, or its answer comes from a cache/)
  })
})
