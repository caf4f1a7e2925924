import type { Config, NotifyConfig } from '../config/config.ts'
import type { Installation } from '../jobs/installation.ts'
import type { ChannelKind } from './channel.ts'
import { type Backlog, DeliveryQueue, type Outcome, type QueueLimits } from './delivery-queue.ts'
import type { Notice } from './notice.ts'
import { openChannel, placeOf } from './open-channel.ts'
import type { PingSignal } from './ping.ts'
import { concerns } from './places.ts'

/** What notices need of an installation; its configuration may change meanwhile. */
export type NotifyInstallation = Pick<Installation, 'catalog' | 'clock' | 'log' | 'random'> & {
  readonly config: Pick<Config, 'notify' | 'servers' | 'timezone'> & {
    readonly daemon: Pick<Config['daemon'], 'notifyTest'>
  }
}

export type NoticeCount = { readonly target: ChannelKind; readonly outcome: Outcome; readonly count: number }

/** What one entry is still to get. */
export type NoticesWaiting = Backlog & {
  /** Its place in the configuration: `notify.0`. */
  readonly entry: string
  readonly target: ChannelKind
}

type Opened = { readonly entry: NotifyConfig; readonly index: number } & (
  | { readonly takes: 'notices'; readonly queue: DeliveryQueue<Notice> }
  | { readonly takes: 'pings'; readonly queue: DeliveryQueue<PingSignal> }
)

const outcomes = ['delivered', 'failed', 'dropped'] as const satisfies Outcome[]

/** A queue for each entry of `notify`, as the configuration has them now. */
export class Receivers {
  readonly #installation: NotifyInstallation
  readonly #limits: QueueLimits
  readonly #counts = new Map<string, number>()
  #entries: readonly NotifyConfig[] = []
  #opened: readonly Opened[] = []
  /** Of entries that are not configured any more; they finish what they had. */
  #retired: readonly Opened[] = []

  constructor(installation: NotifyInstallation, limits: QueueLimits) {
    this.#installation = installation
    this.#limits = limits
  }

  /** To those who want it. */
  tell(notice: Notice): void {
    for (const { takes, entry, queue } of this.#current())
      if (takes === 'notices' && concerns(entry, notice)) {
        const wanted = asWanted(entry, notice)
        if (wanted !== null) queue.push(wanted)
      }
  }

  /** To all who want to be told of that event, whatever it concerns. */
  tellEverybody(notice: Notice, isWanted: (entry: NotifyConfig) => boolean): void {
    for (const { takes, entry, queue } of this.#current())
      if (takes === 'notices' && isWanted(entry)) queue.push(notice)
  }

  /** Each ping entry gets its own signal, or none. */
  ping(signalFor: (entry: NotifyConfig) => PingSignal | null): void {
    for (const { takes, entry, queue } of this.#current()) {
      if (takes !== 'pings') continue
      const signal = signalFor(entry)
      if (signal !== null) queue.push(signal)
    }
  }

  /** Of every kind that is configured, from zero on. */
  counts(): readonly NoticeCount[] {
    const kinds = new Set([...this.#current(), ...this.#retired].map(({ entry }) => entry.kind))
    return [...kinds].flatMap((target) =>
      outcomes.map((outcome) => ({ target, outcome, count: this.#counts.get(`${target} ${outcome}`) ?? 0 })),
    )
  }

  /** Of every entry that is configured, and of those that were and have something left. */
  waiting(): readonly NoticesWaiting[] {
    const byEntry = new Map<string, NoticesWaiting>()
    const current = this.#current()
    for (const { entry, index, queue } of [...current, ...this.#retired.filter((one) => !one.queue.isIdle())]) {
      const place = { entry: placeOf(index), target: entry.kind }
      const key = `${place.entry} ${place.target}`
      byEntry.set(key, { ...place, ...together(byEntry.get(key), queue.backlog()) })
    }
    return [...byEntry.values()]
  }

  /** One last attempt for whatever waits, within that time. */
  async close(withinMs: number): Promise<void> {
    await Promise.all([...this.#opened, ...this.#retired].map(({ queue }) => queue.close(withinMs)))
  }

  #current(): readonly Opened[] {
    const { notify } = this.#installation.config
    if (notify === this.#entries) return this.#opened
    this.#retired = [...this.#retired, ...this.#opened].filter(({ queue }) => !queue.isIdle())
    this.#entries = notify
    this.#opened = notify.map((entry, index) => this.#open(entry, index))
    return this.#opened
  }

  #open(entry: NotifyConfig, index: number): Opened {
    const { clock, log, random } = this.#installation
    const onOutcome = (outcome: Outcome): void => {
      const key = `${entry.kind} ${outcome}`
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
    }
    const parts = { clock, log, random, onOutcome }
    const { takes, channel } = openChannel(entry, index, () => clock.now())
    return takes === 'notices'
      ? { takes, entry, index, queue: new DeliveryQueue(channel, { ...parts, about: aboutNotice }, this.#limits) }
      : { takes, entry, index, queue: new DeliveryQueue(channel, { ...parts, about: aboutPing }, this.#limits) }
  }
}

/** After a reload two queues may have had the same place. */
function together(before: Backlog | undefined, { count, oldestSince }: Backlog): Backlog {
  const since = [before?.oldestSince ?? null, oldestSince].flatMap((one) => (one === null ? [] : [one.getTime()]))
  return {
    count: (before?.count ?? 0) + count,
    oldestSince: since.length === 0 ? null : new Date(Math.min(...since)),
  }
}

/** Which notice was lost: whoever reads the log can still act on it. */
function aboutNotice({ title, event, incident }: Notice): Readonly<Record<string, unknown>> {
  return { title, event, incident }
}

function aboutPing({ action, rid, body }: PingSignal): Readonly<Record<string, unknown>> {
  return { title: body.split('\n')[0] ?? '', event: action, rid }
}

/** A recovery is a success, too, for who wants to be told of those only. */
function asWanted({ on }: NotifyConfig, notice: Notice): Notice | null {
  if (notice.event === 'test' || on.includes(notice.event)) return notice
  const isRunRecovered = notice.event === 'recovery' && notice.condition === null
  return isRunRecovered && on.includes('success') ? { ...notice, event: 'success' } : null
}
