import { randomInt } from 'node:crypto'
import { Catalog } from './catalog/catalog.ts'
import { KnownCache } from './catalog/known-cache.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config/config.ts'
import type { AskPassphrase } from './encryption/keys.ts'
import type { Installation } from './jobs/installation.ts'
import { reportTrustOf } from './jobs/report-trust.ts'
import { assertMarked, type SettledMarkers, settleMarkers } from './jobs/store-marker.ts'
import { createLog, type Log } from './log.ts'
import { openStores } from './storage/open-stores.ts'
import type { StoreSet, StoreSetParts } from './storage/store-set.ts'
import { unmarkedStore } from './storage/unmarked-store.ts'
import { removeOldDownloads } from './streams/downloads.ts'
import { sweepPasswordFiles, sweepSpool } from './streams/spool.ts'

export type Wired = AsyncDisposable & {
  readonly installation: Installation
  /** Another configuration from now on, with the same stores, but for their credentials, and spool; runs that have begun keep theirs. */
  reconfigure(config: Config): void
}

export type WireOptions = {
  /** Whether the command writes to the stores: then an unmarked bucket is marked. */
  readonly writes: boolean
  /** Whether files go to the spool, as for whatever writes: then what killed processes left there is removed. */
  readonly usesSpool?: boolean
  /** Whether the stores' markers are read at all; `check` does without. Default true. */
  readonly needsMarker?: boolean
  /** Whether an unmarked store is refused: somebody looks for a store that is known to be there. */
  readonly mustExist?: boolean
  /** Asks whoever sits at the terminal for the passphrase of a key. */
  readonly askPassphrase?: AskPassphrase | undefined
  /** Whether the index is needed: then it is built before this resolves. */
  readonly needsCatalog: boolean
  readonly log?: Log
}

/** Builds the parts from the configuration; the scope's end releases them in reverse. */
export async function wire(config: Config, options: WireOptions, signal: AbortSignal): Promise<Wired> {
  const clock = systemClock
  const log = options.log ?? createLog(config.log)
  let current = config
  let storeId = ''
  const storeParts: StoreSetParts = {
    clock,
    log,
    // Before the first store is marked there is nothing to tell it by.
    assertMarked: async ({ name, reader }, marking) => {
      if (storeId !== '') await assertMarked(reader, storeId, marking, name)
    },
  }
  const stores = await openStores(config.stores, storeParts, () => current.stores)
  const dispose = (): Promise<void> => stores.close()
  try {
    const markers = await markersOf(stores, config, options, signal)
    if (markers === null && options.mustExist === true) throw await unmarkedStore(config.stores[0].url)
    for (const [name, error] of markers?.faults ?? [])
      log.warn({ store: name, reason: error.message }, 'goes on without a store')
    storeId = markers?.storeId ?? ''
    for (const [name, error] of markers?.faults ?? []) if (error.code === 'STORE_FOREIGN') stores.leaveOut(name, error)
    const catalog = new Catalog({
      clock,
      reportTrust: reportTrustOf(() => ({ config: current, storeId: storeId || null }), { clock, log }),
      cacheOf: (name) => {
        const { endpoint, url } = config.stores.find((store) => store.name === name) ?? config.stores[0]
        return new KnownCache(config.drill.spool, [storeId, name, endpoint ?? '', url], log)
      },
    })
    if (options.needsCatalog) await catalog.refresh(stores, signal)
    if (options.writes || options.usesSpool === true) await sweep(config.drill.spool, log)
    const random = (): number => randomInt(2 ** 32) / 2 ** 32
    const installation = {
      get config() {
        return current
      },
      store: stores.reading(),
      stores,
      storeId,
      storeCreatedAt: markers?.createdAt ?? clock.now(),
      catalog,
      clock,
      log,
      random,
      askPassphrase: options.askPassphrase,
    }
    const reconfigure = (next: Config): void => {
      current = next
      log.level = next.log.level
    }
    return { installation, reconfigure, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function markersOf(
  stores: StoreSet,
  config: Config,
  { needsMarker, writes }: WireOptions,
  signal: AbortSignal,
): Promise<SettledMarkers | null> {
  if (needsMarker === false) return null
  const marked = config.stores.map(({ name, isRequired, url, id }) => {
    const { writer, reader } = stores.one(name)
    return { name, isRequired, url, id, writer, reader }
  })
  return await settleMarkers(marked, { mayMark: writes, isInit: false }, systemClock, signal)
}

/** A download that nobody went on with for so long is not wanted any more. */
const keepDownloadsMs = 14 * 86_400_000

async function sweep(spool: string, log: Log): Promise<void> {
  await sweepPasswordFiles()
  const swept = await sweepSpool(spool)
  if (swept > 0) log.warn({ folders: swept }, 'removed what an interrupted drill or restore had left in the spool')
  const downloads = await removeOldDownloads(spool, new Date(systemClock.now().getTime() - keepDownloadsMs))
  if (downloads > 0) log.warn({ downloads }, 'removed downloads that no restore went on with')
}
