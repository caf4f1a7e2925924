import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
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
    catalog.updateRun('running', { state: 'inconclusive' })
    expect(catalog.runs().map(({ id }) => id)).toEqual(['queued three', 'queued too', 'queued'])
  })

  it('the last attempt of a job - of that place alone, as it is now, and after the run is forgotten', () => {
    const catalog = new Catalog({ clock, runCapacity: 1 })
    catalog.addRun(run('a', 1))
    catalog.updateRun('a', { state: 'failed' })
    catalog.addRun(run('b', 2, { database: 'other', state: 'succeeded' }))
    catalog.addRun(run('c', 3, { job: 'roles', database: null, state: 'succeeded' }))
    expect(catalog.findRun('a')).toBeUndefined()
    expect(catalog.lastAttempt('main', 'app', 'backup')).toMatchObject({ id: 'a', state: 'failed' })
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
