import { describe, expect, it } from 'vitest'
import { type GateFacts, judgeGate, spellAge } from '../../src/domain/gate.ts'

const now = new Date('2026-11-21T12:00:00Z')
const hour = 3_600_000
const earlier = (ms: number): Date => new Date(now.getTime() - ms)
const day = { ms: 26 * hour, text: '26h' }
const week = { ms: 8 * 24 * hour, text: '8d' }
const both = { maxAge: day, verifiedWithin: week }

function facts(changes: Partial<GateFacts> = {}): GateFacts {
  return {
    server: 'main',
    database: 'shop',
    backup: { label: '20261121T070000Z-4f7k', snapshotTime: earlier(5 * hour) },
    onlyDamaged: false,
    proof: { drill: '20261119T070000Z-dr11', finishedAt: earlier(50 * hour) },
    failure: null,
    ...changes,
  }
}

const failure = (ms: number, reason: string | null = 'one row is missing'): GateFacts['failure'] => {
  return { drill: '20261120T070000Z-dr12', finishedAt: earlier(ms), reason }
}

describe('a gate', () => {
  it('fresh backup, fresh proof - open, with both ages', () => {
    expect(judgeGate(facts(), both, now)).toMatchObject({
      isOpen: true,
      backupAgeSeconds: 18_000,
      proofAgeSeconds: 180_000,
      reasons: [],
    })
  })

  it.each<[string, Partial<GateFacts>, string[]]>([
    ['no backup', { backup: null }, ['there is no backup']],
    ['only damaged backups', { backup: null, onlyDamaged: true }, ['none of its backups can be restored']],
    [
      'a backup that is too old',
      { backup: { label: null, snapshotTime: earlier(31 * hour) } },
      ['newest backup is 31 h old, at most 26h'],
    ],
    [
      'a backup of tomorrow',
      { backup: { label: null, snapshotTime: earlier(-24 * hour) } },
      ['the newest backup lies 24 h in the future: a clock is wrong'],
    ],
    ['no passed drill', { proof: null }, ['no drill has passed']],
    [
      'a proof that is too old',
      { proof: { drill: 'x', finishedAt: earlier(9 * 24 * hour) } },
      ['last passed drill is 9 d old, at most 8d'],
    ],
    [
      'a proof of tomorrow',
      { proof: { drill: 'x', finishedAt: earlier(-3 * hour) } },
      ['its last proof lies 3 h in the future: a clock is wrong'],
    ],
    [
      'a drill that failed since the proof',
      { failure: failure(hour) },
      ['drill 20261120T070000Z-dr12 failed: one row is missing'],
    ],
    [
      'a failed drill and none that passed',
      { proof: null, failure: failure(hour, null) },
      ['drill 20261120T070000Z-dr12 failed', 'no drill has passed'],
    ],
  ])('%s - closed, and why', (_, changes, reasons) => {
    expect(judgeGate(facts(changes), both, now)).toMatchObject({ isOpen: false, reasons })
  })

  it('a drill that failed before one passed - open', () => {
    expect(judgeGate(facts({ failure: failure(60 * hour) }), both, now).isOpen).toBe(true)
  })

  it('exactly as old as allowed - open; a millisecond more - closed', () => {
    const at = (ms: number) => facts({ backup: { label: null, snapshotTime: earlier(ms) } })
    expect(judgeGate(at(26 * hour), both, now).isOpen).toBe(true)
    expect(judgeGate(at(26 * hour + 1), both, now).isOpen).toBe(false)
  })

  it('only one rule - the other age closes nothing, but no backup and a failed drill do', () => {
    const old = facts({ proof: null, backup: { label: null, snapshotTime: earlier(1000 * hour) } })
    expect(judgeGate(facts({ proof: null }), { maxAge: day, verifiedWithin: null }, now).isOpen).toBe(true)
    expect(judgeGate(old, { maxAge: null, verifiedWithin: week }, now).reasons).toEqual(['no drill has passed'])
    expect(judgeGate(facts({ backup: null }), { maxAge: null, verifiedWithin: week }, now).isOpen).toBe(false)
    expect(judgeGate(facts({ failure: failure(1) }), { maxAge: day, verifiedWithin: null }, now).isOpen).toBe(false)
  })

  it('ages - in the unit that a person would take, rounded down', () => {
    expect([5, 119, 120, 7199, 7200, 172_799, 172_800].map(spellAge)).toEqual([
      '5 s',
      '119 s',
      '2 min',
      '119 min',
      '2 h',
      '47 h',
      '2 d',
    ])
  })
})
