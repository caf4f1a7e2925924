import type { Place } from '../catalog/catalog.ts'
import { mapInParallel } from '../catalog/map-in-parallel.ts'
import type { Run } from '../catalog/runs.ts'
import { reasonOf } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import { describe } from '../jobs/run-job.ts'
import { logKeys } from '../log.ts'

/** So many places are looked at, at the same time. */
const looksAtOnce = 8
/** For more than so many, everything is read anew: that is less to ask. */
const mostLooks = 50
/** So long a run that has ended is shown as running; what the store has not told by then, the next refresh tells. */
const usuallyShownWithinMs = 10_000
/** What ended so long before a refresh was seen by it: when it ended is by the clock of another worker, which may be behind. */
const seenAfterMs = 15 * 60_000

type Arrival = { readonly run: Run; readonly show: () => void }

/**
 * What runs of other workers made: read from the store before they are shown as ended, so that whoever is told of a backup
 * finds it.
 */
export class Arrivals {
  readonly #installation: Pick<Installation, 'catalog' | 'stores' | 'log'>
  readonly #refresh: () => Promise<boolean>
  readonly #shownWithinMs: number
  readonly #awaited = new Map<string, Arrival>()
  readonly #closing = new AbortController()
  #working: Promise<void> | undefined
  #refreshing: Promise<boolean> | undefined

  /** `refresh` reads all stores anew; false if they do not answer. */
  constructor(
    installation: Pick<Installation, 'catalog' | 'stores' | 'log'>,
    refresh: () => Promise<boolean>,
    shownWithinMs = usuallyShownWithinMs,
  ) {
    this.#installation = installation
    this.#refresh = refresh
    this.#shownWithinMs = shownWithinMs
  }

  has(id: string): boolean {
    return this.#awaited.has(id)
  }

  /** Calls `show` once the catalog knows what the ended run did, at once if it does, or after a while in any case. */
  expect(run: Run, show: () => void): void {
    if (this.#closing.signal.aborted || !this.#isNews(run)) {
      show()
      return
    }
    this.#awaited.set(run.id, { run, show })
    this.#working ??= this.#work()
  }

  /** Shows what is awaited, and looks no more. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#working
  }

  #isNews({ job, server, database, label, finishedAt, state }: Run): boolean {
    const { catalog } = this.#installation
    const seenUntil = (catalog.lastRefreshedAt?.getTime() ?? -Infinity) - seenAfterMs
    if (finishedAt === null || finishedAt.getTime() < seenUntil) return false
    if (job === 'prune' || job === 'sync') return state !== 'cancelled'
    if (label === null) return false
    const isSame = (one: { readonly label: string }): boolean => one.label === label
    if (job === 'drill') return !catalog.drills({ server, database: database ?? '' }).some(isSame)
    const kind = job === 'roles' ? 'roles' : 'database'
    const place = { kind, server, ...(database === null ? {} : { database }) } as const
    return !catalog.backups(place).some(({ manifest }) => isSame(manifest))
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    // Those that one look at the queue finds come together.
    await Promise.resolve()
    while (this.#awaited.size > 0) {
      const arrivals = [...this.#awaited.values()]
      const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.#shownWithinMs)])
      try {
        if (arrivals.length > mostLooks || arrivals.some(isOfWholeStore))
          await unlessAborted(this.#refreshOnce(), signal)
        else await mapInParallel(arrivals, looksAtOnce, signal, (one) => this.#look(one, signal))
      } catch (error) {
        if (!this.#closing.signal.aborted)
          this.#installation.log.warn({ reason: reasonOf(error) }, 'what other workers did is not read yet')
      }
      for (const arrival of arrivals) this.#show(arrival)
    }
    this.#working = undefined
  }

  /** One that goes on after nobody waits for it any more is not joined by a second one. */
  #refreshOnce(): Promise<boolean> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #look(arrival: Arrival, signal: AbortSignal): Promise<void> {
    const { catalog, stores, log } = this.#installation
    const { run } = arrival
    try {
      await unlessAborted(catalog.lookAt(placeOf(run), stores, signal), signal)
    } catch (error) {
      if (signal.aborted) throw error
      log.warn({ [logKeys.run]: run.id, reason: reasonOf(error) }, `what came of ${describe(run)} is not read yet`)
    }
    this.#show(arrival)
  }

  #show({ run, show }: Arrival): void {
    if (this.#awaited.delete(run.id)) show()
  }
}

function isOfWholeStore({ run: { job } }: Arrival): boolean {
  return job === 'prune' || job === 'sync'
}

function placeOf({ job, server, database }: Run): Place {
  return job === 'roles' ? { kind: 'roles', server, database: null } : { kind: 'database', server, database }
}

/** A store that heeds no signal keeps nobody waiting. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  // It may fail when nobody waits for it any more, or never did.
  work.catch(() => {})
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    signal.throwIfAborted()
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
