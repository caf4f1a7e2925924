import { type PgproofError, toPgproofError } from '../errors.ts'

/** One thing that was looked at. A `problem` would make tonight's backup or drill, or `serve`, fail; a `warning` would not. */
export type Finding = {
  /** `store`, `keys`, `server main`, `database main/shop`, `drills`, `http`. */
  readonly subject: string
  readonly result: 'ok' | 'warning' | 'problem'
  readonly message: string
  readonly hint: string | null
  /** Of a problem: its code in the register. */
  readonly code: string | null
}

export type Findings = {
  readonly subject: string
  ok(message: string): void
  warn(message: string, hint: string): void
  problem(error: PgproofError): void
}

/** What `work` gives; what it throws becomes a problem, and the check goes on. */
export async function goOn<T>(findings: Findings, signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    signal.throwIfAborted()
    findings.problem(toPgproofError(error))
    return undefined
  }
}
