import { pipeline } from 'node:stream/promises'
import { type Catalog, type CatalogBackup, storesOf } from '../catalog/catalog.ts'
import { lackingIn } from '../catalog/lacking.ts'
import { drilledFolders } from '../catalog/proof.ts'
import type { RunProgress } from '../catalog/runs.ts'
import { retentionIn } from '../config/retention-in.ts'
import type { StoredObject } from '../domain/manifest.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { drillReportKey, objectNames, tablesKeyOf } from '../storage/object-keys.ts'
import type { NamedStore, StoreReader, StoreSet } from '../storage/store-set.ts'
import { holdBackups } from '../stored/hold-backup.ts'
import { createMeasure, measureBytes } from '../streams/measure.ts'
import type { Installation } from './installation.ts'

export type SyncRequest = {
  /** The name of the store to catch up; undefined: all. */
  readonly store?: string | undefined
  readonly isDryRun: boolean
}

/** What one store lacked. */
export type SyncPlan = {
  readonly store: string
  readonly backups: readonly CatalogBackup[]
  /** Keys of reports of drills, with what belongs to them. */
  readonly reports: readonly string[]
}

export type SyncResult = {
  readonly plans: readonly SyncPlan[]
  /** What was copied to each store: labels of backups, and how many reports. */
  readonly copied: readonly { readonly store: string; readonly labels: readonly string[]; readonly reports: number }[]
  readonly isDryRun: boolean
}

/**
 * Copies to each store what it lacks and another one has: backups whole, their manifests last, and reports of drills. What
 * a store has pruned, or would prune next, is not brought back. Nothing is decrypted. Throws SYNC_INCOMPLETE when
 * something could not be copied, with all the rest done; what that is, `onResult` was told by then.
 */
export async function runSync(
  request: SyncRequest,
  installation: Installation & { readonly onResult?: ((result: SyncResult) => void) | undefined },
  signal: AbortSignal,
  onProgress: (progress: RunProgress) => void = () => {},
): Promise<SyncResult> {
  const { catalog, stores, log } = installation
  const targets = request.store === undefined ? stores.named : [stores.one(request.store)]

  // 1. Know what each holds; a store that cannot be read lacks nothing that is known.
  await catalog.refresh(stores, signal)
  const failures: string[] = []
  const known = new Set<string>()
  for (const { name, error, isComplete } of catalog.standings()) {
    // Also of one that is a source only: what it alone has, nobody knows to be lacking.
    if (error !== null) failures.push(`store ${name}: ${error.message}`)
    // What it pruned may be in what could not be read, and would come back.
    else if (!isComplete) failures.push(`store ${name} could not be read completely`)
    else known.add(name)
  }
  const readable = targets.filter(({ name }) => known.has(name))
  const plans = readable.map(({ name }) => planSync(name, installation))
  const end = (result: SyncResult): SyncResult => {
    installation.onResult?.(result)
    assertNone(failures)
    return result
  }
  if (request.isDryRun) return end({ plans, copied: [], isDryRun: true })

  const unfinished = unfinishedOf(catalog)
  const wanted = new Set(plans.flatMap(({ store, backups }) => backups.map(({ folder }) => `${store}/${folder}`)))
  for (const key of unfinished) if (!wanted.has(key)) unfinished.delete(key)
  const copied = plans.map(({ store }) => ({ store, labels: [] as string[], reports: 0 }))
  for (const [index, { store, backups, reports }] of plans.entries()) {
    const target = stores.one(store)
    const done = copied[index]
    const attempt = async (what: string, work: () => Promise<void>): Promise<boolean> => {
      try {
        await work()
        return true
      } catch (error) {
        signal.throwIfAborted()
        failures.push(`${what} to store ${store}: ${reasonOf(error)}`)
        return false
      }
    }
    if (backups.length + reports.length === 0) continue
    if (!(await attempt('anything', () => stores.assertMarked(target, signal)))) continue
    // What is here without a manifest may be old enough to be taken for nobody's, and what is there may be due to go.
    const held = backups.map(({ folder, copies }) => ({ folder, copies: [{ store }, ...copies] }))
    await using _hold = await holdBackups(held, { by: 'sync', from: [...known] }, installation, signal)
    const copyReports = async (keys: readonly string[]): Promise<void> => {
      for (const key of keys)
        await attempt(key, async () => {
          if (done !== undefined) done.reports += await copyReport(key, target, installation, signal)
        })
    }

    // 2. The reports of drills, so that each store alone tells what is proven. They are small: no dump keeps them waiting.
    const ofLacking = reportsNaming(backups, catalog)
    await copyReports(reports.filter((key) => !ofLacking.has(key)))

    // 3. Backup by backup, the newest first: it is the one that is missed most. One that the last sync did not get
    // through comes after all others: it may be too large for any.
    const isUnfinished = ({ folder }: CatalogBackup): boolean => unfinished.has(`${store}/${folder}`)
    const inTurn = [...backups.filter((backup) => !isUnfinished(backup)), ...backups.filter(isUnfinished)]
    for (const backup of inTurn) {
      unfinished.add(`${store}/${backup.folder}`)
      await attempt(backup.manifest.label, async () => {
        await copyBackup(backup, target, installation, signal, onProgress)
        unfinished.delete(`${store}/${backup.folder}`)
        done?.labels.push(backup.manifest.label)
        log.info({ store, label: backup.manifest.label }, 'backup copied to a store that lacked it')
      })
    }

    // 4. What names them: in a store alone, a report of a backup that is not there looks as if somebody had removed it.
    await copyReports(reports.filter((key) => ofLacking.has(key)))
  }
  return end({ plans, copied, isDryRun: false })
}

