import { type PgproofError, toPgproofError } from '../errors.ts'

/** One thing that was looked at. A `problem` would make tonight's backup or drill, or `serve`, fail; a `warning` would not. */
export type Finding = {
  /** `store`, `keys`, `server main`, `database main/shop`, `drills`, `fleet`, `http`. */
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
  problem(error: Pick<PgproofError, 'code' | 'message' | 'hint' | 'details'>): void
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

/** Adds to `all` what is found of the subject. */
export function collect(subject: string, all: Finding[]): Findings {
  return {
    subject,
    ok: (message) => all.push({ subject, result: 'ok', message, hint: null, code: null }),
    warn: (message, hint) => all.push({ subject, result: 'warning', message, hint, code: null }),
    problem: ({ message, hint, details, code }) => {
      // Two steps that come upon the same fault make one problem.
      if (all.some((one) => one.subject === subject && one.code === code && one.message.split('\n')[0] === message))
        return
      all.push({
        subject,
        result: 'problem',
        message: details === undefined ? message : `${message}\n${details}`,
        hint,
        code,
      })
    },
  }
}
