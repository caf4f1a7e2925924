import { readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { type CliFolder, cliFolder } from './cli.ts'

let crm: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder
/** Oldest first: drilled, then the newest. */
const labels: string[] = []
let drill = ''
let roles = ''

const settings = (changes: object = {}): object => ({
  servers: [
    { name: 'main', url: testUrl(), databases: [crm.name], objectives: { rpo: '26h', rto: '30m' }, ...changes },
  ],
})

beforeAll(async () => {
  crm = await testDatabase('template1')
  await query(crm.url, 'CREATE TABLE contact (id int); INSERT INTO contact SELECT generate_series(1, 1000)')
  folder = await cliFolder([crm.name], settings())
  roles = String((await folder.json(['backup', '--roles'])).document['runs']?.[0]?.['label'])
  labels.push(String((await folder.json(['backup'])).document['runs']?.[0]?.['label']))
  drill = String((await folder.json(['drill'])).document['drill']?.['label'])
  labels.push(String((await folder.json(['backup'])).document['runs']?.[0]?.['label']))
})
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
  await crm[Symbol.asyncDispose]()
})

const withoutKey = (): Promise<void> => folder.configure({ ...settings(), encryption: { recipients: ['pub.asc'] } })

describe('list', () => {
  it('backups newest first - age, sizes, rows and proof of each', async () => {
    const { code, stdout, stderr } = await folder.run(['list'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [head, ...lines] = stdout.trimEnd().split('\n')
    expect(head).toMatch(/^LABEL +OF +AGE +DUMP +STORED +TABLES +ROWS +PROOF$/)
    const newest = new RegExp(`^${labels[1]}  main/${crm.name} .* s ago .* KiB +1  1,000  never drilled$`)
    expect(lines[0]).toMatch(newest)
    expect(lines[1]).toMatch(new RegExp(`^${labels[0]} .*  verified \\d+ s ago$`))
    expect(lines[2]).toMatch(new RegExp(`^${roles}  main \\(roles\\) .*  verified \\d+ s ago$`))
  })

  it('--drills as JSON - reports with verdict and restore time', async () => {
    const { code, document } = await folder.json(['list', '--drills'])
    expect(code).toBe(0)
    expect(document).toMatchObject({
      drills: [{ label: drill, backup: labels[0], verdict: 'passed', restoreTimeSeconds: expect.any(Number) }],
      damaged: [],
      orphans: [],
    })
  })

  it('--database that is not there - no backups, exit 0', async () => {
    expect(await folder.run(['list', '--database', 'other'])).toMatchObject({ code: 0, stdout: 'No backups.\n' })
  })

  it('--server that is neither configured nor in the store - exit 2', async () => {
    const { code, stderr } = await folder.run(['list', '--server', 'other'])
    expect(code).toBe(2)
    expect(stderr).toBe('error: no server named "other" is known\nhint: Known servers: main.\n')
  })

  it('a backup removed by hand, an orphan and a damaged manifest - each is mentioned; --history names the gap', async () => {
    await using own = await cliFolder([crm.name], settings({ retention: { last: 9 } }))
    for (let count = 0; count < 4; count += 1) await own.run(['backup'])
    const manifests = own
      .objects()
      .filter((key) => key.endsWith('/manifest.json'))
      .toSorted()
    const [damaged = '', orphaned = '', removed = ''] = manifests
    await writeFile(damaged, '{"format":1')
    await rm(orphaned)
    const { code: before, stdout: young } = await own.run(['list'])
    expect({ before, young }).toEqual({ before: 0, young: expect.not.stringContaining('orphans') })
    const earlier = new Date(Date.now() - 2 * 3_600_000)
    for (const name of await readdir(dirname(orphaned))) await utimes(join(dirname(orphaned), name), earlier, earlier)
    await rm(dirname(removed), { recursive: true })
    const { code, stdout } = await own.run(['list'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^damaged: backups\/.+\/manifest\.json is not what pgproof writes/m)
    expect(stdout).toMatch(/^orphans: 1 folder without a manifest/m)
    expect(stdout).toMatch(/^history: .+ see `pgproof list --history`$/m)
    expect((await own.run(['list', '--history'])).stdout).toMatch(
      /is gone and no prune removed it \(noticed by the manifest of backup \S+, which follows it\)$/m,
    )
    const { document } = await own.json(['status'])
    expect(document['historyGaps']).toMatchObject([{ found: 'removed' }])
    expect([...(document['worries'] ?? [])].length).toBeGreaterThanOrEqual(3)
  })
})

it('list --history before the first backup - no table of nothing', async () => {
  await using own = await cliFolder([crm.name], settings())
  expect(await own.run(['list', '--history'])).toMatchObject({
    code: 0,
    stdout: 'No backups.\n\nhistory: every backup follows the one before it; nothing was removed but by prunes\n',
  })
})

describe('show', () => {
  it('a backup - its facts, why it is kept, its drills and every table', async () => {
    const { code, stdout } = await folder.run(['show', labels[0] ?? ''])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^Backup ${labels[0]} of main/${crm.name}\n`))
    expect(stdout).toMatch(/^ {2}kept because +newest verified, /m)
    expect(stdout).toMatch(new RegExp(`^${drill}  .*  passed `, 'm'))
    expect(stdout).toMatch(/^ {2}public\.contact +1,000 +-?\d+$/m)
  })

  it('a backup without a private key - no tables, and where they can be seen', async () => {
    await withoutKey()
    const { code, stdout } = await folder.run(['show', labels[0] ?? ''])
    await folder.configure(settings())
    expect(code).toBe(0)
    expect(stdout).not.toContain('contact')
    expect(stdout).toMatch(
      /^The tables, and what exactly is not inside, can be shown where encryption\.privateKeyFile is configured\.$/m,
    )
  })

  it('a backup of a database with foreign data - what is not inside with the reason; without a key kinds and counts', async () => {
    const other = await testDatabase('template1')
    await using _other = other
    await query(
      other.url,
      'CREATE FOREIGN DATA WRAPPER f; CREATE SERVER s FOREIGN DATA WRAPPER f; CREATE FOREIGN TABLE far (id int) SERVER s',
    )
    await using own = await cliFolder([other.name], settings({ databases: [other.name] }))
    const label = String((await own.json(['backup'])).document['runs']?.[0]?.['label'])
    const { stdout } = await own.run(['show', label])
    const [, full = ''] = stdout.split('\nWhat is not inside, and why\n')
    expect(full).toMatch(/^ {2}foreign data +public\.far +\S/m)
    const kinds = /^ {2}not inside +(?:.+, )?foreign data \(1\)/m
    expect(stdout).toMatch(kinds)
    await own.configure({ ...settings({ databases: [other.name] }), encryption: { recipients: ['pub.asc'] } })
    const hidden = (await own.run(['show', label])).stdout
    expect(hidden).toMatch(kinds)
    expect(hidden).not.toContain('public.far')
  })

  it('a backup with the wrong private key - the page, then the error, exit 13', async () => {
    await folder.json(['keygen', '--name', 'other', '--no-escrow'], { config: null })
    await folder.configure({
      ...settings(),
      encryption: { recipients: ['pub.asc'], privateKeyFile: 'other.key.asc' },
    })
    const { code, stdout, stderr } = await folder.run(['show', labels[0] ?? ''])
    const { document } = await folder.json(['show', labels[0] ?? ''])
    await folder.configure(settings())
    expect(code).toBe(13)
    expect(stdout).toMatch(/^Backup /)
    expect(stderr).toMatch(/^error: no configured private key opens .+\nhint: It was encrypted to: /)
    expect(document).toMatchObject({
      backup: { manifest: { label: labels[0] } },
      evidence: null,
      error: { code: 'KEY_NO_MATCH' },
    })
  })

  it('a drill - verdict, checks, phases, and the result table by table', async () => {
    const { code, stdout } = await folder.run(['show', drill])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^PASSED  drill ${drill} of main/${crm.name}\n`))
    expect(stdout).toMatch(/^ {2}public\.contact +1,000 +1,000 {2}rows and digest {2}equal$/m)
    expect(stdout).toMatch(/objective 30m met$/m)
  })

  it('a drill without a private key - everything but the tables', async () => {
    await withoutKey()
    const { code, stdout } = await folder.run(['show', drill])
    await folder.configure(settings())
    expect(code).toBe(0)
    expect(stdout).not.toContain('contact')
    expect(stdout).toMatch(/^The result table by table can be shown where /m)
  })

  it('a roles backup as JSON - manifest, keep reasons and the drill that replayed it', async () => {
    const { code, document } = await folder.json(['show', roles])
    expect(code).toBe(0)
    expect(document).toMatchObject({
      backup: { manifest: { kind: 'roles', label: roles, rolePasswords: 'present' } },
      drills: [{ label: drill }],
      evidence: null,
    })
    expect([...(document['keepReasons'] ?? [])]).toContain('newest')
  })
})

describe('status', () => {
  it('everything as promised - what is proven, what a restore takes, exit 0', async () => {
    const { code, stdout } = await folder.run(['status'])
    expect(code).toBe(0)
    expect(stdout).toMatch(
      new RegExp(`^main/${crm.name} +\\d+ s ago  26h +\\d+ s ago  passed +[\\d.]+ s +[\\d.]+ s  30m +1 of 2$`, 'm'),
    )
    expect(stdout).toMatch(/^Nothing worries, as far as the store tells; runs that fail are known to the daemon/m)
  })

  it('objectives missed, no roles, never drilled - each is a worry, exit 0', async () => {
    await using own = await cliFolder(
      [crm.name],
      settings({ objectives: { rpo: '26h' }, databases: [crm.name, 'missing'] }),
    )
    await own.run(['backup', `main/${crm.name}`])
    const manifest = own.objects().find((key) => key.endsWith('/manifest.json')) ?? ''
    const twoDaysAgo = new Date(Date.now() - 49 * 3_600_000).toISOString()
    const text = await readFile(manifest, 'utf8')
    await writeFile(manifest, text.replace(/"snapshotTime": "[^"]+"/, `"snapshotTime": "${twoDaysAgo}"`))
    const { code, document } = await own.json(['status'])
    expect(code).toBe(0)
    const worries = [...(document['worries'] ?? [])].map(String)
    expect(worries).toEqual([
      'main/missing: there is no backup',
      expect.stringMatching(/the newest backup is 2 d 1 h old, the objective is 26h$/),
      expect.stringContaining('no backup was ever drilled'),
      expect.stringContaining('its roles were never backed up'),
    ])
    expect(document['databases']).toMatchObject([
      { database: 'missing', newestBackup: null },
      {
        database: crm.name,
        objectives: { recoveryPoint: { status: 'missed' }, restoreTime: { status: 'no objective' } },
      },
    ])
  })
})

describe('verify', () => {
  it('a good backup - passed, rung by rung, exit 0', async () => {
    const { code, stdout } = await folder.run(['verify', labels[0] ?? ''])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^PASSED  backup ${labels[0]} of main/${crm.name}\n`))
    expect(stdout).toMatch(/^ {2}passed +archive$/m)
    expect(folder.leftovers()).toEqual([])
  })

  it('a roles backup - passed', async () => {
    const { code, document } = await folder.json(['verify', roles])
    expect({ code, verdict: document['verdict'] }).toEqual({ code: 0, verdict: 'passed' })
  })

  it('a backup whose dump is cut short - exit 3, failed at that rung', async () => {
    await using own = await cliFolder([crm.name], settings())
    const { document: made } = await own.json(['backup'])
    const label = String(made['runs']?.[0]?.['label'])
    const dump = own.objects().find((key) => key.endsWith('dump.zst.pgp')) ?? ''
    await writeFile(dump, 'short')
    const { code, document } = await own.json(['verify', label])
    expect(code).toBe(3)
    expect(document).toMatchObject({ verdict: 'failed', error: { code: 'VERIFY_FAILED' } })
    expect(String(document['error']?.['message'])).toContain('failed at "objects"')
    expect((await own.run(['list'])).stdout).toContain('damaged: dump.zst.pgp has 5 bytes')
    expect(own.leftovers()).toEqual([])
  })

  it('no private key - exit 13', async () => {
    await withoutKey()
    const { code, document } = await folder.json(['verify', labels[0] ?? ''])
    await folder.configure(settings())
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 13, error: 'KEY_NEEDED' })
  })

  it('a spool that cannot be made - exit 14, inconclusive', async () => {
    await folder.write('in-the-way', '')
    await folder.configure({ ...settings(), drill: { spool: join(folder.path, 'in-the-way/spool') } })
    const { code, stdout } = await folder.run(['verify', labels[0] ?? ''])
    await folder.configure(settings())
    expect(code).toBe(14)
    expect(stdout).toMatch(/^INCONCLUSIVE {2}backup /)
  })
})

describe('prune', () => {
  it('--dry-run - every backup with its reason, nothing removed', async () => {
    await folder.configure(settings({ retention: { last: 1 } }))
    const before = folder.objects()
    const { code, stdout } = await folder.run(['prune', '--dry-run'])
    await folder.configure(settings())
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^  keep  ${labels[1]} .*  newest, last 1 of 1$`, 'm'))
    expect(stdout).toMatch(new RegExp(`^  keep  ${labels[0]} .*  newest verified$`, 'm'))
    expect(stdout).toMatch(/^A dry run: nothing was removed\.$/m)
    expect(folder.objects()).toEqual(before)
  })

  it('three backups and a policy that keeps one - two removed, said before and after', async () => {
    await using own = await cliFolder([crm.name], settings())
    for (let count = 0; count < 3; count += 1) await own.run(['backup'])
    await own.configure(settings({ retention: { last: 1 } }))
    const { document: planned } = await own.json(['prune', '--dry-run'])
    const doomed = [...(planned['groups']?.[0]?.['backups'] ?? [])].filter((one) => String(one['keep']) === 'false')
    const { code, stdout } = await own.run(['prune'])
    expect(code).toBe(0)
    expect(doomed).toHaveLength(2)
    for (const { label } of doomed) expect(stdout).toMatch(new RegExp(`^  remove  ${label} .*  no rule keeps it$`, 'm'))
    expect(stdout).toMatch(/^Removed 2 backups: [\d.]+ KiB freed\.$/m)
    expect(own.objects().filter((key) => key.endsWith('/manifest.json'))).toHaveLength(1)
    expect((await own.run(['list', '--history'])).stdout).toContain('nothing was removed but by prunes')
    expect((await own.run(['prune'])).stdout).toMatch(/\nNothing was removed\.\n$/)
  })
})

describe('a label that two databases share', () => {
  it('without a hint - exit 2 and what to say; with --database - that one', async () => {
    await using own = await cliFolder([crm.name], settings())
    const other = await testDatabase('template1')
    await using _other = other
    await own.configure(settings({ databases: [crm.name, other.name] }))
    const { document } = await own.json(['backup'])
    const [first, second] = [...(document['runs'] ?? [])].map((run) => String(run['label']))
    // The store is the truth: what its manifest says is the label.
    const folderOf = (name: string): string => join(own.path, 'store/backups/main', name)
    await rename(join(folderOf(other.name), second ?? ''), join(folderOf(other.name), first ?? ''))
    const manifest = join(folderOf(other.name), first ?? '', 'manifest.json')
    await writeFile(manifest, (await readFile(manifest, 'utf8')).replaceAll(second ?? '', first ?? ''))
    const { code, stderr } = await own.run(['show', first ?? ''])
    expect(code).toBe(2)
    expect(stderr).toContain('say of which database')
    const shown = await own.json(['show', first ?? '', '--database', other.name])
    expect(shown.document['backup']).toMatchObject({ manifest: { database: other.name } })
  })
})
