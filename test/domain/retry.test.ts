import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Ending, nextAttemptAt, type RetryRule } from '../../src/domain/retry.ts'
import { register } from '../../src/errors.ts'

const at = (text: string): Date => new Date(text)
const minuteMs = 60_000

const rule: RetryRule = {
  attempts: 3,
  delayMs: 5 * minuteMs,
  until: at('2026-11-21T02:00Z'),
  share: 0.5,
  reloadedAt: null,
}
const ending = (changes: Partial<Ending> = {}): Ending => ({
  job: 'backup',
  state: 'failed',
  code: 'DUMP_FAILED',
  attempt: 1,
  runs: 1,
  endedAt: at('2026-11-20T02:10Z'),
  ...changes,
})

const anyEnding = fc.record({
  job: fc.constantFrom('backup', 'roles', 'drill'),
  state: fc.constantFrom('succeeded', 'failed', 'cancelled', 'inconclusive'),
  code: fc.constantFrom(null, 'LOCKED', ...Object.keys(register)),
  attempt: fc.integer({ min: 1, max: 25 }),
  runs: fc.integer({ min: 1, max: 500 }),
  endedAt: fc.date({ min: at('2026-11-19T00:00Z'), max: at('2026-11-22T00:00Z'), noInvalidDate: true }),
}) as fc.Arbitrary<Ending>
const anyRule = fc.record({
  attempts: fc.integer({ min: 1, max: 20 }),
  delayMs: fc.integer({ min: 1000, max: 86_400_000 }),
  until: fc.constant(rule.until),
  share: fc.double({ min: 0, max: 0.999, noNaN: true }),
  reloadedAt: fc.constantFrom(null, at('2026-11-20T12:00Z')),
})

