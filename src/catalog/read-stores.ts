import type { Clock } from '../clock.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import type { StoreSet } from '../storage/store-set.ts'
import { emptyContents, type KnownBefore, type KnownDocuments, type StoreContents } from './contents.ts'
import type { ReportTrust } from './read-document.ts'
import { rebuildFromStore } from './rebuild.ts'
import { settleManifests } from './settle-manifests.ts'

/** How the last reading of one store went. */
export type StoreStanding = {
  readonly name: string
  readonly isRequired: boolean
  /** Whether everything in it was seen. Nothing may be removed from a store that was not. */
  readonly isComplete: boolean
  /** Why it could not be read; null if it could. */
  readonly error: PgproofError | null
  /** When the listing of the last successful reading began; null before the first. */
  readonly readAt: Date | null
}

export type Reading = {
  readonly contents: ReadonlyMap<string, StoreContents>
  readonly standings: readonly StoreStanding[]
}

/**
 * Reads all stores side by side. A store that is not required and hangs keeps nobody waiting for long: it gets three times
 * what the required ones took, and half a minute in any case. Rejects only where it is aborted between two stores' manifests:
 * what is not settled must not be believed.
 */
export async function readStores(
  stores: StoreSet,
  knownOf: (store: string) => KnownDocuments | KnownBefore,
  trust: ReportTrust | null,
  clock: Clock,
  signal: AbortSignal,
): Promise<readonly PromiseSettledResult<StoreContents>[]> {
  const startedMs = clock.monotonicMs()
  const late = new AbortController()
  const reading = stores.named.map(async (store) => {
    const until = store.isRequired ? signal : AbortSignal.any([signal, late.signal])
    await stores.assertMarked(store, until)
    return await rebuildFromStore(store.reader, knownOf(store.name), trust, until)
  })
  const all = Promise.allSettled(reading)
  await Promise.allSettled(reading.filter((_one, index) => stores.named[index]?.isRequired === true))
  const graceMs = Math.max(stores.optionalMs, Math.round(3 * (clock.monotonicMs() - startedMs)))
  // Cleared, for until it is due a timer keeps what was read: many readings of a busy daemon at once.
  const grace = setTimeout(
    () => late.abort(new PgproofError('STORE_FAILED', { operation: 'reading it', reason: tooSlow(graceMs) })),
    graceMs,
  )
  const ends = await all
  clearTimeout(grace)
  const read = stores.named.flatMap(({ name, reader }, index) => {
    const end = ends[index]
    return end?.status === 'fulfilled' ? [{ name, reader, contents: end.value }] : []
  })
  await settleManifests(read, trust, signal)
  return ends
}

function tooSlow(ms: number): string {
  return `it gave no answer within ${Math.round(ms / 100) / 10} s, and is not waited for`
}

/** What is known after a reading: of a store that could not be read, what was known before. */
export function takeReading(
  stores: StoreSet,
  ends: readonly PromiseSettledResult<StoreContents>[],
  before: Reading,
  startedAt: Date,
): Reading {
  const contents = new Map<string, StoreContents>()
  const standings = stores.named.map(({ name, isRequired }, index): StoreStanding => {
    const end = ends[index]
    if (end?.status === 'fulfilled') {
      contents.set(name, end.value)
      return { name, isRequired, isComplete: end.value.isComplete, error: null, readAt: startedAt }
    }
    contents.set(name, before.contents.get(name) ?? emptyContents())
    const readAt = before.standings.find((one) => one.name === name)?.readAt ?? null
    return { name, isRequired, isComplete: false, error: toPgproofError(end?.reason), readAt }
  })
  return { contents, standings }
}
