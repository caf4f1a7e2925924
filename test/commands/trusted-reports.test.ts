import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decryptBytes } from '../../src/encryption/decrypt.ts'
import { readPrivateKeys } from '../../src/encryption/keys.ts'
import { startGpg } from '../support/gpg.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { type CliFolder, cliFolder } from './cli.ts'

let crm: Awaited<ReturnType<typeof testDatabase>>
let made: Drilled

beforeAll(async () => {
  crm = await testDatabase('template1')
  await query(crm.url, 'CREATE TABLE contact (id int); INSERT INTO contact SELECT generate_series(1, 1000)')
  made = await makeDrilled()
})
afterAll(async () => {
  await made.folder[Symbol.asyncDispose]()
  await crm[Symbol.asyncDispose]()
})

const plain = { recipients: ['pub.asc'], privateKeyFile: 'key.asc' }
const trusting = { ...plain, trustedSigners: ['signer.pub.asc'] }
const signing = { ...trusting, signingKeyFile: 'signer.key.asc' }

const settings = (encryption: object): object => ({
  encryption,
  servers: [{ name: 'main', url: testUrl(), databases: [crm.name], schedule: { drill: '0 5 * * *' } }],
})

type Drilled = {
  readonly folder: CliFolder
  readonly backup: string
  readonly drill: string
  readonly signer: string
}

/** A folder with a backup that was drilled; both are signed. A copy for each test. */
async function drilled(): Promise<Drilled> {
  const folder = await cliFolder([crm.name], settings(signing))
  const own = (await readdir(made.folder.path)).filter((name) => name === 'store' || name.startsWith('signer.'))
  for (const name of own) await cp(join(made.folder.path, name), join(folder.path, name), { recursive: true })
  return { ...made, folder }
}

async function makeDrilled(): Promise<Drilled> {
  const folder = await cliFolder([crm.name])
  const key = await folder.json(['keygen', '--name', 'signer', '--signing'], { config: null })
  await folder.configure(settings(signing))
  await folder.run(['backup', '--roles'])
  const backup = String((await folder.json(['backup'])).document['runs']?.[0]?.['label'])
  const { document } = await folder.json(['drill'])
  const signer = String(key.document['fingerprint'])
  return { folder, backup, drill: String(document['drill']?.['label']), signer }
}

const objectOf = (folder: CliFolder, end: string): string =>
  folder.objects().find((path) => path.endsWith(end)) ?? `no object ${end}`

async function verifiedOf(folder: CliFolder): Promise<unknown> {
  const { document } = await folder.json(['status'])
  return document['databases']?.[0]?.['backups']?.['verified']
}

