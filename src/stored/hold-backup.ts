import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Clock } from '../clock.ts'
import { encodeHold, type HoldPurpose, holdLeaseMs } from '../domain/hold.ts'
import { assertNotAborted, toPgproofError } from '../errors.ts'
import type { Log } from '../log.ts'
import { holdKey } from '../storage/object-keys.ts'
import type { NamedStore, StoreSet } from '../storage/store-set.ts'

export type HoldWish = {
  readonly by: HoldPurpose
  /** The stores that are read; default: every one that has a copy. */
  readonly from?: readonly string[] | undefined
}

/** As the catalog has it. */
type HeldBackup = { readonly folder: string; readonly copies: readonly { readonly store: string }[] }

type HoldParts = { readonly stores: StoreSet; readonly clock: Clock; readonly log: Log }

/**
 * Keeps prunes of any process and host from removing these backups until the scope ends: a small object in each store
 * that is read says so, and is written anew until then. Ask for it *before* the manifest is read. A prune looks for
 * holds before it removes a manifest and, what closes the gap between its look and its removal, once more before it
 * removes the rest. So whoever holds first and then reads a manifest finds everything that the manifest names.
 *
 * What is left: a reader that stands still for longer than the lease, and a store that does not take the hold because the
 * credentials only read, or because it is down. Then the reading goes on without. Throws only what an aborted `signal` says.
 * A hold is never put under Object Lock. That lock is no protection from a prune: what a prune removes has outlived it.
 */
export async function holdBackups(
  backups: readonly HeldBackup[],
  { by, from }: HoldWish,
  parts: HoldParts,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const since = parts.clock.now()
  const encode = (folders: readonly string[]): Uint8Array =>
    encodeHold({ by, host: hostname(), since, now: parts.clock.now(), folders })
  const holds = parts.stores.named
    .filter(({ name }) => from?.includes(name) ?? true)
    .flatMap((store) => {
      const held = backups.filter(({ copies }) => copies.some((copy) => copy.store === store.name))
      const folders = [...new Set(held.map(({ folder }) => folder))]
      return folders.length === 0 ? [] : [new StoreHold(store, () => encode(folders), parts)]
    })
  const release = async (): Promise<void> => {
    await Promise.all(holds.map((hold) => hold.release()))
  }
  await Promise.all(holds.map((hold) => hold.begin(signal)))
  if (signal.aborted) await release()
  assertNotAborted(signal, 'the hold of a backup')
  return { [Symbol.asyncDispose]: release }
}

/** Twice more before the lease ends. */
const renewAfterMs = holdLeaseMs / 3
const tryAgainAfterMs = 60_000
/** Nobody waits longer than this for a store, in milliseconds: holds are a courtesy to what is read. */
const writeWithinMs = 20_000
const removeWithinMs = 5_000

/** The hold in one store: an object, and after a while another one; none is written over, because some stores refuse that. */
class StoreHold {
  readonly #store: NamedStore
  readonly #encode: () => Uint8Array
  readonly #parts: HoldParts
  readonly #ended = new AbortController()
  /** Those that may be in the store. */
  #keys: string[] = []
  #renewal: Promise<void> = Promise.resolve()
  #written: string | null = null
  #hasWarned = false

  constructor(store: NamedStore, encode: () => Uint8Array, parts: HoldParts) {
    this.#store = store
    this.#encode = encode
    this.#parts = parts
  }

  async begin(signal: AbortSignal): Promise<void> {
    const outcome = await this.#write(signal)
    // Rights do not come by themselves.
    if (outcome !== 'refused' && !signal.aborted) this.#renewal = this.#renew(outcome)
  }

  async release(): Promise<void> {
    this.#ended.abort()
    await this.#renewal
    await this.#remove(this.#keys)
  }

  async #renew(first: 'written' | 'failed'): Promise<void> {
    const { signal } = this.#ended
    let outcome: Outcome = first
    // A store that has taken one may take one again: a session token is renewed at times.
    while (outcome !== 'refused' || this.#written !== null) {
      const pauseMs = outcome === 'written' ? renewAfterMs : tryAgainAfterMs
      await this.#parts.clock.sleep(pauseMs, signal).catch(() => undefined)
      if (signal.aborted) return
      // The one before stays for one more turn: a prune that is listing at this moment may not see the new one any more.
      const before = this.#written
      outcome = await this.#write(signal)
      if (outcome === 'written') await this.#remove(this.#keys.filter((key) => key !== before && key !== this.#written))
    }
  }

  async #write(signal: AbortSignal): Promise<Outcome> {
    const { name, writer } = this.#store
    const key = holdKey(randomUUID())
    this.#keys.push(key)
    try {
      const limited = AbortSignal.any([signal, AbortSignal.timeout(writeWithinMs)])
      await writer.put(key, this.#encode(), { signal: limited, isBrief: true })
      this.#written = key
      return 'written'
    } catch (thrown) {
      if (signal.aborted) return 'failed'
      const { code, message } = toPgproofError(thrown, 'the hold of a backup')
      const isRefused = refusals.has(code)
      if (isRefused) this.#keys = this.#keys.filter((one) => one !== key)
      const line = { store: name, reason: message }
      const text = 'a prune is not told that a backup is being read'
      // Credentials that only read are no fault.
      if (isRefused && this.#written === null) this.#parts.log.debug(line, text)
      else if (!this.#hasWarned) this.#parts.log.warn(line, text)
      this.#hasWarned = true
      return isRefused ? 'refused' : 'failed'
    }
  }

  /** What cannot be removed ends with its lease; the next prune removes it. */
  async #remove(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    const { name, pruner, writer } = this.#store
    const signal = AbortSignal.timeout(removeWithinMs)
    const gone = await Promise.all(
      keys.map(async (key) => {
        try {
          await pruner.delete(key, { signal }).catch(async (error: unknown) => {
            if (writer === pruner) throw error
            await writer.delete(key, { signal })
          })
          return key
        } catch (thrown) {
          const { code, message } = toPgproofError(thrown)
          this.#parts.log.debug({ store: name, reason: message }, `${key} is left to the next prune`)
          // Who may not remove one may not later, either.
          return refusals.has(code) ? key : null
        }
      }),
    )
    this.#keys = this.#keys.filter((key) => !gone.includes(key))
  }
}

type Outcome = 'written' | 'failed' | 'refused'

const refusals = new Set(['STORE_DENIED', 'STORE_READ_ONLY', 'STORE_CREDENTIALS_MISSING'])
