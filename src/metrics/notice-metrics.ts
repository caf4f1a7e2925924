import { Counter, Gauge, type Registry } from 'prom-client'

/** What is known of the notices; labels name the entry and its kind, never where it leads. */
export type NoticeFigures = {
  counts(): readonly NoticeCount[]
  waiting(): readonly NoticesWaiting[]
}

/** How many notices by one kind of target ended so, since the start of this process. */
export type NoticeCount = {
  readonly target: NoticeTarget
  readonly outcome: 'delivered' | 'failed' | 'dropped'
  readonly count: number
}

/** How many notices one entry is still to get. */
export type NoticesWaiting = {
  /** Its place in the configuration: `notify.0`. */
  readonly entry: string
  readonly target: NoticeTarget
  readonly count: number
  /** Since when the oldest of them waits; null if there is none. */
  readonly oldestSince: Date | null
}

export type NoticeTarget = 'webhook' | 'email' | 'ping'

export function registerNoticeMetrics(registry: Registry, figures: NoticeFigures): void {
  const registers = [registry]
  const notices: Counter<'target' | 'outcome'> = new Counter({
    name: 'pgproof_notices_total',
    help: 'Notices and pings of `notify` since the start of this process: delivered, failed (given up) or dropped (too many waited, or the process ended).',
    labelNames: ['target', 'outcome'],
    registers,
    collect() {
      notices.reset()
      for (const { target, outcome, count } of figures.counts()) notices.inc({ target, outcome }, count)
    },
  })
  const waiting: Gauge<'entry' | 'target'> = new Gauge({
    name: 'pgproof_notices_waiting',
    help: 'Notices and pings that are being delivered, or wait to be tried again, by the entry of `notify`.',
    labelNames: ['entry', 'target'],
    registers,
    collect() {
      waiting.reset()
      for (const { entry, target, count } of figures.waiting()) waiting.set({ entry, target }, count)
    },
  })
  const oldest: Gauge<'entry' | 'target'> = new Gauge({
    name: 'pgproof_notice_oldest_waiting_timestamp_seconds',
    help: 'Since when the oldest notice of an entry of `notify` waits to be delivered; absent where none waits.',
    labelNames: ['entry', 'target'],
    registers,
    collect() {
      oldest.reset()
      for (const { entry, target, oldestSince } of figures.waiting())
        if (oldestSince !== null) oldest.set({ entry, target }, oldestSince.getTime() / 1000)
    },
  })
}
