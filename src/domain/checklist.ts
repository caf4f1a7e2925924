import { type PgproofError, toPgproofError } from '../errors.ts'
import type { CheckResult, Verdict } from './drill-report.ts'

/** The rungs of the ladder that a drill climbs, lowest first; each is a check with a result of its own. */
export const rungs = [
  'manifest',
  'signature',
  'history',
  'objects',
  'evidence',
  'recipients',
  'recovery guide',
  'SHA-256',
  'decryption',
  'table of contents',
  'scratch server',
  'roles',
  'restore',
  'database settings',
  'structure',
  'row counts',
  'digests',
  'sequences',
  'large objects',
] as const
export type Rung = (typeof rungs)[number]

/** What the backup itself is to blame for; every other error says nothing about it. */
export const blamesTheBackup: ReadonlySet<string> = new Set([
  'STORE_NOT_FOUND',
  'STORE_FORMAT_INVALID',
  'OBJECT_MISMATCH',
  'DECRYPTION_FAILED',
  'SIGNATURE_MISSING',
  'SIGNATURE_INVALID',
  'RESTORE_FAILED',
  'ROLES_FAILED',
  'EVIDENCE_MISMATCH',
  'VERIFY_FAILED',
  'HISTORY_BROKEN',
  'RECIPIENT_MISSING',
])

export function verdictOf(error: PgproofError): Exclude<Verdict, 'passed'> {
  return blamesTheBackup.has(error.code) ? 'failed' : 'inconclusive'
}

/** Collects the results of checks in order. */
export class Checklist {
  readonly #results: CheckResult[] = []
  readonly #thrown = new Set<unknown>()
  readonly #signal: AbortSignal | null
  #failure: PgproofError | null = null

  /** `signal` breaks the work off that is checked. */
  constructor(signal: AbortSignal | null = null) {
    this.#signal = signal
  }

  /** The first error that blames the backup, unless the work had been broken off by then. */
  get failure(): PgproofError | null {
    return this.#failure
  }

  /** Takes note of the error that checks which were added one by one end with. */
  note(error: PgproofError): void {
    if (this.#signal?.aborted !== true && verdictOf(error) === 'failed') this.#failure ??= error
  }

  /** Runs one check; its error decides between failed and inconclusive, and is thrown on. */
  async run<T>(name: string, check: () => Promise<T>, detail?: (value: T) => string | null): Promise<T> {
    try {
      const value = await check()
      this.#results.push({ name, result: 'passed', detail: detail?.(value) ?? null })
      return value
    } catch (thrown) {
      // A check beside this one failed, and its error ended this one too: it has no result of its own.
      if (this.#thrown.has(thrown)) throw thrown
      this.#thrown.add(thrown)
      const error = toPgproofError(thrown)
      this.#thrown.add(error)
      this.#results.push({ name, result: verdictOf(error), detail: error.message })
      this.note(error)
      throw error
    }
  }

  add(name: string, result: CheckResult['result'], detail: string | null = null): void {
    this.#results.push({ name, result, detail })
  }

  /** Every result so far in the order of `wanted`; rungs that were not reached are `skipped`, which is never passed. */
  results(wanted: readonly string[] = rungs): CheckResult[] {
    const reached = new Set(this.#results.map(({ name }) => name))
    const skipped = wanted.filter((name) => !reached.has(name))
    const all = [...this.#results, ...skipped.map((name): CheckResult => ({ name, result: 'skipped', detail: null }))]
    // Some rungs are climbed side by side; what is not among them comes last, as it came.
    const placeOf = ({ name }: CheckResult): number => (wanted.includes(name) ? wanted.indexOf(name) : wanted.length)
    return all.sort((one, other) => placeOf(one) - placeOf(other))
  }
}
