import type { Clock } from '../clock.ts'
import { decodeHold, type Hold, hasRunOut, holdReason, saysRunOut } from '../domain/hold.ts'
import { PgproofError, rethrowUnless } from '../errors.ts'
import type { Log } from '../log.ts'
import { holdsPrefix, isHoldKey } from '../storage/object-keys.ts'
import type { NamedStore } from '../storage/store-set.ts'

/** What the holds in one store say; each is read once, because none is ever written over. */
export class StoreHolds {
  readonly #store: NamedStore
  readonly #parts: { readonly clock: Clock; readonly log: Log }
  /** Null for an object that says nothing. */
  readonly #read = new Map<string, Hold | null>()

  constructor(store: NamedStore, parts: { readonly clock: Clock; readonly log: Log }) {
    this.#store = store
    this.#parts = parts
  }

  /** Folders that are read at this moment, with the reason not to remove them. Throws what the store throws. */
  async inForce(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const holds = (await this.#list(signal)).filter(({ isOver }) => !isOver).flatMap(({ hold }) => hold ?? [])
    const held = new Map<string, string>()
    // Of each reader, the one that it wrote last.
    const byBegin = holds.toSorted(
      (one, other) =>
        Date.parse(one.since) - Date.parse(other.since) || Date.parse(other.until) - Date.parse(one.until),
    )
    for (const hold of byBegin)
      for (const folder of hold.folders) if (!held.has(folder)) held.set(folder, holdReason(hold))
    return held
  }

  /** Removes those of readers that ended without removing them. What the store refuses is left; it does no harm. */
  async sweep(signal: AbortSignal): Promise<void> {
    const over = (await this.#list(signal)).filter(({ isOver }) => isOver)
    for (const { key } of over)
      try {
        await this.#store.pruner.delete(key, { signal })
      } catch (error) {
        signal.throwIfAborted()
        rethrowUnless(error, PgproofError)
        this.#parts.log.debug({ store: this.#store.name, reason: error.message }, `${key} could not be removed`)
      }
  }

  async #list(signal: AbortSignal): Promise<{ key: string; hold: Hold | null; isOver: boolean }[]> {
    const { reader } = this.#store
    const { clock } = this.#parts
    const found: { key: string; hold: Hold | null; isOver: boolean }[] = []
    for await (const { key, modifiedAt } of this.#store.reader.list(holdsPrefix, { signal })) {
      if (!this.#read.has(key)) this.#read.set(key, await this.#get(key, signal))
      const hold = this.#read.get(key) ?? null
      const now = clock.now()
      const storeNow = new Date(now.getTime() + (reader.clockSkewSeconds() ?? 0) * 1000)
      const isOver = isHoldKey(key) && hasRunOut(modifiedAt, storeNow) && (hold === null || saysRunOut(hold, now))
      found.push({ key, hold, isOver })
    }
    return found
  }

  async #get(key: string, signal: AbortSignal): Promise<Hold | null> {
    const { name, reader } = this.#store
    const ignore = (reason: string): null => {
      this.#parts.log.warn({ store: name, reason }, `${key} does not say which backup is being read`)
      return null
    }
    if (!isHoldKey(key)) return ignore('it is not of pgproof')
    try {
      return decodeHold(await reader.get(key, { signal, maxBytes: 16 << 20 }), key)
    } catch (error) {
      // Its reader has just ended.
      if (error instanceof PgproofError && error.code === 'STORE_NOT_FOUND') return null
      if (error instanceof PgproofError && error.code === 'STORE_FORMAT_INVALID') return ignore(error.message)
      throw error
    }
  }
}