describe('a drill where a signing key and trusted signers are configured', () => {
  it('the report - signed so that gpg verifies it, counted, and shown with its signer', async () => {
    const { folder, drill, signer } = await drilled()
    await using _folder = folder
    await using gpg = await startGpg()
    await gpg.import(await readFile(join(folder.path, 'signer.pub.asc')))
    const report = objectOf(folder, `${drill}.json`)
    await gpg.run(['--verify', `${report}.sig`, report])
    expect(await verifiedOf(folder)).toBe(1)
    const { code, stdout } = await folder.run(['show', drill])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^ {2}signed by +${signer}, valid and trusted$`, 'm'))
    expect(stdout).toMatch(/^ {2}forecast +[\d.]+ s {2}of the newest backup, by this drill/m)
    const { document } = await folder.json(['show', drill])
    expect(document['drill']).toMatchObject({ signer, forecastSeconds: expect.any(Number), objective: 'none' })
  })

  it('report, tables, manifests and evidence as stored - valid by the published schemas', async () => {
    const { folder, drill } = await drilled()
    await using _folder = folder
    const keys = await readPrivateKeys([join(folder.path, 'key.asc')], undefined, new Date())
    const decrypted = async (path: string): Promise<Uint8Array> => await decryptBytes(await readFile(path), keys, path)
    const evidence = folder
      .objects()
      .find((path) => path.includes(`/${crm.name}/`) && path.endsWith('evidence.json.pgp'))
    const manifests = folder.objects().filter((path) => path.endsWith('/manifest.json'))
    const documents: [string, Uint8Array][] = [
      ['drill-report', await readFile(objectOf(folder, `${drill}.json`))],
      ['drill-tables', await decrypted(objectOf(folder, `${drill}.tables.json.pgp`))],
      ['evidence', await decrypted(evidence ?? '')],
      ...(await Promise.all(manifests.map(async (path) => ['manifest', await readFile(path)] as [string, Uint8Array]))),
    ]
    expect(documents).toHaveLength(5)
    for (const [name, bytes] of documents) {
      const schema = JSON.parse(await readFile(`docs/schemas/${name}.v1.schema.json`, 'utf8')) as object
      const check = new Ajv2020({ formats: { 'date-time': true } }).compile(schema)
      check(JSON.parse(Buffer.from(bytes).toString()))
      expect([name, check.errors]).toEqual([name, null])
    }
  })

  it('the report with one digit changed - no proof, listed with the reason, and `show` refuses it', async () => {
    const { folder, drill } = await drilled()
    await using _folder = folder
    const path = objectOf(folder, `${drill}.json`)
    await writeFile(path, (await readFile(path, 'utf8')).replace(/"rows": 1000/, '"rows": 1001'))
    expect(await verifiedOf(folder)).toBe(0)
    const list = await folder.run(['list', '--drills'])
    expect(list.stdout).toMatch(/^No drills\.\n\ndamaged: .+\.json.+not signed by a trusted signer/)
    const { code, stderr } = await folder.run(['show', drill])
    expect(code).toBe(3)
    expect(stderr).toContain('not signed by a trusted signer')
  })
})

describe('a drill where trusted signers are configured and no signing key', () => {
  it('passed - and its report counts as no proof; `check` warns of it beforehand', async () => {
    const { folder } = await drilled()
    await using _folder = folder
    for (const path of folder.objects()) if (path.includes('/drills/')) await rm(path)
    await folder.configure(settings(trusting))
    const checked = await folder.json(['check'])
    expect(JSON.stringify(checked.document)).toContain('no signing key is configured where drills run')
    expect((await folder.json(['drill'])).code).toBe(0)
    expect(await verifiedOf(folder)).toBe(0)
    const list = await folder.run(['list'])
    expect(list.stdout).toMatch(/ {2}never drilled\n/)
    expect(list.stdout).toMatch(/^damaged: .+it carries no signature/m)
    await folder.configure(settings(plain))
    expect(await verifiedOf(folder)).toBe(1)
  })
})

describe('what vanished', () => {
  it('the newest backup, after a drill of it - `list --history` names it and who noticed, and the chain counts a gap', async () => {
    const { folder, backup, drill } = await drilled()
    await using _folder = folder
    await rm(dirname(objectOf(folder, `${backup}/manifest.json`)), { recursive: true })
    const { code, stdout } = await folder.run(['list', '--history'])
    expect(code).toBe(0)
    expect(stdout).toContain(
      `main/${crm.name}: backup ${backup} is gone and no prune removed it (noticed by the report of drill ${drill})`,
    )
    expect(stdout).toMatch(/^HISTORY OF +BACKUPS {2}LINKS THAT HOLD {2}PRUNED {2}GAPS$/m)
    expect(stdout).toMatch(new RegExp(`^main/${crm.name} +0 +0 of 0 +0 +1$`, 'm'))
    const { document } = await folder.json(['status'])
    expect(document['historyGaps']).toMatchObject([{ label: backup, found: 'removed' }])
  })

  it('a backup that a prune removed and somebody put back - said', async () => {
    await using folder = await cliFolder([crm.name], settings(plain))
    const first = String((await folder.json(['backup'])).document['runs']?.[0]?.['label'])
    const place = dirname(objectOf(folder, `${first}/manifest.json`))
    const copies = await Promise.all(folder.objects().map(async (path) => [path, await readFile(path)] as const))
    await folder.run(['backup'])
    const server = { name: 'main', url: testUrl(), databases: [crm.name], retention: { last: 1 } }
    await folder.configure({ encryption: plain, servers: [server] })
    await folder.run(['prune'])
    expect((await folder.run(['list', '--history'])).stdout).toMatch(
      new RegExp(`^main/${crm.name} +1 +1 of 1 +1 +0$`, 'm'),
    )
    await mkdir(place, { recursive: true })
    for (const [path, body] of copies) if (path.startsWith(place)) await writeFile(path, body)
    expect((await folder.run(['list', '--history'])).stdout).toContain(
      `backup ${first} was pruned and is there again: somebody put it back (noticed by the record of prune `,
    )
  })

  it('the dump of a backup - `status` names the backup and the object', async () => {
    const { folder, backup } = await drilled()
    await using _folder = folder
    await rm(objectOf(folder, `${backup}/dump.zst.pgp`))
    const { document } = await folder.json(['status'])
    expect([...(document['worries'] ?? [])].map(String)).toContain(
      `main/${crm.name}: backup ${backup}: dump.zst.pgp is missing`,
    )
  })
})

describe('whose turn it is', () => {
  it('`status` with a drill every day - share, what waits, and within how many drills and days', async () => {
    const { folder, backup } = await drilled()
    await using _folder = folder
    const newer = String((await folder.json(['backup'])).document['runs']?.[0]?.['label'])
    const { stdout } = await folder.run(['status'])
    expect(stdout).toMatch(
      new RegExp(
        `^main/${crm.name} +1 of 2 \\(50 %\\) +${newer}, .+ ago +${backup}, verified .+ ago +4 drills, by the schedule 4 d 0 h$`,
        'm',
      ),
    )
    const { document } = await folder.json(['status'])
    expect(document['databases']?.[0]?.['turn']).toMatchObject({
      verifiedShare: 0.5,
      oldestUnverified: { label: newer },
      leastRecentlyVerified: { label: backup, verifiedAt: expect.any(String) },
      drilledWithin: { drills: 4, seconds: 4 * 86_400 },
    })
    await folder.configure({ ...settings(signing), drill: { spool: join(folder.path, 'spool'), pick: 'latest' } })
    expect((await folder.run(['status'])).stdout).toContain('no guarantee: drill.pick is not random')
  })
})