describe('tried again', () => {
  it('fails eight times - waits of five minutes to an hour, four hours in all; a longer delay stays as it is', () => {
    const waits = (delayMs: number): number[] =>
      [1, 2, 3, 4, 5, 6, 7, 8].flatMap((runs) => {
        const end = ending({ attempt: runs, runs, endedAt: at('2026-11-20T02:00Z') })
        const next = nextAttemptAt(end, { ...rule, attempts: 8, delayMs })
        return next === null ? [] : [(next.at.getTime() - end.endedAt.getTime()) / minuteMs]
      })
    expect(waits(5 * minuteMs)).toEqual([5, 10, 20, 40, 60, 60, 60])
    expect(waits(90 * minuteMs)).toEqual([90, 90, 90, 90, 90, 90, 90])
  })

  it('fails again and again - each wait twice as long, as often as configured, then not any more', () => {
    expect(nextAttemptAt(ending(), rule)).toEqual({ at: at('2026-11-20T02:15Z'), attempt: 2 })
    expect(nextAttemptAt(ending({ attempt: 2, runs: 2 }), rule)).toEqual({ at: at('2026-11-20T02:20Z'), attempt: 3 })
    expect(nextAttemptAt(ending({ attempt: 3, runs: 3 }), rule)).toBeNull()
  })

  it('a drill that could not be carried out - again; one whose verdict is failed - not', () => {
    const drill = { job: 'drill', state: 'inconclusive' } as const
    expect(nextAttemptAt(ending({ ...drill, code: 'SPOOL_FULL' }), rule)?.attempt).toBe(2)
    expect(nextAttemptAt(ending({ ...drill, state: 'failed', code: 'SERVER_UNREACHABLE' }), rule)?.attempt).toBe(2)
    for (const code of ['EVIDENCE_MISMATCH', 'RESTORE_FAILED', 'OBJECT_MISMATCH', 'SIGNATURE_INVALID'])
      expect(nextAttemptAt(ending({ ...drill, state: 'failed', code }), rule), code).toBeNull()
  })

  it('a backup or roles backup that ends with what is a verdict of a drill - again, since it is none', () => {
    for (const job of ['backup', 'roles'] as const)
      for (const code of ['OBJECT_MISMATCH', 'ROLES_FAILED', 'VERIFY_FAILED'])
        expect(nextAttemptAt(ending({ job, code }), rule), `${job} ${code}`).toMatchObject({ attempt: 2 })
  })

  it('found locked - waits without using up an attempt, longer each time, an hour at most', () => {
    const locked = (runs: number) => nextAttemptAt(ending({ code: 'LOCKED', attempt: 3, runs }), rule)
    expect(locked(1)).toEqual({ at: at('2026-11-20T02:15Z'), attempt: 3 })
    expect(locked(3)).toEqual({ at: at('2026-11-20T02:30Z'), attempt: 3 })
    expect(locked(50)).toEqual({ at: at('2026-11-20T03:10Z'), attempt: 3 })
  })

  it('the fleet’s queue lost what had not begun - does not use up an attempt, either', () => {
    expect(nextAttemptAt(ending({ code: 'FLEET_QUEUE_LOST', attempt: 3 }), rule)).toEqual({
      at: at('2026-11-20T02:15Z'),
      attempt: 3,
    })
  })

  it('for no reason of the register, or one that this version does not know - as any other failure', () => {
    for (const code of [null, 'OF_A_NEWER_VERSION', 'toString'])
      expect(nextAttemptAt(ending({ code }), rule), `${code}`).toMatchObject({ attempt: 2 })
  })

  it('cancelled, or succeeded - never', () => {
    expect(nextAttemptAt(ending({ state: 'cancelled', code: 'CANCELLED' }), rule)).toBeNull()
    expect(nextAttemptAt(ending({ state: 'succeeded', code: null }), rule)).toBeNull()
  })

  it('for want of keys or of another configuration - not before that is reloaded, and then at once from the beginning', () => {
    for (const code of ['KEY_UNREADABLE', 'PASSPHRASE_WRONG', 'SERVER_UNKNOWN']) {
      expect(nextAttemptAt(ending({ code }), rule), code).toBeNull()
      const reloadedAt = at('2026-11-20T08:00Z')
      expect(nextAttemptAt(ending({ code }), { ...rule, reloadedAt }), code).toEqual({ at: reloadedAt, attempt: 1 })
      expect(
        nextAttemptAt(ending({ code, endedAt: at('2026-11-20T08:01Z') }), { ...rule, reloadedAt }),
        code,
      ).toBeNull()
    }
    // Whoever mended something need not wait for tomorrow, either.
    const reloadedAt = at('2026-11-20T08:00Z')
    expect(nextAttemptAt(ending({ attempt: 3, runs: 3 }), { ...rule, reloadedAt })).toEqual({
      at: reloadedAt,
      attempt: 1,
    })
  })

  it('reloaded at the instant at which it ended - counts; at the next due time - is left to that', () => {
    const end = ending({ code: 'KEY_UNREADABLE' })
    const reloaded = (reloadedAt: Date) => nextAttemptAt(end, { ...rule, reloadedAt })
    expect(reloaded(end.endedAt)).toEqual({ at: end.endedAt, attempt: 1 })
    expect(reloaded(at('2026-11-21T01:59:59.999Z'))).not.toBeNull()
    expect(reloaded(rule.until)).toBeNull()
    expect(reloaded(at('2026-11-21T08:00Z'))).toBeNull()
  })

  it('a worker of a fleet lacks a key - another one may have it, and tries as after any other failure', () => {
    for (const code of ['KEY_UNREADABLE', 'KEY_NEEDED', 'PASSPHRASE_WRONG', 'CONFIG_UNREADABLE'])
      expect(nextAttemptAt(ending({ code, isOfFleet: true }), rule), code).toMatchObject({ attempt: 2 })
    for (const code of ['SERVER_UNKNOWN', 'FLEET_JOB_LOST'])
      expect(nextAttemptAt(ending({ code, isOfFleet: true }), rule), code).toBeNull()
  })

  it('the next due time is nearer than the wait - left to it', () => {
    expect(nextAttemptAt(ending({ endedAt: at('2026-11-21T01:55Z') }), rule)).toBeNull()
    expect(nextAttemptAt(ending({ endedAt: at('2026-11-21T01:54:59Z') }), rule)).not.toBeNull()
  })

  it('whatever ends however - after its end, before the next due time, never more attempts than configured', () => {
    fc.assert(
      fc.property(anyEnding, anyRule, (end, by) => {
        const next = nextAttemptAt(end, by)
        if (next === null) return
        expect(['failed', 'inconclusive']).toContain(end.state)
        expect(next.at.getTime()).toBeGreaterThanOrEqual(end.endedAt.getTime())
        expect(next.at.getTime()).toBeLessThan(by.until.getTime())
        expect(next.attempt).toBeLessThanOrEqual(by.attempts)
        expect(nextAttemptAt(end, by)).toEqual(next)
        const isOfReload = next.at === by.reloadedAt
        if (isOfReload) return
        const leastMs = by.delayMs * 0.9
        expect(next.at.getTime() - end.endedAt.getTime()).toBeGreaterThanOrEqual(Math.floor(leastMs))
      }),
      { numRuns: 2000 },
    )
  })

  it('a chain of failures to its end - waits grow, jitter keeps within a tenth, and it ends', () => {
    fc.assert(
      fc.property(anyRule, (by) => {
        let end = ending({ endedAt: at('2026-11-20T02:00Z') })
        const quiet = { ...by, reloadedAt: null }
        for (let runs = 1; runs <= 20; runs += 1) {
          const next = nextAttemptAt(end, quiet)
          if (next === null) return
          const waitMs = next.at.getTime() - end.endedAt.getTime()
          const meantMs = Math.min(by.delayMs * 2 ** (runs - 1), Math.max(by.delayMs, 60 * minuteMs))
          expect(Math.abs(waitMs - meantMs)).toBeLessThanOrEqual(meantMs * 0.1 + 1)
          end = ending({ attempt: next.attempt, runs: runs + 1, endedAt: next.at })
        }
        throw new Error('it never ends')
      }),
    )
  })
})
