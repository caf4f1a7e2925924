import type { NotifyConfig } from '../config/config.ts'
import { previousDue } from '../domain/schedule.ts'
import { testNotice } from './compose.ts'
import type { Incident } from './incident.ts'
import type { NotifyInstallation, Receivers } from './receivers.ts'

type Running = { readonly incident: Incident; readonly endsMs: number }

/** Long enough that somebody is called. */
const lastsMs = 5 * 60_000

/**
 * The failure that is none, by `daemon.notifyTest`: it shows that the pager still rings. Due is what falls between the
 * start of the process, or the change of the schedule, and now; a missed one is not made up for after a restart.
 */
export class PagerTest {
  readonly #receivers: Receivers
  readonly #installation: NotifyInstallation
  readonly #identity: { readonly host: string; readonly newId: () => string }
  #expression: string | undefined
  #since: Date
  #lastAt: Date | null = null
  #running: Running | null = null

  constructor(
    receivers: Receivers,
    installation: NotifyInstallation,
    identity: { readonly host: string; readonly newId: () => string },
  ) {
    this.#receivers = receivers
    this.#installation = installation
    this.#identity = identity
    this.#expression = installation.config.daemon.notifyTest
    this.#since = installation.clock.now()
  }

  /**
   * Begins the test that is due, and ends it after five minutes. `isWell` says what a ping may say then. What is due while
   * another worker of the fleet has the turn is that one's.
   */
  look(isWell: (entry: NotifyConfig) => boolean, isSpeaking = true): void {
    const { clock, config } = this.#installation
    const now = clock.now()
    const { notifyTest } = config.daemon
    if (notifyTest !== this.#expression) {
      this.#expression = notifyTest
      this.#since = now
      this.#lastAt = null
    }
    if (this.#running !== null && clock.monotonicMs() >= this.#running.endsMs) this.end(isWell)
    if (notifyTest === undefined || this.#running !== null) return
    if (previousDue(notifyTest, config.timezone, now) <= (this.#lastAt ?? this.#since)) return
    if (isSpeaking) this.#begin(now)
    else this.#lastAt = now
  }

  /** Puts back what the test had put: nobody is left with an alarm that is none. */
  end(isWell: (entry: NotifyConfig) => boolean): void {
    if (this.#running === null) return
    const { incident } = this.#running
    this.#running = null
    const notice = testNotice('recovery', incident, { now: this.#installation.clock.now(), ...this.#identity })
    this.#receivers.tellEverybody(notice, ({ on }) => on.includes('recovery'))
    this.#receivers.ping((entry) => (isWell(entry) ? { action: 'success', rid: incident.id, body: notice.text } : null))
  }

  #begin(now: Date): void {
    const { clock, log } = this.#installation
    const incident = { id: this.#identity.newId(), since: now, toldAt: now }
    this.#lastAt = now
    this.#running = { incident, endsMs: clock.monotonicMs() + lastsMs }
    log.info('the test of the notices begins: a failure that is none is told')
    const notice = testNotice('failure', incident, { now, ...this.#identity })
    this.#receivers.tellEverybody(notice, () => true)
    this.#receivers.ping(() => ({ action: 'fail', rid: incident.id, body: `${notice.title}\n${notice.text}` }))
  }
}
