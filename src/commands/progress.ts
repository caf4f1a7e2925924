import type { Clock } from '../clock.ts'
import { cutToWidth, formatBytes, formatSeconds, printable } from './print.ts'

/** What is known of how far something is. */
export type ProgressState = {
  readonly phase?: string | undefined
  readonly doneBytes?: number | undefined
  readonly totalBytes?: number | undefined
  /** Whether `totalBytes` is only what it was the last time. */
  readonly isEstimate?: boolean | undefined
  /** How long this phase took the last time, where bytes say nothing. */
  readonly usualSeconds?: number | undefined
  /** `12 of 41 tables`. */
  readonly note?: string | undefined
}

export type TextStream = {
  write(text: string): unknown
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
}

const firstDrawMs = 1000
const redrawMs = 100
const plainLineMs = 30_000

/**
 * Shows on stderr how far the one thing is that is going on: a line redrawn in place on a terminal, else a plain line
 * now and then. Nothing is shown of what takes less than a second.
 */
export class Progress {
  readonly #stream: TextStream
  readonly #clock: Clock
  readonly #mode: 'terminal' | 'plain' | 'off'
  #activity: Activity | undefined
  #isDrawn = false
  #isPaused = false

  constructor(stream: TextStream, parts: { readonly clock: Clock; readonly mode: 'terminal' | 'plain' | 'off' }) {
    this.#stream = stream
    this.#clock = parts.clock
    this.#mode = parts.mode
  }

  /** From now on `what` is going on, until the scope ends. */
  begin(what: string): Disposable & { update(state: ProgressState): void } {
    const now = this.#clock.monotonicMs()
    const activity: Activity = { what, startedMs: now, state: {}, phaseStartedMs: now, bytesAtStart: 0 }
    this.#activity = activity
    const timer =
      this.#mode === 'off'
        ? undefined
        : setInterval(() => this.#draw(), this.#mode === 'terminal' ? redrawMs : plainLineMs)
    timer?.unref()
    return {
      update: (state) => {
        const bytesBegan = state.doneBytes !== undefined && activity.state.doneBytes === undefined
        if (state.phase !== activity.state.phase || bytesBegan) {
          activity.phaseStartedMs = this.#clock.monotonicMs()
          activity.bytesAtStart = state.doneBytes ?? 0
        }
        activity.state = state
      },
      [Symbol.dispose]: () => {
        clearInterval(timer)
        this.#clear()
        if (this.#activity === activity) this.#activity = undefined
      },
    }
  }

  /** Nothing is drawn until the scope ends: somebody is typing. */
  pause(): Disposable {
    this.#clear()
    this.#isPaused = true
    return {
      [Symbol.dispose]: () => {
        this.#isPaused = false
      },
    }
  }

  /** Writes whole lines that stay; the line being redrawn makes room and comes back below. */
  write(text: string): void {
    this.#clear()
    this.#stream.write(text)
  }

  #draw(): void {
    const activity = this.#activity
    if (activity === undefined || this.#isPaused) return
    const now = this.#clock.monotonicMs()
    if (now - activity.startedMs < firstDrawMs) return
    const seconds = { elapsed: (now - activity.startedMs) / 1000, phase: (now - activity.phaseStartedMs) / 1000 }
    const line = progressLine(activity, seconds, this.#mode === 'terminal')
    if (this.#mode === 'terminal') {
      this.#stream.write(`\r\u001b[2K${cutToWidth(line, (this.#stream.columns ?? 80) - 1)}`)
      this.#isDrawn = true
    } else this.#stream.write(`${line}\n`)
  }

  #clear(): void {
    if (this.#isDrawn) this.#stream.write('\r\u001b[2K')
    this.#isDrawn = false
  }
}

type Activity = {
  readonly what: string
  readonly startedMs: number
  state: ProgressState
  phaseStartedMs: number
  bytesAtStart: number
}

/**
 * On a terminal `backup of main/shop: [####------] 45 %, 640.0 MiB, 85.0 MiB/s, 8 s, ~9 s left, 12 of 41 tables counted`,
 * short enough for 80 columns; in full for a line that stays.
 */
export function progressLine(
  { what, state, bytesAtStart }: Pick<Activity, 'what' | 'state' | 'bytesAtStart'>,
  seconds: { readonly elapsed: number; readonly phase: number },
  hasBar: boolean,
): string {
  const { phase, doneBytes, isEstimate, usualSeconds, note } = state
  const parts: string[] = []
  const about = isEstimate ? (hasBar ? '~' : 'about ') : ''
  const elapsed = `${spanText(seconds.elapsed)}${hasBar ? '' : ' elapsed'}`
  if (doneBytes === undefined) {
    parts.push(elapsed)
    if (usualSeconds !== undefined && usualSeconds >= 1)
      parts.push(`this step ${spanText(seconds.phase)}, last time ${spanText(usualSeconds)}`)
  } else {
    const total = totalOf(state)
    const done = formatBytes(doneBytes)
    const rate = seconds.phase > 0 ? (doneBytes - bytesAtStart) / seconds.phase : 0
    if (total === undefined) parts.push(done)
    else if (hasBar) parts.push(`${barOf(doneBytes / total)} ${Math.floor((doneBytes / total) * 100)} %`, done)
    else parts.push(`${done} of ${about}${formatBytes(total)}`)
    if (rate > 0) parts.push(`${formatBytes(Math.round(rate))}/s`)
    parts.push(elapsed)
    if (total !== undefined && rate > 0) parts.push(`${about}${spanText((total - doneBytes) / rate)} left`)
  }
  if (note !== undefined) parts.push(note)
  return printable(`${what}: ${phase === undefined ? '' : `${phase} `}${parts.join(', ')}`)
}

/** What it was the last time is no total any more once it has been passed. */
function totalOf({ doneBytes, totalBytes }: ProgressState): number | undefined {
  return totalBytes !== undefined && totalBytes > 0 && (doneBytes ?? 0) <= totalBytes ? totalBytes : undefined
}

function spanText(seconds: number): string {
  return seconds < 59.5 ? `${Math.round(seconds)} s` : formatSeconds(seconds)
}

const barColumns = 10

function barOf(share: number): string {
  const filled = Math.floor(share * barColumns)
  return `[${'#'.repeat(filled)}${'-'.repeat(barColumns - filled)}]`
}
