import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeEvidence, type Evidence, encodeEvidence } from '../../src/domain/evidence.ts'
import { decodeManifest, encodeManifest, type Manifest } from '../../src/domain/manifest.ts'
import { decryptBytes } from '../../src/encryption/decrypt.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { readPrivateKeys, readRecipients } from '../../src/encryption/keys.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import { testDatabase } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { type CliFolder, cliFolder } from './cli.ts'

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

/** A folder with a backup of the roles and of each database; returns the newest label of the first. */
async function backedUp(...databases: readonly string[]): Promise<{ folder: CliFolder; label: string }> {
  const folder = await cliFolder(databases)
  await folder.run(['backup', '--roles'])
  const { document } = await folder.json(['backup'])
  return { folder, label: String(document['runs']?.[0]?.['label']) }
}

async function rewrite(
  folder: CliFolder,
  change: (manifest: Manifest, path: string) => Promise<Manifest>,
): Promise<void> {
  const path = folder.objects().find((file) => /\/backups\/.*\/manifest\.json$/.test(file)) ?? ''
  const manifest = decodeManifest(await readFile(path), path)
  await writeFile(path, encodeManifest(await change(manifest, path)))
}

/** What somebody with the keys can do: evidence that says something else, with every digest fitting. */
async function rewriteEvidence(folder: CliFolder, change: (evidence: Evidence) => Evidence): Promise<void> {
  await rewrite(folder, async (manifest, path) => {
    const file = path.replace('manifest.json', 'evidence.json.pgp')
    const keys = await readPrivateKeys([join(folder.path, 'key.asc')], undefined, new Date())
    const recipients = await readRecipients([join(folder.path, 'pub.asc')], new Date())
    const evidence = decodeEvidence(await decryptBytes(await readFile(file), keys, file), file)
    const changed = change(evidence)
    const rows = changed.tables.reduce((sum, table) => sum + (table.rows ?? 0), 0)
    const totals = { ...manifest.evidence, rows }
    const fitting = { ...changed, manifest: { ...changed.manifest, evidence: totals } }
    const encrypted = await encryptBytes(encodeEvidence(fitting), recipients, new Date())
    await writeFile(file, encrypted)
    const entry = { name: 'evidence.json.pgp', ...measureBytes(encrypted) }
    return { ...manifest, evidence: totals, objects: { ...manifest.objects, evidence: entry } }
  })
}

