import type { CatalogBackup } from '../catalog/catalog.ts'
import type { Run } from '../catalog/runs.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { Installation } from '../jobs/installation.ts'
import type { CommandContext } from './context.ts'
import type { ProgressState } from './progress.ts'
import { placeName } from './target.ts'

/** What the same job took before, for estimates. */
export type Before = {
  readonly backup?:
    | { readonly manifest: { readonly dump: Pick<CatalogBackup['manifest']['dump'], 'bytes'> } }
    | undefined
  readonly drill?: Pick<DrillReport, 'phases'> | undefined
}

/** Shows the progress of one run, as the catalog learns of it, until the scope ends. */
export function followRun(run: Run, before: Before, installation: Installation, context: CommandContext): Disposable {
  const activity = context.progress.begin(titleOf(run))
  const unwatch = installation.catalog.watchRuns((changed) => {
    // The prune after a backup is a run of its own.
    if (changed.job === 'prune' && changed.state === 'running') activity.update({ phase: 'prune' })
    else if (changed.id === run.id && changed.progress !== null)
      activity.update(progressState(run, changed.progress, before))
  })
  return {
    [Symbol.dispose]: () => {
      unwatch()
      activity[Symbol.dispose]()
    },
  }
}

/** Of a run that has begun. */
export function progressState({ job }: Pick<Run, 'job'>, progress: Known, before: Before): ProgressState {
  return job === 'backup' || job === 'roles' ? backupState(progress, before) : drillState(progress, before)
}

/** `backup of main/shop`. */
export function titleOf(run: Pick<Run, 'job' | 'server' | 'database'>): string {
  if (run.job === 'sync') return 'sync'
  if (run.server === '') return `${run.job} of everything`
  return `${run.job === 'roles' ? 'backup' : run.job} of ${placeName(run)}`
}

type Known = NonNullable<Run['progress']>

function backupState({ dumpBytes, tablesDone, tablesTotal }: Known, { backup }: Before): ProgressState {
  return {
    doneBytes: dumpBytes,
    totalBytes: backup?.manifest.dump.bytes,
    isEstimate: true,
    note: tablesTotal === undefined ? undefined : `${tablesDone ?? 0} of ${tablesTotal} tables counted`,
  }
}

function drillState({ phase, doneBytes, totalBytes }: Known, { drill }: Before): ProgressState {
  if (phase === 'fetch' || phase === 'copy') return { phase, doneBytes, totalBytes }
  return { phase, usualSeconds: drill?.phases.find(({ name }) => name === phase)?.seconds }
}
