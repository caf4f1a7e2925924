import { describe, expect, it } from 'vitest'
import { blamesTheBackup, Checklist, rungs, verdictOf } from '../../src/domain/checklist.ts'
import { type ErrorCode, PgproofError, register } from '../../src/errors.ts'

const mismatch = new PgproofError('EVIDENCE_MISMATCH', { count: '1 difference', tables: 'public.t' })

describe('what an error says of the backup', () => {
  it('only faults that the backup is to blame for - failed; all others - inconclusive', () => {
    const failed = Object.keys(register).filter(
      (code) => verdictOf(new PgproofError(code as ErrorCode, {})) === 'failed',
    )
    expect(failed.toSorted()).toEqual([...blamesTheBackup].toSorted())
    expect(failed.toSorted()).toEqual([
      'DECRYPTION_FAILED',
      'EVIDENCE_MISMATCH',
      'HISTORY_BROKEN',
      'OBJECT_MISMATCH',
      'RECIPIENT_MISSING',
      'RESTORE_FAILED',
      'ROLES_FAILED',
      'SIGNATURE_INVALID',
      'SIGNATURE_MISSING',
      'STORE_FORMAT_INVALID',
      'STORE_NOT_FOUND',
      'VERIFY_FAILED',
    ])
  })
})

describe('a checklist', () => {
  it('nothing was reached - every rung is skipped, none passed', () => {
    expect(new Checklist().results()).toEqual(rungs.map((name) => ({ name, result: 'skipped', detail: null })))
  })

  it('a check that passes - its value comes back, with the detail where there is one', async () => {
    const checklist = new Checklist()
    expect(await checklist.run('b', () => Promise.resolve(7))).toBe(7)
    await checklist.run(
      'a',
      () => Promise.resolve(8),
      (value) => `saw ${value}`,
    )
    await checklist.run(
      'c',
      () => Promise.resolve(8),
      () => null,
    )
    expect(checklist.results(['a', 'b', 'c', 'd'])).toEqual([
      { name: 'a', result: 'passed', detail: 'saw 8' },
      { name: 'b', result: 'passed', detail: null },
      { name: 'c', result: 'passed', detail: null },
      { name: 'd', result: 'skipped', detail: null },
    ])
  })

  it('a check that fails - failed or inconclusive by its error, which is thrown on; one that is no error of ours - INTERNAL', async () => {
    const checklist = new Checklist()
    await expect(checklist.run('digests', () => Promise.reject(mismatch))).rejects.toBe(mismatch)
    await expect(checklist.run('restore', () => Promise.reject(new TypeError('odd')))).rejects.toThrow(
      expect.objectContaining({ code: 'INTERNAL' }),
    )
    expect(checklist.results(['digests', 'restore'])).toEqual([
      { name: 'digests', result: 'failed', detail: mismatch.message },
      { name: 'restore', result: 'inconclusive', detail: expect.stringContaining('odd') },
    ])
  })

  it('what blames the backup - is kept as the failure, the first of several, and unless all was broken off before', async () => {
    const other = new PgproofError('RESTORE_FAILED', { reason: 'x' })
    const away = new PgproofError('STORE_UNREACHABLE', { store: 'a', reason: 'x' })
    const controller = new AbortController()
    const [before, after] = [new Checklist(controller.signal), new Checklist(controller.signal)]
    const fail = (checklist: Checklist, error: PgproofError) =>
      expect(checklist.run('restore', () => Promise.reject(error))).rejects.toBe(error)
    await fail(before, away)
    expect(before.failure).toBe(null)
    await fail(before, mismatch)
    await fail(before, other)
    controller.abort()
    await fail(after, mismatch)
    expect([before.failure, after.failure]).toEqual([mismatch, null])
  })

  it('one error ends two checks side by side, or one within another - one result, so that one fault is not two', async () => {
    const odd = new TypeError('odd')
    for (const thrown of [mismatch, odd]) {
      const checklist = new Checklist()
      await expect(
        checklist.run('outer', () => checklist.run('inner', () => Promise.reject(thrown))),
      ).rejects.toBeInstanceOf(PgproofError)
      await expect(checklist.run('beside', () => Promise.reject(thrown))).rejects.toBe(thrown)
      expect(checklist.results(['outer', 'inner', 'beside']).map(({ result }) => result)).toEqual([
        'skipped',
        thrown === mismatch ? 'failed' : 'inconclusive',
        'skipped',
      ])
    }
  })

  it('what is noted by hand, and is no rung - last, in the order in which it came', () => {
    const checklist = new Checklist()
    checklist.add('amcheck', 'passed')
    checklist.add('your query', 'failed', 'no rows')
    checklist.add('b', 'skipped', 'not asked')
    expect(checklist.results(['a', 'b'])).toEqual([
      { name: 'a', result: 'skipped', detail: null },
      { name: 'b', result: 'skipped', detail: 'not asked' },
      { name: 'amcheck', result: 'passed', detail: null },
      { name: 'your query', result: 'failed', detail: 'no rows' },
    ])
  })
})
