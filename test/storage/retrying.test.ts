import { describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { createLog, silentLog } from '../../src/log.ts'
import { brisk, type Patience, patient, pauseBefore, retrying } from '../../src/storage/retrying.ts'
import { retryAfterMs } from '../../src/storage/s3-errors.ts'

/** A clock whose pauses take no time but are counted. */
function steppedClock(): Clock & { readonly pauses: number[] } {
  const pauses: number[] = []
  let ms = 0
  return {
    pauses,
    now: () => new Date(ms),
    monotonicMs: () => ms,
    sleep: async (pause) => {
      pauses.push(pause)
      ms += pause
    },
  }
}

function failing(times: number, take: () => void = () => {}): { calls: () => number; attempt: () => Promise<string> } {
  let calls = 0
  return {
    calls: () => calls,
    attempt: async () => {
      calls += 1
      take()
      if (calls <= times) throw new Error(`failure ${calls}`)
      return 'done'
    },
  }
}

describe('retrying', () => {
  const { signal } = new AbortController()
  const how = (clock: Clock, patience: Patience = patient) => ({
    what: 'call',
    patience: () => patience,
    isTransient: () => true,
    clock,
    log: silentLog,
    signal,
  })

  it('fails three times, then works - its value, after three pauses that grow', async () => {
    const clock = steppedClock()
    const { attempt } = failing(3)
    expect(await retrying(attempt, how(clock))).toBe('done')
    expect(clock.pauses).toHaveLength(3)
    for (const [index, pause] of clock.pauses.entries()) {
      expect(pause).toBeLessThanOrEqual(500 * 2 ** index)
      expect(pause).toBeGreaterThanOrEqual(250 * 2 ** index)
    }
  })

  it.each([
    ['longer than the own pause', 7_000, 7_000, 7_700],
    ['shorter than the own pause', 1, 250, 500],
    ['without sense', -5, 250, 500],
    ['a day', 86_400_000, 60_000, 66_000],
  ])('store says when to come back, %s - the longer of both, a minute at most', async (_, wishMs, least, most) => {
    const clock = steppedClock()
    await retrying(failing(1).attempt, { ...how(clock), wishMs: () => wishMs })
    expect(clock.pauses).toHaveLength(1)
    expect(clock.pauses[0]).toBeGreaterThanOrEqual(least)
    expect(clock.pauses[0]).toBeLessThanOrEqual(most)
  })

  it.each([
    ['seconds', '30', 30_000],
    ['an instant', 'Sat, 21 Nov 2026 10:00:42 GMT', 42_000],
    ['an instant that has passed', 'Sat, 21 Nov 2026 09:59:59 GMT', -1_000],
    ['nothing that can be read', 'soon', undefined],
    ['no such header', undefined, undefined],
  ])('Retry-After of %s - understood', (_, header, expected) => {
    const error = Object.assign(new Error('busy'), { $response: { headers: { 'retry-after': header } } })
    expect(retryAfterMs(error, new Date('2026-11-21T10:00:00Z'))).toBe(expected)
  })

  it('fails every time - the last failure, after all attempts; a store that answered before is waited for longer', async () => {
    for (const [patience, leastMs, mostMs] of [
      [brisk, 300, 1_000],
      [patient, 25_000, 60_000],
    ] as const) {
      const clock = steppedClock()
      const { attempt, calls } = failing(99)
      await expect(retrying(attempt, how(clock, patience))).rejects.toThrow(`failure ${patience.attempts}`)
      expect(calls()).toBe(patience.attempts)
      expect(clock.monotonicMs()).toBeGreaterThan(leastMs)
      expect(clock.monotonicMs()).toBeLessThan(mostMs)
    }
  })

  it('every attempt takes a minute - no attempt after three minutes', async () => {
    const clock = steppedClock()
    const { attempt, calls } = failing(99, () => void clock.sleep(60_000))
    await expect(retrying(attempt, how(clock))).rejects.toThrow('failure')
    expect(calls()).toBeLessThanOrEqual(4)
  })

  it('failure that a repetition cannot mend - thrown at once', async () => {
    const clock = steppedClock()
    const { attempt, calls } = failing(99)
    await expect(retrying(attempt, { ...how(clock), isTransient: () => false })).rejects.toThrow('failure 1')
    expect({ calls: calls(), pauses: clock.pauses }).toEqual({ calls: 1, pauses: [] })
  })

  it('aborted during a pause - rejects at once', async () => {
    const controller = new AbortController()
    const { attempt, calls } = failing(99, () => setImmediate(() => controller.abort()))
    const slow: Patience = { attempts: 9, firstPauseMs: 60_000, longestPauseMs: 60_000, giveUpAfterMs: 600_000 }
    await expect(retrying(attempt, { ...how(systemClock, slow), signal: controller.signal })).rejects.toThrow()
    expect(calls()).toBe(1)
  })

  it('each repetition - one warning with the reason', async () => {
    const lines: string[] = []
    const log = createLog({ level: 'warn', format: 'json' }, (line) => lines.push(line))
    await retrying(failing(2).attempt, { ...how(steppedClock()), log })
    expect(lines.map((line) => (JSON.parse(line) as { details: string }).details)).toEqual(['failure 1', 'failure 2'])
  })

  it('pauses - never longer than the longest', () => {
    for (let failures = 1; failures < 60; failures += 1)
      expect(pauseBefore(failures, patient)).toBeLessThanOrEqual(patient.longestPauseMs)
  })
})
