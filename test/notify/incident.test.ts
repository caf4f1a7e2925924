import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Run, RunState } from '../../src/catalog/runs.ts'
import { type Held, type Holding, type Incident, judgeConditions, judgeRun } from '../../src/notify/incident.ts'

function runAt(minute: number, state: RunState): Run {
  const at = new Date(Date.UTC(2026, 10, 20, 2, minute))
  return {
    ...{ id: `run-${minute}`, job: 'backup', server: 'main', database: 'shop', trigger: 'schedule', attempt: 1 },
    ...{ state, queuedAt: at, startedAt: at, finishedAt: at, label: null, error: null, progress: null },
  }
}

const retry = new Date('2026-11-20T09:00:00Z')
const judged = (
  before: Incident | null,
  state: RunState,
  more: { minute?: number; retryAt?: Date | null; isVerdict?: boolean } = {},
) =>
  judgeRun(before, runAt(more.minute ?? 0, state), {
    retryAt: more.retryAt ?? null,
    isVerdict: more.isVerdict ?? false,
    newId: () => 'i',
  })

describe('what a run means', () => {
  it('it fails and is tried again - nothing is told until the last one; it counts from the first', () => {
    const first = judged(null, 'failed', { retryAt: retry })
    expect(first).toEqual({
      tell: null,
      incident: { id: 'i', since: new Date('2026-11-20T02:00:00Z'), toldAt: null },
    })
    const last = judged(first.incident, 'failed', { minute: 30 })
    expect(last.tell).toBe('failure')
    expect(last.incident).toMatchObject({
      since: new Date('2026-11-20T02:00:00Z'),
      toldAt: new Date('2026-11-20T02:30:00Z'),
    })
  })

  it('it fails and is tried again for an hour - told then, and not again with the last one', () => {
    let { incident } = judged(null, 'failed', { retryAt: retry })
    const told: unknown[] = []
    for (const minute of [5, 15, 35, 59, 60, 120]) {
      const answer = judged(incident, 'failed', { minute, retryAt: minute === 120 ? null : retry })
      incident = answer.incident
      told.push(answer.tell)
    }
    expect(told).toEqual([null, null, null, null, 'failure', null])
  })

  it('it fails, and the second try succeeds - a success as any other', () => {
    expect(judged(judged(null, 'failed', { retryAt: retry }).incident, 'succeeded')).toEqual({
      tell: 'success',
      incident: null,
    })
  })

  it('it fails again and again - told once; then a recovery, once', () => {
    let incident: Incident | null = null
    const told: unknown[] = []
    for (const state of ['failed', 'failed', 'inconclusive', 'succeeded', 'succeeded'] as const) {
      const answer = judged(incident, state)
      incident = answer.incident
      told.push(answer.tell)
    }
    expect(told).toEqual(['failure', null, null, 'recovery', 'success'])
  })

  it('a verdict that a backup is bad - told at once, and each time', () => {
    const first = judged(null, 'failed', { retryAt: retry, isVerdict: true })
    expect([first.tell, judged(first.incident, 'failed', { isVerdict: true }).tell]).toEqual(['failure', 'failure'])
  })

  it.each(['cancelled', 'running', 'queued'] as const)('%s - changes nothing', (state) => {
    const failing = judged(null, 'failed').incident
    expect(judged(failing, state)).toEqual({ tell: null, incident: failing })
    expect(judged(null, state)).toEqual({ tell: null, incident: null })
  })

  it('whatever happens - failures and recoveries alternate, and end well exactly if the last run did', () => {
    const step = fc.record({
      state: fc.constantFrom<RunState>('succeeded', 'failed', 'inconclusive', 'cancelled'),
      isRetried: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let incident: Incident | null = null
        const told: string[] = []
        for (const { state, isRetried } of steps) {
          const answer = judged(incident, state, { retryAt: isRetried ? retry : null })
          incident = answer.incident
          if (answer.tell !== null && answer.tell !== 'success') told.push(answer.tell)
        }
        expect(told).toEqual(told.map((_, index) => (index % 2 === 0 ? 'failure' : 'recovery')))
        const last = steps.findLast(({ state }) => state !== 'cancelled')
        if (last?.state === 'succeeded') expect(told.length % 2).toBe(0)
        if (last !== undefined && last.state !== 'succeeded' && !last.isRetried) expect(told.length % 2).toBe(1)
      }),
    )
  })
})

describe('what a condition means', () => {
  const minuteMs = 60_000
  const at = (minute: number): Date => new Date(Date.UTC(2026, 10, 20, 0, minute))
  const down = (changes: Partial<Holding> = {}): Holding => {
    return { key: 'down', since: null, patienceMs: 10 * minuteMs, remindEveryMs: 1440 * minuteMs, level: 0, ...changes }
  }

  /** What is told at which minute, when the condition is what `timeline` says then. */
  function told(timeline: readonly (readonly [minute: number, Holding | null])[], exists = true): string[] {
    let held: ReadonlyMap<string, Held<Holding>> = new Map()
    return timeline.flatMap(([minute, condition]) => {
      const question = { now: at(minute), newId: () => 'i', exists: () => exists }
      const answer = judgeConditions(held, condition === null ? [] : [condition], question)
      held = answer.held
      return answer.tell.map(({ event, isReminder }) => `${minute} ${isReminder ? 'again' : event}`)
    })
  }

  it('shorter than its patience - nothing, neither its end', () => {
    expect(
      told([
        [0, down()],
        [9, down()],
        [11, null],
      ]),
    ).toEqual([])
  })

  it('longer - told once, again every day, and its end', () => {
    const timeline = [0, 10, 20, 1449, 1450, 2889, 2890].map((minute) => [minute, down()] as const)
    expect(told([...timeline, [2891, null], [2892, null]])).toEqual([
      '10 failure',
      '1450 again',
      '2890 again',
      '2891 recovery',
    ])
  })

  it('it is known to have begun before - told at once', () => {
    expect(told([[0, down({ since: at(-60) })]])).toEqual(['0 failure'])
  })

  it('it gets worse - told anew', () => {
    const worse = [
      [0, down({ patienceMs: 0 })],
      [1, down({ patienceMs: 0, level: 1 })],
      [2, down({ patienceMs: 0, level: 1 })],
    ] as const
    expect(told(worse)).toEqual(['0 failure', '1 failure'])
  })

  it('what it was about is not configured any more - no recovery', () => {
    expect(
      told(
        [
          [0, down({ patienceMs: 0 })],
          [1, null],
        ],
        false,
      ),
    ).toEqual(['0 failure'])
  })
})
