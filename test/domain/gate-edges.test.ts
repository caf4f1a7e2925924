import { describe, expect, it } from 'vitest'
import { type GateFacts, judgeGate, toleratedSkewMs } from '../../src/domain/gate.ts'

const now = new Date('2026-11-20T12:00:00Z')
const ago = (ms: number): Date => new Date(now.getTime() - ms)
const hourMs = 3_600_000
const limit = { ms: hourMs, text: '1h' }

function reasons(backupMs: number, proofMs: number, more: Partial<GateFacts> = {}): readonly string[] {
  const facts: GateFacts = {
    server: 'main',
    database: 'app',
    backup: { label: 'b', snapshotTime: ago(backupMs) },
    onlyDamaged: false,
    proof: { drill: 'd', finishedAt: ago(proofMs) },
    failure: null,
    ...more,
  }
  return judgeGate(facts, { maxAge: limit, verifiedWithin: limit }, now).reasons
}

describe('the gate, at its limits', () => {
  it.each([
    ['of this moment', 0],
    ['a second old', 1000],
    ['exactly as old as may be', hourMs],
    ['as far ahead as two clocks may differ', -toleratedSkewMs],
  ])('backup and proof %s - open', (_what, ms) => {
    expect(reasons(ms, ms)).toEqual([])
  })

  it('a millisecond more, on either side - closed, once for each', () => {
    expect(reasons(hourMs + 1, hourMs + 1)).toHaveLength(2)
    expect(reasons(-toleratedSkewMs - 1, -toleratedSkewMs - 1)).toEqual([
      'the newest backup lies 5 min in the future: a clock is wrong',
      'its last proof lies 5 min in the future: a clock is wrong',
    ])
  })

  it('a drill that failed at the moment at which another passed - the one that passed counts; later, the failed one', () => {
    const failure = { drill: 'f', finishedAt: ago(1000), reason: 'lost rows' }
    expect(reasons(0, 1000, { failure })).toEqual([])
    expect(reasons(0, 1001, { failure })).toEqual(['drill f failed: lost rows'])
  })
})