/** What a sync of this process began to copy and did not end, by store and folder. */
function unfinishedOf(catalog: Catalog): Set<string> {
  const known = unfinishedBackups.get(catalog) ?? new Set()
  unfinishedBackups.set(catalog, known)
  return known
}

const unfinishedBackups = new WeakMap<Catalog, Set<string>>()

/** The keys of the reports that name one of these backups. */
function reportsNaming(backups: readonly CatalogBackup[], catalog: Catalog): ReadonlySet<string> {
  const folders = new Set<string | null>(backups.map(({ folder }) => folder))
  if (folders.size === 0) return new Set()
  const naming = catalog.drills().filter((report) => {
    const { backup, roles } = drilledFolders(report)
    return folders.has(backup) || folders.has(roles)
  })
  return new Set(naming.map(({ server, database, label }) => drillReportKey(server, database, label)))
}

function assertNone(failures: readonly string[]): void {
  if (failures.length === 0) return
  const count = failures.length === 1 ? '1 failure' : `${failures.length} failures`
  throw new PgproofError('SYNC_INCOMPLETE', { count }, { details: failures.join('\n') })
}

/** What a sync would copy to one store, from the catalog as it stands. */
export function planSync(store: string, { catalog, config, clock, stores }: Installation): SyncPlan {
  if (stores.named.length < 2) return { store, backups: [], reports: [] }
  const now = clock.now()
  const policyOf = retentionIn(store, config)
  const backups = lackingIn({ store, policyOf, now, timezone: config.timezone }, catalog)
  const { reports: held, wholeReports: whole } = catalog.inStore(store)
  const others = stores.named.filter(({ name }) => name !== store).map(({ name }) => catalog.inStore(name))
  const isLacking = (key: string): boolean =>
    !held.has(key) || (!whole.has(key) && others.some((other) => other.wholeReports.has(key)))
  // Old ones were pruned there, or would be next.
  const isYoung = (at: Date): boolean => now.getTime() - at.getTime() < config.drill.keepReportsMs
  const reports = catalog.reports().filter(({ key, at }) => isLacking(key) && isYoung(at))
  return { store, backups, reports: reports.map(({ key }) => key) }
}

async function copyBackup(
  backup: CatalogBackup,
  target: NamedStore,
  installation: Installation,
  signal: AbortSignal,
  onProgress: (progress: RunProgress) => void,
): Promise<void> {
  const { stores, catalog } = installation
  const { manifest, folder, manifestSha256, copies } = backup
  const sources = storesOf(backup).filter((name) => name !== target.name)
  const source = stores.reading(sources)
  const { dump, evidence, recovery } = manifest.objects
  let before = 0
  const totalBytes = [dump, evidence, recovery].reduce((sum, object) => sum + (object?.bytes ?? 0), 0)
  for (const object of [dump, evidence, recovery]) {
    if (object === null) continue
    const onBytes = (bytes: number): void => onProgress({ phase: 'copy', doneBytes: before + bytes, totalBytes })
    await copyFromAny(folder, object, { stores, sources, target }, signal, onBytes)
    before += object.bytes
  }
  const isSigned = copies.some(({ hasSignature }) => hasSignature)
  if (isSigned) await copySignature(`${folder}${objectNames.signature}`, source, target, signal)
  // A prune that had looked before the hold was there may have taken some of it; the manifest promises all.
  const signature = isSigned ? [{ name: objectNames.signature, bytes: null }] : []
  for (const object of [dump, evidence, recovery, ...signature]) {
    if (object === null) continue
    const there = await target.reader.head(`${folder}${object.name}`, { signal })
    if (there !== undefined && (object.bytes === null || there.bytes === object.bytes)) continue
    const reason = 'it went from the store while the backup was copied; the next sync copies it again'
    throw new PgproofError('OBJECT_MISMATCH', { key: `${folder}${object.name}`, reason })
  }
  // The manifest last: from here on the backup exists there, too.
  const key = `${folder}${objectNames.manifest}`
  const bytes = await source.get(key, { signal })
  if (measureBytes(bytes).sha256 !== manifestSha256)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'it changed since the store was listed' })
  await putManifest(key, bytes, target, catalog.inStore(target.name).damagedKeys, signal)
  catalog.addBackup(backup, [target.name])
}

