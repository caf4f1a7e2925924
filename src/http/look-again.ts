import type { Place } from '../catalog/catalog.ts'
import { reasonOf } from '../errors.ts'
import { isConfigured } from '../jobs/installation.ts'
import type { HttpParts } from './http-parts.ts'

/** Who asked waits so long at most. */
const withinMs = 15_000
/** What was read more recently is not read again for one question. */
const freshMs = 15_000

/**
 * Looks at the store before somebody is told that something is not there: it may have been made by another process since the
 * last refresh. Never rejects; what the store does not tell in time is not there.
 */
export class LookAgain {
  readonly #parts: Pick<HttpParts, 'installation' | 'refresh'>
  readonly #places = new Map<string, Promise<unknown>>()
  #everywhere: Promise<unknown> | undefined
  #everywhereEndedMs = -Infinity

  constructor(parts: Pick<HttpParts, 'installation' | 'refresh'>) {
    this.#parts = parts
  }

  /** One place that there is, whenever it was read last: that is little to ask. Once for all who ask meanwhile. */
  async at(place: Place): Promise<void> {
    if (!this.#isKnown(place)) return
    const key = JSON.stringify([place.kind, place.server, place.database])
    const looking = this.#places.get(key) ?? this.#lookAt(place).finally(() => this.#places.delete(key))
    this.#places.set(key, looking)
    await looking
  }

  /** Everything, for all who ask meanwhile, and not for everybody who comes, whether the last time went well or not. */
  async everywhere(): Promise<void> {
    const { installation, refresh } = this.#parts
    const refreshedMs = installation.catalog.lastRefreshedAt?.getTime() ?? -Infinity
    const nowMs = installation.clock.now().getTime()
    const isFresh = [refreshedMs, this.#everywhereEndedMs].some((ms) => Math.abs(nowMs - ms) < freshMs)
    if (refresh === undefined || isFresh) return
    this.#everywhere ??= refresh().finally(() => {
      this.#everywhere = undefined
      this.#everywhereEndedMs = installation.clock.now().getTime()
    })
    await Promise.race([this.#everywhere, ended(AbortSignal.timeout(withinMs))]).catch(() => {})
  }

  #isKnown({ server, database }: Place): boolean {
    const { catalog, config } = this.#parts.installation
    const configured = config.servers.find(({ name }) => name === server)
    if (configured !== undefined && (database === null || isConfigured(configured, database))) return true
    return catalog.backups({ server }).some(({ manifest }) => manifest.database === database)
  }

  /** Never rejects. */
  async #lookAt(place: Place): Promise<void> {
    const { catalog, stores, log } = this.#parts.installation
    const signal = AbortSignal.timeout(withinMs)
    await Promise.race([catalog.lookAt(place, stores, signal), ended(signal)]).catch((error: unknown) =>
      log.warn({ reason: reasonOf(error) }, 'what is asked for cannot be looked for in the store'),
    )
  }
}

async function ended(signal: AbortSignal): Promise<void> {
  await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
}
