import type { Catalog } from '../catalog/catalog.ts'
import { type PlannedJob, type Run, stillScheduled } from '../catalog/runs.ts'
import type { Config, NotifyConfig } from '../config/config.ts'
import { isConfigured } from '../jobs/installation.ts'

/** What is known of jobs and places at one moment. */
export type Surroundings = {
  readonly catalog: Catalog
  readonly config: Pick<Config, 'servers'>
  readonly planned: readonly PlannedJob[]
  /** When this process began to look. */
  readonly lookingSince: Date
  readonly now: Date
}

/** A job and where it is done; prunes and syncs of everything have an empty server. */
export type JobPlace = Pick<Run, 'job' | 'server' | 'database'>

export function jobPlaceKey({ job, server, database }: JobPlace): string {
  return JSON.stringify([job, server, database])
}

/**
 * Whether the configuration has it, and whether a schedule that says which databases there are still has it. Without such a
 * schedule, what one ordered is looked after no more, and what somebody ordered by hand is.
 */
export function isLookedAfter(run: Run, { config, planned }: Pick<Surroundings, 'config' | 'planned'>): boolean {
  const { job, server, database } = run
  if (server === '') return true
  const configured = config.servers.find(({ name }) => name === server)
  if (configured === undefined || (database !== null && !isConfigured(configured, database))) return false
  if (job === 'prune' || job === 'sync' || configured.schedule[job] === undefined) return stillScheduled(planned)(run)
  const key = jobPlaceKey(run)
  return planned.some((one) => jobPlaceKey(one) === key)
}

/** Whether an entry of `notify` is about that job and server; what is about neither goes to entries without a filter. */
export function concerns(
  { jobs, servers }: Pick<NotifyConfig, 'jobs' | 'servers'>,
  { job, server }: { readonly job: Run['job'] | null; readonly server: string | null },
): boolean {
  if (jobs !== null && (job === null || !jobs.includes(job))) return false
  return servers === null || (server !== null && servers.includes(server))
}

/** What the store shows to have succeeded since a run failed, as a run: another process may have done it. */
export function storedSuccess(failed: Run, catalog: Catalog): Run | null {
  const stored = newestSuccess(failed, catalog)
  if (stored === null || stored.at <= (failed.finishedAt ?? failed.queuedAt)) return null
  return { ...failed, state: 'succeeded', error: null, finishedAt: stored.at, label: stored.label }
}

function newestSuccess({ job, server, database }: JobPlace, catalog: Catalog): { label: string; at: Date } | null {
  if (job === 'drill' && database !== null) {
    const passed = catalog.drills({ server, database }).find(({ verdict }) => verdict === 'passed')
    return passed === undefined ? null : { label: passed.label, at: new Date(passed.finishedAt) }
  }
  if (job !== 'roles' && (job !== 'backup' || database === null)) return null
  const kind = job === 'roles' ? 'roles' : 'database'
  const newest = catalog.backups({ kind, server, ...(database === null ? {} : { database }) })[0]
  return newest === undefined ? null : { label: newest.manifest.label, at: new Date(newest.manifest.finishedAt) }
}
