import { randomInt } from 'node:crypto'
import { Catalog } from './catalog/catalog.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config/config.ts'
import type { AskPassphrase } from './encryption/keys.ts'
import type { Installation } from './jobs/installation.ts'
import { readReportTrust } from './jobs/report-trust.ts'
import { ensureStoreMarker, readStoreMarker, type StoreMarker } from './jobs/store-marker.ts'
import { createLog, type Log } from './log.ts'
import type { ObjectStore } from './storage/object-store.ts'
import { openStore } from './storage/open-store.ts'
import { unmarkedStore } from './storage/unmarked-store.ts'
import { removeOldDownloads } from './streams/downloads.ts'
import { sweepPasswordFiles, sweepSpool } from './streams/spool.ts'

export type Wired = AsyncDisposable & { readonly installation: Installation }

export type WireOptions = {
  /** Whether the command writes to the store: then an unmarked one is marked. */
  readonly writes: boolean
  /** Whether files go to the spool, as for whatever writes: then what killed processes left there is removed. */
  readonly usesSpool?: boolean
  /** Whether the store's marker is read at all; `check` does without. Default true. */
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
  const { secretAccessKey, sessionToken, ...storeSettings } = config.store
  const store = await openStore(
    {
      ...storeSettings,
      secretAccessKey: secretAccessKey && (() => secretAccessKey.reveal()),
      sessionToken: sessionToken && (() => sessionToken.reveal()),
    },
    { clock, log },
  )
  const dispose = (): Promise<void> => store.close()
  try {
    const marker = await markerOf(store, options, signal)
    if (marker === null && options.mustExist === true) throw await unmarkedStore(config.store.url)
    const catalog = new Catalog({
      clock,
      reportTrust: () => readReportTrust(config, clock.now(), marker?.storeId ?? null),
    })
    if (options.needsCatalog) await catalog.refresh(store, signal)
    if (options.writes || options.usesSpool === true) await sweep(config.drill.spool, log)
    const random = (): number => randomInt(2 ** 32) / 2 ** 32
    const installation = {
      config,
      store,
      storeId: marker?.storeId ?? '',
      storeCreatedAt: new Date(marker?.createdAt ?? clock.now()),
      catalog,
      clock,
      log,
      random,
      askPassphrase: options.askPassphrase,
    }
    return { installation, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function markerOf(store: ObjectStore, options: WireOptions, signal: AbortSignal): Promise<StoreMarker | null> {
  if (options.needsMarker === false) return null
  return options.writes ? await ensureStoreMarker(store, systemClock, signal) : await readStoreMarker(store, signal)
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