/** Never over another one: nobody checks here which of the two is the signer's. */
async function copySignature(
  key: string,
  source: StoreReader,
  { reader, writer }: NamedStore,
  signal: AbortSignal,
): Promise<void> {
  const bytes = await source.get(key, { signal })
  const held = await heldAs(key, bytes, reader, signal)
  if (held === 'nothing') await writer.put(key, bytes, { signal, ifAbsent: true })
  else if (held === 'other')
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'the stores hold different signatures of one manifest' })
}

/** Never over another one, which may be the true one; only over what is no manifest at all. */
async function putManifest(
  key: string,
  bytes: Uint8Array,
  { reader, writer }: NamedStore,
  damaged: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<void> {
  try {
    await writer.put(key, bytes, { signal, ifAbsent: !damaged.has(key) })
  } catch (error) {
    if (!(error instanceof PgproofError) || error.code !== 'STORE_EXISTS') throw error
    if (Buffer.compare(await reader.get(key, { signal }), bytes) === 0) return
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'the stores hold different manifests under one label' })
  }
}

type Route = { readonly stores: StoreSet; readonly sources: readonly string[]; readonly target: NamedStore }

/** From the first store whose copy is what its manifest says. */
async function copyFromAny(
  folder: string,
  object: StoredObject,
  { stores, sources, target }: Route,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<void> {
  for (const [index, name] of sources.entries()) {
    const source = stores.reading([name, ...sources.slice(index + 1)])
    try {
      await copyObject(folder, object, source, target, signal, onBytes)
      return
    } catch (error) {
      const isDamaged = error instanceof PgproofError && error.code === 'OBJECT_MISMATCH'
      if (!isDamaged || index + 1 === sources.length) throw error
    }
  }
}

/** One object, read and written at once. It appears only if its SHA-256 is the one in the manifest. */
async function copyObject(
  folder: string,
  { name, bytes, sha256 }: StoredObject,
  source: StoreReader,
  target: NamedStore,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const key = `${folder}${name}`
  const held = await target.reader.head(key, { signal })
  // Of an interrupted sync, or of a backup that failed after it. It may have been damaged since: it must be read.
  if (held?.bytes === bytes && (await sha256Of(key, target.reader, signal)) === sha256) return
  const measure = createMeasure(onBytes)
  async function* checked(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    yield* stream
    const found = measure.result()
    if (found.sha256 !== sha256 || found.bytes !== bytes)
      throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'its SHA-256 is not the one in the manifest' })
  }
  await pipeline(
    await source.read(key, { signal }),
    measure.stage,
    checked,
    async (stream: AsyncIterable<Uint8Array>) => {
      await target.writer.write(key, stream, { signal, expectedBytes: bytes, isExact: true })
    },
    { signal },
  )
}

async function sha256Of(key: string, store: StoreReader, signal: AbortSignal): Promise<string> {
  const measure = createMeasure()
  for await (const _ of measure.stage(await store.read(key, { signal })));
  return measure.result().sha256
}

/** What a store has under a key, compared with these bytes. */
async function heldAs(
  key: string,
  bytes: Uint8Array,
  store: StoreReader,
  signal: AbortSignal,
): Promise<'nothing' | 'same' | 'other'> {
  const held = await store.head(key, { signal })
  if (held === undefined) return 'nothing'
  const isSame = held.bytes === bytes.length && Buffer.compare(await store.get(key, { signal }), bytes) === 0
  return isSame ? 'same' : 'other'
}

/** A store may refuse that what it has is written over, so what is the same already is left alone. Returns whether it was not. */
async function copySmall(
  key: string,
  source: StoreReader,
  { reader, writer }: NamedStore,
  signal: AbortSignal,
): Promise<boolean> {
  const bytes = await source.get(key, { signal })
  if ((await heldAs(key, bytes, reader, signal)) === 'same') return false
  await writer.put(key, bytes, { signal })
  return true
}

/** A report with its signature and its tables, itself last. Returns how many objects that were. */
async function copyReport(
  key: string,
  target: NamedStore,
  { stores, catalog }: Installation,
  signal: AbortSignal,
): Promise<number> {
  // Not from one where it is damaged, or where nobody signed it who is trusted.
  const others = stores.named.filter(({ name }) => name !== target.name)
  const holders = others.filter(({ name }) => catalog.inStore(name).reports.has(key))
  const whole = holders.filter(({ name }) => catalog.inStore(name).wholeReports.has(key))
  const source = stores.reading((whole.length > 0 ? whole : holders).map(({ name }) => name))
  const beside = [`${key}.sig`, tablesKeyOf(key)]
  // One that is there already and says something else is not for a sync to write over.
  const held = catalog.inStore(target.name).reports.has(key) ? await target.reader.get(key, { signal }) : null
  if (held !== null && Buffer.compare(held, await source.get(key, { signal })) !== 0)
    throw new PgproofError('STORE_EXISTS', { key: `${key}, with other contents,` })
  let copied = 0
  for (const one of [...beside, key]) {
    if (one !== key && (await source.head(one, { signal })) === undefined) continue
    if (await copySmall(one, source, target, signal)) copied += 1
  }
  return copied
}
