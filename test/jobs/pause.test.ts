import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { PgproofError } from '../../src/errors.ts'
import { pauseSchedules, resumeSchedules } from '../../src/jobs/pause.ts'
import { runPrune } from '../../src/jobs/prune.ts'
import { signal } from '../catalog/stored.ts'
import { fail, twoStores } from './two-stores.ts'

const dayMs = 86_400_000

/** Two stores and a clock that can be put on. */
async function paused(options: { isRequired?: boolean } = {}) {
  let time = Date.parse('2026-11-20T12:00:00Z')
  const clock = { now: () => new Date(time), monotonicMs: () => time, sleep: async () => {} }
  const test = await twoStores({ clock, ...options })
  const { installation } = test
  return {
    ...test,
    passDays: (days: number) => {
      time += days * dayMs
    },
    pause: () =>
      pauseSchedules(
        { server: 'main', database: null, forMs: dayMs, reason: 'maintenance', by: 'ops@db2' },
        installation,
        signal,
      ),
    /** What a process that starts now knows. */
    seen: async () => {
      const catalog = new Catalog({ clock })
      await catalog.refresh(installation.stores, signal)
      return catalog.pauses().map(({ label }) => label)
    },
    prune: () => runPrune({ isDryRun: false }, installation, signal),
    [Symbol.asyncDispose]: test[Symbol.asyncDispose],
  }
}

const keysOf = (store: { keys(): string[] }): string[] => store.keys().filter((key) => key.startsWith('pauses/'))

describe('pauses in stores', () => {
  it('in every store, and read from any of them', async () => {
    await using test = await paused({ isRequired: false })
    const { label } = await test.pause()
    expect([keysOf(test.a), keysOf(test.b)]).toEqual([[`pauses/${label}.json`], [`pauses/${label}.json`]])
    test.a.objects.delete(`pauses/${label}.json`)
    expect(await test.seen()).toEqual([label])
  })

  it('nothing is written over or removed by a resume', async () => {
    await using test = await paused()
    const pause = await test.pause()
    const before = test.a.text(`pauses/${pause.label}.json`)
    const { label } = await resumeSchedules([pause], 'ops@db2', test.installation, signal)
    expect(test.a.text(`pauses/${pause.label}.json`)).toBe(before)
    expect(test.a.calls.filter((call) => call.startsWith('delete'))).toEqual([])
    expect(keysOf(test.a)).toHaveLength(2)
    expect(keysOf(test.b)).toContain(`pauses/${label}.json`)
    expect(await test.seen()).toEqual([])
  })

  it('a required store does not take it - the error of the store; an optional one - it holds all the same', async () => {
    for (const isRequired of [true, false]) {
      await using test = await paused({ isRequired })
      fail(test.b, ['put'])
      const labels = await test.pause().then(
        ({ label }) => [label],
        (error: PgproofError) => [error.code],
      )
      // What the other store has of a pause that could not be made counts for nothing.
      expect(labels).toEqual(isRequired ? ['STORE_UNREACHABLE'] : await test.seen())
      expect(await test.seen()).toHaveLength(isRequired ? 0 : 1)
    }
  })

  it('over for less than a month - kept; longer - the prune removes pause and resume, and nothing of strangers', async () => {
    await using test = await paused()
    await test.pause()
    const second = await test.pause()
    await resumeSchedules([second], 'ops@db2', test.installation, signal)
    for (const name of ['pauses/list.csv', 'pauses/notes.json'])
      await test.a.put(name, Buffer.from('somebody’s own'), { signal })
    test.passDays(30)
    await test.prune()
    expect(keysOf(test.a)).toHaveLength(5)
    test.passDays(2)
    await test.prune()
    expect(keysOf(test.a)).toHaveLength(3)
    test.passDays(40)
    await test.prune()
    expect(keysOf(test.a)).toEqual(['pauses/list.csv', 'pauses/notes.json'])
    expect(keysOf(test.b)).toEqual([])
  })
})
