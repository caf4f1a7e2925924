import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { readFailedRuns } from '../../src/catalog/failed-runs.ts'
import type { Run } from '../../src/catalog/runs.ts'
import { clock } from './stored.ts'

function run(id: string, second: number, changes: Partial<Run> = {}): Run {
  return {
    id,
    job: 'backup',
    server: 'main',
    database: 'app',
    trigger: 'schedule',
    attempt: 1,
    state: 'queued',
    queuedAt: new Date(second * 1000),
    startedAt: null,
    finishedAt: null,
    label: null,
    error: null,
    progress: null,
    ...changes,
  }
}

describe('runs of this process', () => {
  it('added and updated - found as they are now, newest first', () => {
    const catalog = new Catalog({ clock })
    catalog.addRun(run('a', 1))
    catalog.addRun(run('b', 2, { job: 'drill' }))
    const error = { code: 'DUMP_FAILED', message: 'pg_dump failed', hint: 'look' }
    const failed = catalog.updateRun('a', { state: 'failed', finishedAt: new Date(9000), error })
    expect(failed).toMatchObject({ id: 'a', state: 'failed', error })
    expect(catalog.findRun('a')).toEqual(failed)
    expect(catalog.runs().map(({ id }) => id)).toEqual(['b', 'a'])
    expect([catalog.findRun('c'), catalog.updateRun('c', { state: 'failed' })]).toEqual([undefined, undefined])
  })

  it('more than fit - finished ones are forgotten oldest first, unfinished ones never', () => {
    const catalog = new Catalog({ clock, runCapacity: 3 })
    catalog.addRun(run('queued', 1))
    catalog.addRun(run('running', 2, { state: 'running' }))
    for (let index = 3; index < 10; index += 1) catalog.addRun(run(`done ${index}`, index, { state: 'succeeded' }))
    expect(catalog.runs().map(({ id }) => id)).toEqual(['done 9', 'running', 'queued'])
    catalog.addRun(run('queued too', 10))
    catalog.addRun(run('queued three', 11))
    expect(catalog.runs().map(({ id }) => id)).toEqual(['queued three', 'queued too', 'running', 'queued'])
    catalog.updateRun('running', { state: 'cancelled' })
    expect(catalog.runs().map(({ id }) => id)).toEqual(['queued three', 'queued too', 'queued'])
  })

  it('failures that are the last word on their place - are kept besides as many others as fit, until they are over', () => {
    const catalog = new Catalog({ clock, runCapacity: 2 })
    const ids = (): string[] => catalog.runs().map(({ id }) => id)
    const failed = (id: string, second: number, changes: Partial<Run> = {}): Run =>
      run(id, second, { state: 'failed', finishedAt: new Date(second * 1000), ...changes })
    const others = (count: number, second: number): void => {
      for (let index = 0; index < count; index += 1)
        catalog.addRun(run(`${second + index}`, second + index, { database: 'other', state: 'succeeded' }))
    }
    catalog.addRun(failed('first', 1))
    catalog.addRun(failed('last', 2))
    catalog.addRun(failed('drill', 3, { job: 'drill', state: 'inconclusive' }))
    catalog.addRun(run('cancelled', 4, { state: 'cancelled' }))
    catalog.addRun(run('tried again', 5, { job: 'drill', state: 'running' }))
    others(1000, 10)
    expect(ids()).toEqual(['1009', 'tried again', 'drill', 'last'])
    expect(readFailedRuns(catalog, 1).map(({ run: { id }, isOver }) => [id, isOver])).toEqual([
      ['drill', false],
      ['last', false],
    ])
    catalog.updateRun('tried again', { state: 'succeeded', finishedAt: new Date(1_100_000) })
    catalog.addRun(run('succeeded', 1200, { state: 'succeeded' }))
    others(2, 1300)
    expect(ids()).toEqual(['1301', '1300'])
  })

  it('a prune failed after a backup, and the one of everything succeeded since - its failure is over, and is forgotten', () => {
    const catalog = new Catalog({ clock, runCapacity: 3 })
    const prune = (id: string, second: number, changes: Partial<Run>): void =>
      catalog.addRun(run(id, second, { job: 'prune', finishedAt: new Date(second * 1000), ...changes }))
    const failures = (): unknown[] => readFailedRuns(catalog, 20).map(({ run: { id }, isOver }) => [id, isOver])
    prune('backup', 0, { job: 'backup', state: 'failed' })
    prune('after a backup', 1, { state: 'failed' })
    prune('of a server', 2, { server: 'other', database: null, state: 'succeeded' })
    expect(failures()).toEqual([
      ['after a backup', false],
      ['backup', false],
    ])
    prune('of everything', 3, { server: '', database: null, state: 'succeeded' })
    prune('later', 4, { database: 'other', state: 'failed' })
    expect(failures()).toEqual([
      ['later', false],
      ['after a backup', true],
      ['backup', false],
    ])
    for (let index = 5; index < 9; index += 1) prune(`done ${index}`, index, { job: 'drill', state: 'succeeded' })
    expect(failures()).toEqual([
      ['later', false],
      ['backup', false],
    ])
  })

  it('as many open failures as fit, and more - leave their room to others', () => {
    const catalog = new Catalog({ clock, runCapacity: 2 })
    for (let index = 0; index < 5; index += 1)
      catalog.addRun(run(`failed ${index}`, index, { database: `${index}`, state: 'failed' }))
    for (let index = 5; index < 9; index += 1) catalog.addRun(run(`done ${index}`, index, { state: 'succeeded' }))
    expect(catalog.runs().map(({ id }) => id)).toEqual([
      ...['done 8', 'done 7'],
      ...['failed 4', 'failed 3', 'failed 2', 'failed 1', 'failed 0'],
    ])
  })

  it('the last attempt of a job - of that place alone, as it is now, and after the run is forgotten', () => {
    const catalog = new Catalog({ clock, runCapacity: 1 })
    catalog.addRun(run('a', 1))
    catalog.updateRun('a', { state: 'cancelled' })
    catalog.addRun(run('b', 2, { database: 'other', state: 'succeeded' }))
    catalog.addRun(run('c', 3, { job: 'roles', database: null, state: 'succeeded' }))
    expect(catalog.findRun('a')).toBeUndefined()
    expect(catalog.lastAttempt('main', 'app', 'backup')).toMatchObject({ id: 'a', state: 'cancelled' })
    expect(catalog.lastAttempt('main', 'other', 'backup')?.id).toBe('b')
    expect(catalog.lastAttempt('main', null, 'roles')?.id).toBe('c')
    expect(catalog.lastAttempt('main', 'app', 'drill')).toBeUndefined()
  })

  it('an older run that changes late - does not become the last attempt', () => {
    const catalog = new Catalog({ clock })
    catalog.addRun(run('old', 1))
    catalog.addRun(run('new', 2))
    catalog.updateRun('old', { state: 'cancelled' })
    expect(catalog.lastAttempt('main', 'app', 'backup')?.id).toBe('new')
  })

  it('a watcher - sees every change until it stops', () => {
    const catalog = new Catalog({ clock })
    const seen: string[] = []
    const stop = catalog.watchRuns(({ id, state }) => seen.push(`${id} ${state}`))
    catalog.addRun(run('a', 1))
    catalog.updateRun('a', { state: 'running' })
    stop()
    catalog.updateRun('a', { state: 'succeeded' })
    expect(seen).toEqual(['a queued', 'a running'])
  })
})
