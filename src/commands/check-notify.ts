import { PgproofError } from '../errors.ts'
import type { Finding } from '../jobs/findings.ts'
import { type Tried, tryEntries } from '../notify/try-entries.ts'
import { findingsPage } from './check.ts'
import type { Answer, CommandContext } from './context.ts'
import { openConfig } from './open.ts'
import { formatSeconds } from './print.ts'

/** A test notice through every entry of `notify`: whoever shall be told of failures sees that it arrives. */
export async function checkNotifyCommand(context: CommandContext): Promise<Answer> {
  const { notify } = await openConfig(context)
  if (notify.length === 0)
    throw new PgproofError('USAGE_INVALID', { reason: '--notify has nobody to tell: `notify` has no entry' })
  const tried = await (async () => {
    using _sending = context.progress.begin('sending')
    return await tryEntries(notify, context.clock, context.signal)
  })()
  const findings = tried.map(findingOf)
  return { document: { findings }, text: findingsPage(findings, context), error: errorOf(tried) }
}

function findingOf({ target, seconds, error }: Tried): Finding {
  if (error !== null)
    return { subject: target, result: 'problem', message: error.message, hint: error.hint, code: error.code }
  return { subject: target, result: 'ok', message: `delivered in ${formatSeconds(seconds)}`, hint: null, code: null }
}

function errorOf(tried: readonly Tried[]): PgproofError | null {
  const failed = tried.flatMap(({ target, error }) => (error === null ? [] : [{ target, error }]))
  const [first] = failed
  if (first === undefined || failed.length === 1) return first?.error ?? null
  const target = failed.map((one) => one.target).join(', ')
  return new PgproofError('NOTICE_FAILED', { target, reason: `${failed.length} of ${tried.length} entries failed` })
}
