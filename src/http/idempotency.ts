import { createHash } from 'node:crypto'
import type { Catalog } from '../catalog/catalog.ts'
import type { Run } from '../catalog/runs.ts'
import type { Clock } from '../clock.ts'
import type { TokenConfig } from '../config/config.ts'
import { spellAge } from '../domain/gate.ts'
import { PgproofError } from '../errors.ts'
import type { RefusedAnswer } from './answers.ts'

const keptMs = 24 * 3_600_000
/** For another week it is known that the key was used: whoever sends it then orders nothing by mistake. */
const rememberedMs = keptMs + 7 * 24 * 3_600_000
/** Of each token; the oldest is forgotten first. */
const keysPerToken = 5000

/** What came of an order: one run, or several and what was refused of it. */
export type Ordered = { readonly runs: readonly Run[]; readonly refused: readonly RefusedAnswer[] }

type Kept = { readonly requestSha256: string; readonly orderedMs: number; readonly refused: Ordered['refused'] } & {
  readonly runs: Map<string, Run>
}

/** Which order was made under which `Idempotency-Key`, so that a request that is sent again orders nothing again. */
export class IdempotencyKeys {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #byToken = new Map<string, Map<string, Kept>>()
  readonly #byRun = new Map<string, Kept>()

  constructor(parts: { readonly catalog: Catalog; readonly clock: Pick<Clock, 'monotonicMs'> }) {
    this.#clock = parts.clock
    // The catalog forgets runs sooner than keys are forgotten here.
    parts.catalog.watchRuns((run) => {
      const kept = this.#byRun.get(run.id)
      kept?.runs.set(run.id, run)
    })
  }

  /**
   * What was ordered under this key, as it is now; undefined if nothing was. Throws IDEMPOTENCY_CONFLICT, IDEMPOTENCY_EXPIRED or
   * REQUEST_INVALID.
   */
  find(token: TokenConfig, key: string, request: unknown): Ordered | undefined {
    if (!/^[\x20-\x7e]{1,255}$/.test(key))
      throw new PgproofError('REQUEST_INVALID', { reason: 'Idempotency-Key has 1 to 255 printable ASCII characters' })
    const kept = this.#byToken.get(token.sha256)?.get(key)
    if (kept === undefined || this.#ageMs(kept) > rememberedMs) return undefined
    if (this.#ageMs(kept) > keptMs)
      throw new PgproofError('IDEMPOTENCY_EXPIRED', { age: spellAge(this.#ageMs(kept) / 1000) })
    if (kept.requestSha256 !== sha256Of(request)) throw new PgproofError('IDEMPOTENCY_CONFLICT')
    return { runs: [...kept.runs.values()], refused: kept.refused }
  }

  keep(token: TokenConfig, key: string, request: unknown, { runs, refused }: Ordered): void {
    const keys = this.#byToken.get(token.sha256) ?? new Map<string, Kept>()
    this.#byToken.set(token.sha256, keys)
    const orderedMs = this.#clock.monotonicMs()
    const byId = new Map(runs.map((run) => [run.id, run]))
    const kept: Kept = { requestSha256: sha256Of(request), orderedMs, runs: byId, refused }
    this.#forget(keys, key)
    keys.set(key, kept)
    for (const { id } of runs) this.#byRun.set(id, kept)
    for (const [other, otherKeys] of this.#byToken) {
      this.#forgetOld(otherKeys)
      // A token that is no longer configured orders nothing more.
      if (otherKeys.size === 0) this.#byToken.delete(other)
    }
  }

  #forgetOld(keys: Map<string, Kept>): void {
    for (const [oldest, kept] of keys) {
      if (keys.size <= keysPerToken && this.#ageMs(kept) <= rememberedMs) return
      this.#forget(keys, oldest)
    }
  }

  #forget(keys: Map<string, Kept>, key: string): void {
    const kept = keys.get(key)
    keys.delete(key)
    for (const id of kept?.runs.keys() ?? []) this.#byRun.delete(id)
  }

  #ageMs({ orderedMs }: Kept): number {
    return this.#clock.monotonicMs() - orderedMs
  }
}

/** Of the request as it was understood: neither spaces nor the order of fields make another one. */
function sha256Of(request: unknown): string {
  const sorted = (_key: string, value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)))
      : value
  return createHash('sha256').update(JSON.stringify(request, sorted)).digest('hex')
}
