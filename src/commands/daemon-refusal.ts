import { z } from 'zod'
import { type ErrorCode, PgproofError, register } from '../errors.ts'

/** What the daemon said, under its own code and in its own words. */
export class DaemonRefusal extends PgproofError {
  override readonly hint: string

  /** `run` is that of the run that goes on already, with LOCKED. */
  constructor(
    code: ErrorCode,
    said: { readonly message: string; readonly hint: string; readonly run?: string | undefined },
  ) {
    super(code)
    this.message = said.message
    const { run } = said
    this.hint = run === undefined ? said.hint : `${said.hint} That is run ${run}; \`pgproof cancel ${run}\` cancels it.`
  }
}

const problemSchema = z.object({
  type: z.string().default(''),
  code: z.string(),
  detail: z.string().default(''),
  hint: z.string().default(''),
  run: z.string().optional(),
})

/** An answer that is not the one that was asked for, as an error of the register. */
export function refusalOf(
  { status, text }: { readonly status: number; readonly text: string },
  { url, scope }: { readonly url: string; readonly scope: string },
): PgproofError {
  if (status === 401) return new PgproofError('DAEMON_UNAUTHORIZED', { url })
  const problem = problemIn(text)
  // Every path that a command asks for is one of a daemon, so the address has one too many.
  if (problem?.code === 'ROUTE_UNKNOWN') return new PgproofError('DAEMON_STRANGE', { url, reason: pathReason(url) })
  if (status === 403 && (problem === undefined || problem.code === 'FORBIDDEN'))
    return new PgproofError('DAEMON_FORBIDDEN', { url, scope })
  if (problem !== undefined) {
    const { code, detail, hint, run } = problem
    if (isKnown(code)) return new DaemonRefusal(code, { message: detail || register[code].message, hint, run })
    return new PgproofError('DAEMON_REFUSED', { url, reason: detail || code, hint })
  }
  const { pathname } = new URL(url)
  const path = status === 404 && pathname !== '/' ? ` below ${pathname}` : ''
  const reason = `it answers with HTTP ${status}${path}`
  return new PgproofError(status >= 500 ? 'DAEMON_UNREACHABLE' : 'DAEMON_STRANGE', { url, reason })
}

/** How a run at the daemon failed. */
export function failureAtDaemon({ code, message, hint }: Failure): PgproofError {
  return new DaemonRefusal(isKnown(code) ? code : 'DAEMON_REFUSED', { message, hint })
}

type Failure = { readonly code: string; readonly message: string; readonly hint: string }

function pathReason(url: string): string {
  const { origin, pathname } = new URL(url)
  if (pathname === '/') return 'it is of another version and does not know what was asked'
  return `it has nothing below ${pathname}; without a proxy its address is ${origin}`
}

function problemIn(text: string): z.infer<typeof problemSchema> | undefined {
  try {
    const { success, data } = problemSchema.safeParse(JSON.parse(text))
    // Other programs have problems and codes, too.
    return success && (data.type.startsWith('urn:pgproof:') || isKnown(data.code)) ? data : undefined
  } catch {
    return undefined
  }
}

function isKnown(code: string): code is ErrorCode {
  return Object.hasOwn(register, code)
}
