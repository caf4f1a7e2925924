// Loaded before pgproof by `--import`. FAULT_CLOCK is `HOURS` or `HOURS FILE`: the wall clock is that far off, from
// the moment on at which the file is there. FAULT_HURRY: pauses last a fiftieth, and so does the patience with a
// silent connection; what is given ten seconds or more to tidy up gets a tenth. So nobody waits for minutes of retries.
// All the rest is the shipped code.
import { existsSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { Socket } from 'node:net'
import timers from 'node:timers/promises'

const [hours, file] = (process.env['FAULT_CLOCK'] ?? '').split(' ')
if (hours !== undefined && hours !== '') {
  const RealDate = Date
  const now = (): number => RealDate.now() + (file === undefined || existsSync(file) ? Number(hours) * 3_600_000 : 0)
  class JumpingDate extends RealDate {
    constructor(...values: [] | [number]) {
      super(...((values.length === 0 ? [now()] : values) as [number]))
    }
    static override now(): number {
      return now()
    }
  }
  globalThis.Date = JumpingDate as DateConstructor
}

if (process.env['FAULT_HURRY'] !== undefined) {
  const shorter = (ms: number): number => (ms >= 200 ? ms / 50 : ms)
  const pause = timers.setTimeout
  timers.setTimeout = ((ms?: number, ...rest: []) => pause(shorter(ms ?? 0), ...rest)) as typeof pause
  syncBuiltinESMExports()
  const { setTimeout: ofSocket } = Socket.prototype
  Socket.prototype.setTimeout = function (ms: number, ...rest) {
    return ofSocket.call(this, ms >= 10_000 ? ms / 50 : ms, ...rest)
  }
  const limit = AbortSignal.timeout
  AbortSignal.timeout = (ms) => limit.call(AbortSignal, ms >= 10_000 ? ms / 10 : ms)
  // The handler of HTTP requests arms a socket's time-out only after 3 s.
  const later = globalThis.setTimeout
  const armed = 3_000
  globalThis.setTimeout = ((run: () => void, ms?: number, ...rest: []) =>
    later(run, ms === armed ? armed / 50 : ms, ...rest)) as typeof later
}
