import type { Catalog } from './catalog.ts'
import { isFailure, isPrunedSince, isPruneOfAll, type Run } from './runs.ts'

export type FailedRun = {
  readonly run: Run
  /** Whether the same job has succeeded at the same place since, or a prune of everything, here or in another process. */
  readonly isOver: boolean
}

/**
 * The newest `count` runs of this process that did not succeed, newest first, and the older ones that are the last word
 * on their job and place: a database that fails all the time hides no other. Those that do not matter are left out.
 */
export function readFailedRuns(
  catalog: Catalog,
  count: number,
  matters: (run: Run) => boolean = () => true,
): FailedRun[] {
  const succeeded = new Set<string>()
  const seen = new Set<string>()
  const prunesOfAll = catalog.runs().filter((run) => isPruneOfAll(run) && run.state === 'succeeded')
  const failed: FailedRun[] = []
  let found = 0
  for (const run of catalog.runs()) {
    const key = JSON.stringify([run.job, run.server, run.database])
    if (run.state === 'succeeded') succeeded.add(key)
    if (!isFailure(run) || !matters(run)) continue
    found += 1
    if (found > count && (seen.has(key) || succeeded.has(key))) continue
    seen.add(key)
    const isPruned = prunesOfAll.some((ofAll) => isPrunedSince(run, ofAll))
    const isOver = succeeded.has(key) || isPruned || hasSucceededSince(run, catalog)
    if (found <= count || !isOver) failed.push({ run, isOver })
  }
  return failed
}

/** By hand, or by a process before this one. */
function hasSucceededSince(run: Run, catalog: Catalog): boolean {
  const newest = newestSuccess(run, catalog)
  return newest !== null && run.finishedAt !== null && newest > run.finishedAt
}

function newestSuccess({ job, server, database }: Run, catalog: Catalog): Date | null {
  if (job === 'drill' && database !== null) {
    const passed = catalog.drills({ server, database }).find(({ verdict }) => verdict === 'passed')
    return passed === undefined ? null : new Date(passed.finishedAt)
  }
  if (job !== 'roles' && (job !== 'backup' || database === null)) return null
  const place = database === null ? { kind: 'roles' as const, server } : { kind: 'database' as const, server, database }
  const [newest] = catalog.backups(place)
  return newest === undefined ? null : new Date(newest.manifest.finishedAt)
}
