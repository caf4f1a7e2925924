import { execFile } from 'node:child_process'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { startGpg } from '../support/gpg.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { descendantsOf, isRunning } from '../support/processes.ts'
import { type CliFolder, cliFolder, waitFor } from './cli.ts'

type Database = Awaited<ReturnType<typeof testDatabase>>
let shop: Database
let crm: Database

beforeAll(async () => {
  shop = await testDatabase()
  crm = await testDatabase('template1')
  await query(crm.url, 'CREATE TABLE contact (id int); INSERT INTO contact SELECT generate_series(1, 1000)')
})
afterAll(async () => {
  await crm[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

async function backedUp(settings: object = {}): Promise<CliFolder> {
  const folder = await cliFolder([shop.name, crm.name])
  await folder.configure(settings)
  await folder.run(['backup', '--roles'])
  await folder.run(['backup'])
  return folder
}

const reportsIn = (folder: CliFolder): string[] =>
  folder.objects().filter((file) => /\/full-drills\/main\/[^/]+\.json$/.test(file))

describe('drill --full', () => {
  it('of a healthy server - exit 0, and a page that says what, from which backups, how, how long, by whom', async () => {
    const signer = await generateKeyPair({ name: 'auditor', kind: 'ecc', use: 'signing', now: new Date() })
    await using gpg = await startGpg()
    const key = await gpg.file('signing.key.asc', signer.privateKey)
    await chmod(key, 0o600)
    const trusted = await gpg.file('signing.pub.asc', signer.publicKey)
    await gpg.import(signer.publicKey)
    const encryption = { recipients: ['pub.asc'], privateKeyFile: 'key.asc', signingKeyFile: key }
    await using folder = await backedUp({ encryption: { ...encryption, trustedSigners: [trusted] } })
    const { code, stdout, stderr } = await folder.run(['drill', '--full'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      /^PASSED {2}full drill \S+ of server main\n\nServer main was rebuilt from its backups alone: 2 databases and the roles, in one server of PostgreSQL /,
    )
    expect(stdout).toMatch(/^\d+ tables with [\d,]+ rows were compared, and all equal what the databases held\.$/m)
    for (const { name } of [shop, crm])
      expect(stdout).toMatch(new RegExp(`^ +passed +${name} +\\d{8}T\\d{6}Z-\\w{4} `, 'm'))
    expect(stdout).toMatch(/^ {2}whole +[\d.]+ m?s /m)
    expect(stdout).toContain('dumps of single databases have no instant in common')

    // What the page says about checking it, done by hand.
    const label = /full drill (\S+) of/.exec(stdout)?.[1] ?? ''
    const store = join(folder.path, 'store')
    const file = join(store, 'full-drills', 'main', `${label}.json`)
    await gpg.run(['--verify', `${file}.sig`, file])
    const sums = stdout.split('\n').filter((line) => /^ +[0-9a-f]{64} {2}drills\//.test(line))
    expect(sums).toHaveLength(2)
    await writeFile(join(folder.path, 'sums'), `${sums.map((line) => line.trim()).join('\n')}\n`)
    await promisify(execFile)('sha256sum', ['--check', '--strict', join(folder.path, 'sums')], { cwd: store })

    const listed = await folder.run(['list', '--drills'])
    expect(listed.stdout).toContain(`full drills: ${label} of main; see`)
    const shown = await folder.run(['show', label])
    expect(shown.code).toBe(0)
    expect(shown.stdout).toMatch(/^ {2}signed by +[0-9A-F]{40}, valid and trusted$/m)
    expect(shown.stdout).toContain('Databases without any backup are not known to a full drill')

    // The same report, signature and all, in the store of another installation.
    const marker = join(store, 'pgproof.json')
    const text = await readFile(marker, 'utf8')
    await writeFile(marker, text.replace(/("storeId": *")[^"]+/, '$100000000-0000-4000-8000-000000000000'))
    const elsewhere = await folder.run(['show', label])
    expect(elsewhere.code).toBe(3)
    expect(elsewhere.stderr).toContain('it is of another store')
    await writeFile(marker, text)

    // Without trusted signers nobody knows who signed.
    await folder.configure({ encryption: { recipients: ['pub.asc'] } })
    expect((await folder.run(['show', label])).stdout).toMatch(/^ {2}signed by +[0-9A-F]{40} by its own account \(/m)
    await folder.configure({ encryption: { ...encryption, trustedSigners: [trusted] } })
    await writeFile(file, (await readFile(file, 'utf8')).replace('"passed"', '"failed"'))
    const changed = await folder.run(['show', label])
    expect(changed.code).toBe(3)
    expect(changed.stderr).toMatch(/^error: the signature of .+ is not valid/)
    expect(folder.leftovers()).toEqual([])
  })

  it('as JSON with one configured database that was never backed up - exit 3, named, the others passed', async () => {
    await using folder = await backedUp()
    await folder.configure({
      servers: [{ name: 'main', url: testUrl(), databases: [shop.name, crm.name, 'ledger'] }],
    })
    const { code, document } = await folder.json(['drill', '--full', 'main'])
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 3, error: 'FULL_DRILL_FAILED' })
    const results = [...(document['fullDrill']?.['databases'] ?? [])]
    expect(results.map((one) => [one['database'], one['verdict']])).toEqual([
      ...[shop.name, crm.name].sort().map((name) => [name, 'passed']),
      ['ledger', 'failed'],
    ])
    expect([...(document['drills'] ?? [])]).toHaveLength(2)
    const { stdout } = await folder.run(['show', String(document['fullDrill']?.['label'])])
    expect(stdout).toMatch(/^FAILED {2}full drill /)
    expect(stdout).toMatch(/^ {2}ledger: there is no backup of database ledger in the store yet$/m)
  })

  it('a spool with 2 MB of space - exit 14, inconclusive, a report of the whole and none of a drill', async () => {
    await using folder = await backedUp()
    const failed = await withTinySpool(folder, ['drill', '--full', '--json'])
    expect(failed.code).toBe(14)
    expect(JSON.parse(failed.stdout)).toMatchObject({
      error: { code: 'SPOOL_FULL' },
      fullDrill: { verdict: 'inconclusive', databases: [{ drill: null }, { drill: null }] },
      drills: [],
    })
    expect(reportsIn(folder)).toHaveLength(1)
    expect(folder.objects().filter((file) => file.includes('/drills/'))).toEqual([])
  })

  it('SIGINT while a database is restored - exit 130, the report says how far it came, nothing is left', async () => {
    await using folder = await backedUp()
    const started = folder.start(['drill', '--full'])
    await waitFor('a server in the spool', () => folder.leftovers().some((file) => file.endsWith('postmaster.pid')))
    const processes = descendantsOf(started.child.pid ?? 0)
    started.child.kill('SIGINT')
    const { code, stdout, stderr } = await started.result
    expect(code).toBe(130)
    expect(stdout).toMatch(/^INCONCLUSIVE {2}full drill /)
    expect(stderr).toMatch(/^error: the command was cancelled\n/)
    expect(reportsIn(folder)).toHaveLength(1)
    expect(folder.leftovers()).toEqual([])
    expect(processes.filter(isRunning)).toEqual([])
  })

  it('with a database, with the choice of a backup, of one of two servers unnamed - exit 2, and why', async () => {
    await using folder = await cliFolder([shop.name])
    const server = (name: string): object => ({ name, url: testUrl(), databases: [shop.name] })
    await folder.configure({ servers: [server('main'), server('other')] })
    for (const [args, reason] of [
      [[`main/${shop.name}`], 'of a whole server'],
      [['main', '--pick', 'latest'], 'have no meaning'],
      [[], 'say which server is to be rebuilt: main, other'],
    ] as const) {
      const { code, stderr } = await folder.run(['drill', '--full', ...args])
      expect({ code, isSaid: stderr.includes(reason) }, stderr).toEqual({ code: 2, isSaid: true })
    }
  })
})

/** In a mount namespace of its own; where that is not allowed, manifests that demand more than any disk stand in. */
async function withTinySpool(
  folder: CliFolder,
  args: readonly string[],
): Promise<{ code: number | null; stdout: string }> {
  const unshare = ['--mount', ...(process.getuid?.() === 0 ? [] : ['--map-root-user'])]
  const execute = promisify(execFile)
  const canMount = await execute('unshare', [...unshare, 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).then(
    () => true,
    () => false,
  )
  if (!canMount) {
    for (const file of folder.objects().filter((path) => /\/backups\/.*\/manifest\.json$/.test(path)))
      await writeFile(
        file,
        (await readFile(file, 'utf8')).replace(/"databaseBytes": \d+/, `"databaseBytes": ${2 ** 50}`),
      )
    return await folder.run(args)
  }
  await mkdir(join(folder.path, 'spool'), { recursive: true })
  const words = [process.execPath, resolve('src/main.ts'), '--config', `${folder.path}/pgproof.yaml`, ...args]
  const script = `mount -t tmpfs -o size=2m tmpfs '${folder.path}/spool' && exec ${words.map((word) => `'${word}'`).join(' ')}`
  return await execute('unshare', [...unshare, 'sh', '-c', script]).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: { code: number; stdout: string }) => error,
  )
}