describe('drill', () => {
  it('of a good backup - exit 0, verdict first, then what it rests on', async () => {
    const { folder, label } = await backedUp(shop.name)
    await using _folder = folder
    const { code, stdout, stderr } = await folder.run(['drill'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      new RegExp(`^PASSED  drill \\S+ of main/${shop.name}\n\nBackup ${label} was restored into PostgreSQL `),
    )
    expect(stdout).toMatch(/^Row counts and digests of \d+ tables with [\d,]+ rows were compared, and all equal what/m)
    for (const check of ['manifest', 'SHA-256', 'decryption', 'restore', 'row counts', 'digests', 'sequences'])
      expect(stdout).toMatch(new RegExp(`^  passed +${check}`, 'm'))
    expect(stdout).toMatch(/^ {2}skipped +signature +no trusted signers are configured$/m)
    expect(stdout).toMatch(/^ {2}restore time +[\d.]+ s /m)
    expect(folder.leftovers()).toEqual([])
  })

  it('as JSON with a named backup - one document with report and tables', async () => {
    const { folder, label } = await backedUp(crm.name)
    await using _folder = folder
    const { code, document, stderr } = await folder.json(['drill', '--backup', label])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(document['drill']).toMatchObject({
      verdict: 'passed',
      backup: { label },
      pick: { rule: 'named', seed: null },
    })
    expect(document['tables']?.['tables']).toMatchObject([{ name: 'contact', restoredRows: 1000, result: 'equal' }])
  })

  it('without arguments and two databases - the one whose proof is the oldest, and it is said', async () => {
    const { folder } = await backedUp(shop.name, crm.name)
    await using _folder = folder
    await folder.run(['drill', `main/${shop.name}`])
    const { code, stdout, stderr } = await folder.run(['drill', '--pick', 'latest'])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^PASSED  drill \\S+ of main/${crm.name}\n`))
    expect(stderr).toBe(
      `drilling main/${crm.name}, whose proof is the oldest of 2 databases: no drill of it has passed yet\n`,
    )
  })
})

describe('drills that do not pass', () => {
  it('one row more than the evidence says - exit 3, failed, the table named with both counts', async () => {
    const { folder } = await backedUp(crm.name)
    await using _folder = folder
    await rewriteEvidence(folder, (evidence) => ({
      ...evidence,
      tables: evidence.tables.map((table) => ({ ...table, rows: 999 })),
    }))
    const { code, stdout, stderr } = await folder.run(['drill'])
    expect(code).toBe(3)
    expect(stdout).toMatch(/^FAILED {2}drill /)
    expect(stdout).toMatch(/^ {2}public\.contact +999 +1,000 +.*rows differ$/m)
    expect(stdout).toMatch(/^ {2}failed +row counts/m)
    expect(stderr).toMatch(
      /^error: the drill failed: 1 difference .+public\.contact.+\nhint: See the report with `pgproof show /,
    )
    expect(folder.leftovers()).toEqual([])
  })

  it('one bit of the stored dump flipped - exit 3, failed, restore skipped', async () => {
    const { folder } = await backedUp(crm.name)
    await using _folder = folder
    const path = folder.objects().find((file) => file.endsWith('dump.zst.pgp')) ?? ''
    const body = await readFile(path)
    body[body.length - 100] = (body[body.length - 100] ?? 0) ^ 1
    await writeFile(path, body)
    const { code, document } = await folder.json(['drill'])
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 3, error: 'DRILL_FAILED' })
    expect(document['drill']).toMatchObject({ verdict: 'failed' })
    expect(document['drill']?.['checks']).toContainEqual({ name: 'restore', result: 'skipped', detail: null })
    expect(folder.leftovers()).toEqual([])
  })

  it('more space needed than there is - exit 14, inconclusive, nothing left in the spool', async () => {
    const { folder } = await backedUp(crm.name)
    await using _folder = folder
    await rewrite(folder, async (manifest) => ({
      ...manifest,
      source: { ...manifest.source, databaseBytes: 2 ** 50 },
    }))
    await rewriteEvidence(folder, ({ manifest, ...evidence }) => ({
      ...evidence,
      manifest: { ...manifest, source: { ...manifest.source, databaseBytes: 2 ** 50 } },
    }))
    const { code, stdout, stderr } = await folder.run(['drill'])
    expect(code).toBe(14)
    expect(stdout).toMatch(/^INCONCLUSIVE {2}drill .+\n\nThe drill of backup .+ which says nothing about the backup\./)
    expect(stderr).toMatch(/^error: the spool .+ has too little space: .+\nhint: /)
    expect(folder.leftovers()).toEqual([])
  })

  it('a private key that opens other backups only - exit 14 by the verdict, not 13 by the reason', async () => {
    const { folder } = await backedUp(crm.name)
    await using _folder = folder
    await folder.json(['keygen', '--name', 'other', '--no-escrow'], { config: null })
    await folder.configure({ encryption: { recipients: ['pub.asc'], privateKeyFile: 'other.key.asc' } })
    const { code, document } = await folder.json(['drill', `main/${crm.name}`])
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 14, error: 'KEY_NO_MATCH' })
    expect(document['drill']).toMatchObject({ verdict: 'inconclusive' })
    expect(folder.leftovers()).toEqual([])
  })

  it('a passphrase that does not open the private key - exit 13, no drill took place', async () => {
    const { folder } = await backedUp(crm.name)
    await using _folder = folder
    await folder.write('right', 'right\n')
    await folder.write('wrong', 'wrong\n')
    await folder.json(['keygen', '--name', 'locked', '--no-escrow', '--passphrase-file', 'right'], { config: null })
    const encryption = { recipients: ['pub.asc'], privateKeyFile: 'locked.key.asc', passphraseFile: 'wrong' }
    await folder.configure({ encryption })
    const { code, stdout, stderr } = await folder.run(['drill'])
    expect({ code, stdout }).toEqual({ code: 13, stdout: '' })
    expect(stderr).toMatch(/^error: the passphrase does not open the key \S+\nhint: /)
    expect((await folder.json(['list', '--drills'])).document['drills']).toEqual([])
  })

  it('no backup yet - exit 3, and what to do first', async () => {
    await using folder = await cliFolder([crm.name])
    const { code, stderr } = await folder.run(['drill'])
    expect(code).toBe(3)
    expect(stderr).toMatch(/^error: there is no backup of .+ in the store yet\nhint: Run `pgproof backup` first\.\n$/)
  })

  it('an unknown label - exit 2', async () => {
    const { folder } = await backedUp(crm.name)
    await using _folder = folder
    const unknown = '20260101T000000Z-aaaa'
    expect((await folder.run(['drill', '--backup', unknown])).code).toBe(2)
    expect((await folder.run(['drill', `main/${crm.name}`, '--backup', unknown])).code).toBe(2)
  })

  it('the label of a roles backup - exit 2, and why', async () => {
    const { folder } = await backedUp(crm.name)
    await using _folder = folder
    const { document } = await folder.json(['list'])
    const roles = [...(document['backups'] ?? [])].find((backup) => String(backup['kind']) === 'roles')
    const { code, stderr } = await folder.run(['drill', '--backup', String(roles?.['label'])])
    expect(code).toBe(2)
    expect(stderr).toContain('is a roles backup; drills restore databases')
  })
})
