import { randomInt } from 'node:crypto'
import { Catalog } from './catalog/catalog.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config/config.ts'
import type { Installation } from './jobs/installation.ts'
import { readReportTrust } from './jobs/report-trust.ts'
import { ensureStoreMarker, readStoreMarker, type StoreMarker } from './jobs/store-marker.ts'
import { createLog, type Log } from './log.ts'
import type { ObjectStore } from './storage/object-store.ts'
import { openStore } from './storage/open-store.ts'
import { sweepPasswordFiles, sweepSpool } from './streams/spool.ts'

export type Wired = AsyncDisposable & { readonly installation: Installation }

export type WireOptions = {
  /** Whether the command writes to the store: then an unmarked one is marked. */
  readonly writes: boolean
  /** Whether the store's marker is read at all; `check` does without. Default true. */
  readonly needsMarker?: boolean
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
    const catalog = new Catalog({ clock, reportTrust: () => readReportTrust(config, clock.now()) })
    if (options.needsCatalog) await catalog.refresh(store, signal)
    if (options.writes) {
      await sweepPasswordFiles()
      const swept = await sweepSpool(config.drill.spool)
      if (swept > 0) log.warn({ folders: swept }, 'removed what an interrupted drill had left in the spool')
    }
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
