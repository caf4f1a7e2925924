import { z } from 'zod'
import { publicMessage } from '../domain/public-message.ts'
import { type ErrorCode, PgproofError, toPgproofError } from '../errors.ts'

/** RFC 9457, with the register's code and hint. */
export const problemSchema = z.strictObject({
  type: z.string().describe('A URN that names the code.'),
  title: z.string(),
  status: z.int(),
  code: z.string().describe('From the register of errors; see docs/errors.md.'),
  detail: z.string(),
  hint: z.string().describe('What to do next.'),
  retryable: z.boolean().describe('Whether the same request may succeed later without anybody changing anything.'),
  run: z.string().optional().describe('With LOCKED: the id of the run that goes on already.'),
})
export type Problem = z.infer<typeof problemSchema>

export const problemType = 'application/problem+json'

/** Of several values each is a header line of its own. */
export type RefusalHeaders = Readonly<Record<string, string | readonly string[]>>

/** A register error whose answer carries headers of its own, such as `Allow`, or names a run. */
export class Refusal extends PgproofError {
  readonly headers: RefusalHeaders
  readonly run: string | undefined

  constructor(
    code: ErrorCode,
    values: Readonly<Record<string, string | number>>,
    headers: RefusalHeaders,
    run?: string,
  ) {
    super(code, values)
    this.headers = headers
    this.run = run
  }
}

export function problemOf(error: PgproofError): Problem {
  const { code, hint, message } = error
  return {
    type: `urn:pgproof:error:${code}`,
    title: titleOf(code),
    status: error.httpStatus,
    code,
    detail: code === 'INTERNAL' ? 'unexpected fault: the log of pgproof has the details' : publicMessage(code, message),
    hint,
    retryable: error.isRetryable,
    ...(error instanceof Refusal && error.run !== undefined ? { run: error.run } : {}),
  }
}

/** Whatever was thrown while a request was handled; Fastify's own refusals become those of the register. */
export function refusalOf(thrown: unknown, limits: { readonly bodyBytes: number }): PgproofError {
  if (thrown instanceof PgproofError || !(thrown instanceof Error)) return toPgproofError(thrown, 'the request')
  const { code, statusCode } = thrown as { code?: unknown; statusCode?: unknown }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new PgproofError('BODY_TOO_LARGE', { limit: limits.bodyBytes })
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return new PgproofError('MEDIA_TYPE_UNSUPPORTED')
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500)
    return new PgproofError('REQUEST_INVALID', { reason: thrown.message }, { cause: thrown })
  return toPgproofError(thrown, 'the request')
}

/** `METHOD_NOT_ALLOWED` → `Method not allowed`. */
function titleOf(code: ErrorCode): string {
  const words = code.toLowerCase().replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}
