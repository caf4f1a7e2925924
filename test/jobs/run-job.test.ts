import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { Run } from '../../src/catalog/runs.ts'
import { PgproofError } from '../../src/errors.ts'
import { type JobEnd, newRun, type RunParts, runJob } from '../../src/jobs/run-job.ts'
import { silentLog } from '../../src/log.ts'
import { clock, signal } from '../catalog/stored.ts'

const hour = { deadlineMs: 3_600_000 }

function runParts(): RunParts {
  return { catalog: new Catalog({ clock }), clock, log: silentLog }
}

/** What comes of it, and whether any work was done. */
async function outcome(run: Run, parts: RunParts, until = signal): Promise<{ end: string; isBegun: boolean }> {
  let isBegun = false
  const work = async (): Promise<JobEnd> => {
    isBegun = true
    return { label: null }
  }
  const end = await runJob(run, hour, work, parts, until).then(
    () => 'done',
    (error: unknown) => (error instanceof PgproofError ? error.code : String(error)),
  )
  return { end, isBegun }
}

describe('a run', () => {
  it('cancelled before it begins - CANCELLED on record, and nothing is done', async () => {
    const parts = runParts()
    const run = newRun({ job: 'backup', server: 'main', database: 'app', trigger: 'cli' }, parts)
    const cancelled = AbortSignal.abort(new PgproofError('CANCELLED', { what: 'backup of main/app' }))
    expect(await outcome(run, parts, cancelled)).toEqual({ end: 'CANCELLED', isBegun: false })
    expect(parts.catalog.runs()).toMatchObject([{ state: 'cancelled', error: { code: 'CANCELLED' } }])
  })

  it.each([
    ['backup', undefined, 'LOCKED'],
    ['drill', undefined, 'LOCKED'],
    ['backup', 'worker-1', 'LOCKED'],
    // In a fleet the queue sorts that out, and a drill is of other machines than a backup.
    ['drill', 'worker-1', 'done'],
    ['backup', 'worker-2', 'done'],
  ] as const)('beside a %s of the same database, of worker %s - %s', async (job, worker, end) => {
    const parts = runParts()
    const spec = { server: 'main', database: 'app', trigger: 'schedule' } as const
    const other = newRun({ ...spec, job }, parts)
    parts.catalog.addRun({ ...other, id: 'other', state: 'running', ...(worker === undefined ? {} : { worker }) })
    const own: Run = { ...newRun({ ...spec, job: 'backup' }, parts), worker: 'worker-1' }
    expect((await outcome(own, parts)).end).toBe(end)
  })
})
