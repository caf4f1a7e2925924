import { isFinished, type Run } from '../catalog/runs.ts'
import type { NotifyTarget } from '../config/config.ts'
import { publicMessage } from '../domain/public-message.ts'
import type { Channel } from './channel.ts'
import { post } from './post.ts'
import { described, instantText, oneLine, onWorker } from './wording.ts'

/** In the manner of healthchecks.io. */
export type PingSignal = {
  readonly action: 'start' | 'success' | 'fail' | 'log'
  /** A UUID; by it the service knows which end belongs to which start. */
  readonly rid: string
  /** A few lines for whoever looks there. */
  readonly body: string
}

export type PingChannel = Channel<PingSignal>

type PingTarget = Extract<NotifyTarget, { kind: 'ping' }>

export function pingChannel({ url }: PingTarget, now: () => Date): PingChannel {
  return {
    kind: 'ping',
    name: `ping ${new URL(url.reveal()).host}`,
    deliver: (ping, signal) =>
      post(
        { url: pingUrl(new URL(url.reveal()), ping), type: 'text/plain; charset=utf-8', body: ping.body },
        now,
        signal,
      ),
  }
}

/** `…/uuid`, `…/uuid/start`, each with the run's id. */
export function pingUrl(base: URL, { action, rid }: PingSignal): URL {
  const url = new URL(base)
  if (action !== 'success') url.pathname = `${url.pathname.replace(/\/$/, '')}/${action}`
  url.searchParams.set('rid', rid)
  return url
}

/** Why another place of the same ping is not as it should be. */
export type Trouble = {
  readonly text: string
  /** Whether it failed; otherwise nothing is known to be wrong, but it is too early to say that all is well. */
  readonly isFailure: boolean
}

/**
 * What a run says, given how all the other places of the same ping stand. `success` is only ever said when all of them
 * are well: the success of one database must not hide the failure of another. Null: nothing.
 */
export function pingOfRun(run: Run, retryAt: Date | null, others: readonly Trouble[]): PingSignal | null {
  const say = (action: PingSignal['action'], ...lines: readonly string[]): PingSignal => {
    return { action, rid: run.id, body: lines.slice(0, linesShown).join('\n') }
  }
  const what = described(run)
  if (run.state === 'running') return say('start', `${what} begins`)
  if (!isFinished(run)) return null
  if (run.state === 'succeeded') {
    if (others.length === 0) return say('success', `${what} succeeded`)
    const action = others.some(({ isFailure }) => isFailure) ? 'fail' : 'log'
    return say(action, `${what} succeeded, but:`, ...others.map(({ text }) => text))
  }
  // Whoever cancelled it knows; that nothing succeeded, the service notices by itself.
  if (run.state === 'cancelled') return run.startedAt === null ? null : say('log', `${what} was cancelled`)
  const message = run.error === null ? '' : `: ${oneLine(publicMessage(run.error.code, run.error.message))}`
  const ended = `${what} ${run.state === 'inconclusive' ? 'could not be carried out' : 'failed'}${onWorker(run)}${message}`
  if (retryAt !== null) return say('log', ended, `It is tried again at ${instantText(retryAt)}.`)
  return say('fail', ended, ...(run.error === null ? [] : [`What to do: ${oneLine(run.error.hint)}`]))
}

const linesShown = 20
