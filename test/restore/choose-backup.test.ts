import { describe, expect, it } from 'vitest'
import { PgproofError } from '../../src/errors.ts'
import { chooseBackup } from '../../src/restore/choose-backup.ts'
import { asTargetError } from '../../src/restore/target-checks.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { manifestAt, recordOf, rolesManifestAt, signal } from '../catalog/stored.ts'
import { clockAt, madeUpCatalog } from '../metrics/made-up-catalog.ts'
import { storeSetOf } from '../support/store-sets.ts'

const clock = clockAt('2026-11-20T12:00:00Z')
const app = manifestAt('2026-11-20T02:00:00Z')
const roles = rolesManifestAt('2026-11-20T01:30:00Z')
const latest = { by: 'latest' } as const

type Question = Parameters<typeof chooseBackup>[0]
type Catalog = Parameters<typeof chooseBackup>[1]

/** What somebody reads who asks for a backup that cannot be had. */
function refused(question: Question, catalog: Catalog): string {
  try {
    chooseBackup(question, catalog)
  } catch (error) {
    if (error instanceof PgproofError) return `${error.code} ${error.message}; ${error.hint}`
  }
  throw new Error('a backup was chosen, or no error of the register was thrown')
}

describe('a backup of this label cannot be had', () => {
  const labelled = (label: string): Question => ({
    choice: { by: 'label', label },
    server: undefined,
    database: undefined,
    trustedSigners: null,
  })

  it('it is one of roles - USAGE_INVALID says which flag restores those', async () => {
    const { catalog } = await madeUpCatalog(clock, { manifests: [app, roles] })
    expect(refused(labelled(roles.label), catalog)).toMatch(
      new RegExp(`^USAGE_INVALID .*${roles.label} is a backup of roles; --roles restores them along with a database`),
    )
  })

  it('nobody ever took it - LABEL_UNKNOWN', async () => {
    const { catalog } = await madeUpCatalog(clock, { manifests: [app] })
    const label = '20200101T000000Z-none'
    expect(refused(labelled(label), catalog)).toMatch(/^LABEL_UNKNOWN .*"20200101T000000Z-none"/)
  })

  it('it was pruned - BACKUP_PRUNED with the time', async () => {
    const old = manifestAt('2026-11-01T02:00:00Z')
    const { catalog } = await madeUpCatalog(clock, { manifests: [app], records: [recordOf([old])] })
    expect(refused(labelled(old.label), catalog)).toMatch(
      new RegExp(`^BACKUP_PRUNED .*${old.label}.*2026-11-20T04:00:00`),
    )
  })

  it('its manifest is damaged - what is wrong with that, not that there is none', async () => {
    const { catalog, store } = await madeUpCatalog(clock, { manifests: [app] })
    await store.put(`${backupFolder(app)}manifest.json`, Buffer.from('{"cut'), { signal })
    await catalog.refresh(storeSetOf(store), signal)
    expect(refused(labelled(app.label), catalog)).toMatch(
      new RegExp(`^STORE_FORMAT_INVALID .*${app.label}/manifest\\.json`),
    )
  })
})

describe('no backup of the database that is asked for', () => {
  it('others are there - NO_BACKUP_OF names them', async () => {
    const manifests = [app, manifestAt('2026-11-20T02:10:00Z', { database: 'shop' })]
    const { catalog } = await madeUpCatalog(clock, { manifests })
    expect(refused({ choice: latest, server: 'main', database: 'shup', trustedSigners: null }, catalog)).toBe(
      'NO_BACKUP_OF the store holds no backup of main/shup; It holds backups of main/app, main/shop.',
    )
  })

  it('more than twenty others are there - twenty of them, and how many more', async () => {
    const manifests = Array.from({ length: 23 }, (_, index) =>
      manifestAt('2026-11-20T02:00:00Z', { database: `db${10 + index}` }),
    )
    const { catalog } = await madeUpCatalog(clock, { manifests })
    expect(refused({ choice: latest, server: undefined, database: 'other', trustedSigners: null }, catalog)).toMatch(
      /^NO_BACKUP_OF .* no backup of other; It holds backups of main\/db10, .*, main\/db29 and 3 more\.$/,
    )
  })
})

describe('the newest backup lacks its signature', () => {
  const encryption = { recipients: ['A'.repeat(40)], signer: 'B'.repeat(40) }
  const signed = manifestAt('2026-11-20T02:00:00Z', { encryption })
  const older = manifestAt('2026-11-19T02:00:00Z')
  const question = { choice: latest, server: 'main', database: 'app' }

  it('no signer is trusted by name - it is taken all the same: nobody would look at a signature', async () => {
    const { catalog } = await madeUpCatalog(clock, { manifests: [older, signed] })
    const { backup, skipped } = chooseBackup({ ...question, trustedSigners: null }, catalog)
    expect([backup.manifest.label, skipped]).toEqual([signed.label, []])
  })

  it('a signature is asked for - it is passed over', async () => {
    const { catalog } = await madeUpCatalog(clock, { manifests: [older, signed] })
    const trustedSigners = { keys: [], fingerprints: [], expiries: [] }
    const { backup, skipped } = chooseBackup({ ...question, trustedSigners }, catalog)
    expect([backup.manifest.label, skipped.map(({ faults }) => faults)]).toEqual([
      older.label,
      [['manifest.json.sig is missing']],
    ])
  })
})

describe('said of the target, not of a scratch server', () => {
  it.each(['shop_owner', '"sales: east"'])('the role %s is missing - TARGET_ROLES_MISSING names it whole', (role) => {
    const cause = new PgproofError('ROLES_MISSING', { role })
    expect(asTargetError(cause)).toMatchObject({
      code: 'TARGET_ROLES_MISSING',
      message: `the target server lacks a role that the backup names: ${role}`,
    })
  })
})
