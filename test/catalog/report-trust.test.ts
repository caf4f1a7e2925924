import { copyFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { readDatabaseStatus } from '../../src/catalog/database-status.ts'
import type { Config } from '../../src/config/config.ts'
import { type DrillReport, encodeDrillReport } from '../../src/domain/drill-report.ts'
import { distrustOf } from '../../src/drill/distrust.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { readSigningKey } from '../../src/encryption/keys.ts'
import { type SigningKey, signDetached } from '../../src/encryption/sign.ts'
import { readSigners } from '../../src/jobs/installation.ts'
import { readReportTrust, reportTrustOf } from '../../src/jobs/report-trust.ts'
import { createLog, silentLog } from '../../src/log.ts'
import { drillReportKey, drillSignatureKey, drillTablesKey } from '../../src/storage/object-keys.ts'
import { type KeyFolder, keysMadeAt, openKeyFolder } from '../encryption/made-keys.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { clock, labelAt, manifestAt, present, reportOf, signal, storeBackup } from './stored.ts'

const manifest = manifestAt('2026-11-18T02:00:00Z')
const passed = reportOf(manifest, '2026-11-19T05:00:00Z')

let keys: KeyFolder
let own: SigningKey
let stranger: SigningKey
/** The public key that is trusted; tests put another in its place. */
let trusted: string

beforeAll(async () => {
  keys = await openKeyFolder()
  const make = async (name: string): Promise<SigningKey> => {
    const pair = await generateKeyPair({ name, kind: 'ecc', use: 'signing', now: keysMadeAt })
    await keys.file(`${name}.pub.asc`, pair.publicKey)
    return await readSigningKey(await keys.file(`${name}.key.asc`, pair.privateKey), undefined, present)
  }
  own = await make('own')
  stranger = await make('stranger')
  trusted = `${keys.folder}/trusted.asc`
  await copyFile(`${keys.folder}/own.pub.asc`, trusted)
})
afterAll(() => keys[Symbol.asyncDispose]())

const config = (): Config => ({ encryption: { trustedSigners: [trusted] } }) as unknown as Config

function trustingCatalog(): Catalog {
  return new Catalog({ clock, reportTrust: () => readReportTrust(config(), present) })
}

it('the keys cannot be read any more - those read before still count, and every store is read; said once, and never at first', async () => {
  const broken = `${keys.folder}/broken.asc`
  const lines: string[] = []
  const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
  const named = { encryption: { trustedSigners: [broken] } } as unknown as Config
  const catalogOf = () =>
    new Catalog({ clock, reportTrust: reportTrustOf(() => ({ config: named, storeId: null }), { clock, log }) })
  await copyFile(`${keys.folder}/own.pub.asc`, broken)
  const store = new MemoryStore(clock)
  const stores = storeSetOf(store)
  await storeBackup(store, manifest)
  await put(store, passed, own)
  const catalog = catalogOf()
  await catalog.refresh(stores, signal)
  await keys.file('broken.asc', 'no key')
  const later = manifestAt('2026-11-19T02:00:00Z')
  await storeBackup(store, later)
  for (let times = 0; times < 2; times += 1) await catalog.refresh(stores, signal)
  expect(catalog.backups().map(({ manifest: { label } }) => label)).toEqual([later.label, manifest.label])
  expect(catalog.newest('main', 'app', 'verified')?.manifest.label).toBe(manifest.label)
  expect(lines).toHaveLength(1)
  const fresh = catalogOf()
  await expect(fresh.refresh(stores, signal)).rejects.toMatchObject({ code: 'KEY_UNREADABLE' })
  expect(fresh.standings()).toMatchObject([{ isComplete: false, error: { code: 'KEY_UNREADABLE' }, readAt: null }])
  await copyFile(`${keys.folder}/own.pub.asc`, broken)
  await catalog.refresh(stores, signal)
  expect(lines.map((line) => JSON.parse(line).level)).toEqual(['error', 'info'])
})

it('the keys of another signer cannot be read after a new configuration - no store counts as read', async () => {
  let named = config()
  const silent = { clock, log: silentLog }
  const catalog = new Catalog({ clock, reportTrust: reportTrustOf(() => ({ config: named, storeId: null }), silent) })
  const stores = storeSetOf(new MemoryStore(clock))
  await catalog.refresh(stores, signal)
  named = { encryption: { trustedSigners: [`${keys.folder}/nowhere.asc`] } } as unknown as Config
  await expect(catalog.refresh(stores, signal)).rejects.toMatchObject({ code: 'KEY_UNREADABLE' })
  expect(catalog.standings()).toMatchObject([{ isComplete: false, error: { code: 'KEY_UNREADABLE' } }])
})

/** Stores the report as a drill with this signing key would, or as anybody can who may write. */
async function put(
  store: MemoryStore,
  report: DrillReport,
  key: SigningKey | null,
  signer = key?.fingerprint ?? null,
): Promise<string> {
  const { server, database, label } = report
  const bytes = encodeDrillReport({ ...report, signer })
  if (key !== null)
    await store.put(drillSignatureKey(server, database, label), await signDetached(bytes, key, present), { signal })
  const name = drillReportKey(server, database, label)
  await store.put(name, bytes, { signal })
  return name
}

async function storeWith(...reports: readonly (readonly [DrillReport, SigningKey | null])[]): Promise<MemoryStore> {
  const store = new MemoryStore(clock)
  await storeBackup(store, manifest)
  for (const [report, key] of reports) await put(store, report, key)
  return store
}

async function readFrom(store: MemoryStore, catalog = trustingCatalog()) {
  await catalog.refresh(storeSetOf(store), signal)
  const status = readDatabaseStatus({ server: 'main', database: 'app' }, catalog, {}, present)
  return {
    verified: catalog.newest('main', 'app', 'verified') !== undefined,
    drills: catalog.drills().length,
    damaged: catalog.damaged().map(({ error }) => error.message),
    lastDrill: status.lastDrill?.verdict ?? null,
    lastPassed: status.lastPassedDrill !== null,
    forecast: status.forecastSeconds,
    gaps: catalog.historyGaps().length,
    isComplete: catalog.isComplete,
  }
}

const nothing = { verified: false, drills: 0, lastDrill: null, lastPassed: false, forecast: null, isComplete: true }

describe('reports, where trusted signers are configured', () => {
  it('signed by a trusted signer - counts', async () => {
    expect(await readFrom(await storeWith([passed, own]))).toMatchObject({
      ...{ verified: true, drills: 1, lastDrill: 'passed', lastPassed: true, forecast: 20 },
      damaged: [],
    })
  })

  it('uploaded by somebody without a key - proves nothing, and is listed with the reason', async () => {
    const found = await readFrom(await storeWith([passed, null]))
    expect(found).toMatchObject(nothing)
    expect(found.damaged).toEqual([expect.stringMatching(/not signed by a trusted signer: it carries no signature/)])
  })

  it('signed by somebody else - proves nothing', async () => {
    const found = await readFrom(await storeWith([passed, stranger]))
    expect(found).toMatchObject(nothing)
    expect(found.damaged).toEqual([expect.stringMatching(/not signed by a trusted signer: /)])
  })

  it('signed by a trusted signer for another store - proves nothing here', async () => {
    const store = await storeWith([passed, own])
    const other = '11111111-1111-4111-8111-111111111111'
    const catalogOf = (storeId: string): Catalog =>
      new Catalog({ clock, reportTrust: () => readReportTrust(config(), present, storeId) })
    expect(await readFrom(store, catalogOf(passed.storeId))).toMatchObject({ drills: 1 })
    const found = await readFrom(store, catalogOf(other))
    expect(found).toMatchObject(nothing)
    expect(found.damaged).toEqual([expect.stringContaining('it is of another store')])
  })

  it('signed, and then changed in one digit - proves nothing', async () => {
    const store = await storeWith([passed, own])
    const key = drillReportKey('main', 'app', passed.label)
    const changed = store.text(key).replace('"restoreTimeSeconds": 20', '"restoreTimeSeconds": 21')
    await store.put(key, Buffer.from(changed), { signal })
    expect(await readFrom(store)).toMatchObject(nothing)
  })

  it('signed for another drill and copied there - proves nothing', async () => {
    const store = await storeWith([passed, own])
    const copy = { ...passed, label: labelAt('2026-11-20T05:00:00Z', 'dr99') }
    const { body } = store.objects.get(drillSignatureKey('main', 'app', passed.label)) ?? { body: Buffer.alloc(0) }
    await put(store, copy, null, own.fingerprint)
    await store.put(drillSignatureKey('main', 'app', copy.label), body, { signal })
    await store.put(drillReportKey('main', 'app', labelAt('2026-11-20T06:00:00Z')), encodeDrillReport(passed), {
      signal,
    })
    expect(await readFrom(store)).toMatchObject({ drills: 1, damaged: [expect.any(String), expect.any(String)] })
  })

  it('signed by a trusted signer and naming another - proves nothing', async () => {
    const store = await storeWith()
    await put(store, passed, own, stranger.fingerprint)
    expect((await readFrom(store)).damaged).toEqual([expect.stringMatching(/names another signer/)])
  })

  it('a signature of a megabyte - proves nothing, and is not read', async () => {
    const store = await storeWith([passed, own])
    const key = drillSignatureKey('main', 'app', passed.label)
    await store.put(key, Buffer.alloc(1 << 20), { signal })
    expect((await readFrom(store)).damaged).toEqual([expect.stringMatching(/a signature has no 1048576 bytes/)])
    expect(store.calls).not.toContain(`get ${key}`)
  })

  it('one that says "failed", planted - takes no proof back and makes no gap', async () => {
    const failed = reportOf(manifest, '2026-11-20T05:00:00Z', { verdict: 'failed' })
    const gone = reportOf(manifestAt('2026-11-17T02:00:00Z'), '2026-11-20T06:00:00Z')
    const found = await readFrom(await storeWith([passed, own], [failed, null], [gone, stranger]))
    expect(found).toMatchObject({ verified: true, drills: 1, lastDrill: 'passed', gaps: 0 })
  })

  it('none of this without trusted signers - an unsigned report counts as before', async () => {
    const found = await readFrom(await storeWith([passed, null]), new Catalog({ clock }))
    expect(found).toMatchObject({ verified: true, drills: 1, damaged: [] })
  })
})

describe('how often reports are judged', () => {
  it('a second refresh - reads neither report nor signature again', async () => {
    const store = await storeWith([passed, own], [reportOf(manifest, '2026-11-20T05:00:00Z'), null])
    const catalog = trustingCatalog()
    await readFrom(store, catalog)
    store.calls.length = 0
    expect(await readFrom(store, catalog)).toMatchObject({ verified: true, drills: 1 })
    expect(store.calls.filter((call) => call.startsWith('get'))).toEqual([])
  })

  it('the trusted key is replaced on disk - every report is judged anew', async () => {
    const store = await storeWith([passed, own])
    const catalog = trustingCatalog()
    expect(await readFrom(store, catalog)).toMatchObject({ verified: true })
    await copyFile(`${keys.folder}/stranger.pub.asc`, trusted)
    expect(await readFrom(store, catalog)).toMatchObject(nothing)
    await copyFile(`${keys.folder}/own.pub.asc`, trusted)
    expect(await readFrom(store, catalog)).toMatchObject({ verified: true })
  })

  it('a signature that comes later - the report counts from then on', async () => {
    const store = await storeWith()
    await put(store, passed, null, own.fingerprint)
    const catalog = trustingCatalog()
    expect(await readFrom(store, catalog)).toMatchObject(nothing)
    const key = drillReportKey('main', 'app', passed.label)
    const signature = await signDetached(Buffer.from(store.text(key)), own, present)
    await store.put(`${key}.sig`, signature, { signal })
    expect(await readFrom(store, catalog)).toMatchObject({ verified: true, damaged: [] })
  })

  it('the trusted key cannot be read - the refresh fails, the old contents stay', async () => {
    const store = await storeWith([passed, own])
    const catalog = new Catalog({
      clock,
      reportTrust: () =>
        readReportTrust({ encryption: { trustedSigners: [`${keys.folder}/none`] } } as unknown as Config, present),
    })
    await expect(catalog.refresh(storeSetOf(store), signal)).rejects.toMatchObject({ code: 'KEY_UNREADABLE' })
    expect([catalog.isComplete, catalog.backups()]).toEqual([false, []])
  })

  it('2,000 signed reports - judged within 5 s of processor time', async () => {
    const store = await storeWith()
    for (let index = 0; index < 2000; index += 1)
      await put(store, reportOf(manifest, new Date(Date.UTC(2026, 10, 1) + index * 60_000).toISOString()), own)
    const before = process.threadCpuUsage()
    expect(await readFrom(store)).toMatchObject({ drills: 2000, damaged: [] })
    const { user, system } = process.threadCpuUsage(before)
    expect((user + system) / 1e6).toBeLessThan(5)
  })
})

describe('a report that this process has just stored', () => {
  it('by a trusted signer - counts; by another or by nobody - does not, and the reason is said', async () => {
    const signers = await readSigners(config(), present)
    expect(distrustOf({ ...passed, signer: own.fingerprint }, signers)).toBeNull()
    expect(distrustOf({ ...passed, signer: null }, null)).toBeNull()
    for (const signer of [stranger.fingerprint, null]) {
      const distrust = distrustOf({ ...passed, signer }, signers)
      const catalog = trustingCatalog()
      catalog.addDrill({ ...passed, signer }, ['store'], distrust)
      expect(catalog.drills()).toEqual([])
      expect(catalog.damageOf(passed.label)?.message).toContain('not signed by a trusted signer')
    }
  })
})

describe('the tables of a report', () => {
  it('named by the report and missing - listed as damaged, and what the report says counts', async () => {
    const store = await storeWith([{ ...passed, tablesSha256: 'a'.repeat(64) }, own])
    const key = drillTablesKey('main', 'app', passed.label)
    const found = await readFrom(store)
    expect(found).toMatchObject({ verified: true, drills: 1 })
    expect(found.damaged).toEqual([expect.stringContaining(key)])
    await store.put(key, Buffer.from('x'), { signal })
    expect(await readFrom(store)).toMatchObject({ damaged: [] })
  })
})
