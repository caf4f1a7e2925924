import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Clock } from '../clock.ts'
import type { NotifyConfig } from '../config/config.ts'
import { assertNotAborted, PgproofError } from '../errors.ts'
import { testNotice } from './compose.ts'
import { usualLimits } from './delivery-queue.ts'
import { openChannel } from './open-channel.ts'

export type Tried = {
  /** `notify.0 (webhook hooks.example.com)`. */
  readonly target: string
  readonly seconds: number
  /** NOTICE_FAILED; null if it arrived. */
  readonly error: PgproofError | null
}

/**
 * Sends a test through every entry, each once. A ping is only logged there: it is no success of anything, and no failure.
 * Throws CANCELLED.
 */
export async function tryEntries(
  entries: readonly NotifyConfig[],
  clock: Clock,
  signal: AbortSignal,
  attemptMs = usualLimits.attemptMs,
): Promise<Tried[]> {
  const tried = await Promise.all(
    entries.map(async (entry, index): Promise<Tried> => {
      const { takes, channel } = openChannel(entry, index, () => clock.now())
      const notice = testNotice('test', null, { now: clock.now(), host: hostname(), newId: randomUUID })
      const startedMs = clock.monotonicMs()
      const within = AbortSignal.any([signal, AbortSignal.timeout(attemptMs)])
      const attempt =
        takes === 'notices'
          ? await channel.deliver(notice, within)
          : await channel.deliver({ action: 'log', rid: randomUUID(), body: notice.text }, within)
      return {
        target: channel.name,
        seconds: (clock.monotonicMs() - startedMs) / 1000,
        error: attempt.isDelivered
          ? null
          : new PgproofError('NOTICE_FAILED', { target: channel.name, reason: attempt.reason }),
      }
    }),
  )
  assertNotAborted(signal, 'the test of the notices')
  return tried
}
