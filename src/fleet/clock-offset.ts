import { PgproofError } from '../errors.ts'
import { type Log, logKeys } from '../log.ts'
import { mostOffsetMs } from './control.ts'

/** How far this worker's clock is ahead of the control database's. */
export class ClockOffset {
  readonly #log: Log
  #hasSaid = false
  ms = 0

  constructor(log: Log) {
    this.#log = log
  }

  get isWrong(): boolean {
    return Math.abs(this.ms) > mostOffsetMs
  }

  note(ms: number): void {
    this.ms = ms
    if (this.isWrong && !this.#hasSaid) {
      const seconds = String(Math.round(Math.abs(ms) / 1000))
      const direction = ms > 0 ? 'ahead of' : 'behind'
      const { code, message, hint } = new PgproofError('FLEET_CLOCK_DIFFERS', { seconds, direction })
      this.#log.error({ [logKeys.code]: code, reason: message, [logKeys.hint]: hint }, 'wrong clock')
    }
    this.#hasSaid = this.isWrong
  }

  /** Whether it is wrong, and that of another living worker is right: if all are, it is rather the control database's. */
  isWrongAlone(others: readonly { readonly clockOffsetSeconds: number }[]): boolean {
    return this.isWrong && others.some(({ clockOffsetSeconds }) => Math.abs(clockOffsetSeconds) * 1000 <= mostOffsetMs)
  }
}
