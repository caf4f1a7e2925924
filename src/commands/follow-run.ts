import type { CatalogBackup } from '../catalog/catalog.ts'
import type { Run } from '../catalog/runs.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { Installation } from '../jobs/installation.ts'
import type { CommandContext } from './context.ts'
import { placeName } from './target.ts'

/** What the same job took before, for estimates. */
export type Before = { readonly backup?: CatalogBackup | undefined; readonly drill?: DrillReport | undefined }

/** Shows the progress of one run, as the catalog learns of it, until the scope ends. */
export function followRun(run: Run, before: Before, installation: Installation, context: CommandContext): Disposable {
  const activity = context.progress.begin(titleOf(run))
  const unwatch = installation.catalog.watchRuns((changed) => {
    // The prune after a backup is a run of its own.
    if (changed.job === 'prune' && changed.state === 'running') activity.update({ phase: 'prune' })
    else if (changed.id === run.id && changed.progress !== null)
      activity.update(
        run.job === 'backup' || run.job === 'roles'
          ? backupState(changed.progress, before)
          : drillState(changed.progress, before),
      )
  })
  return {
    [Symbol.dispose]: () => {
      unwatch()
      activity[Symbol.dispose]()
    },
  }
}

function titleOf(run: Run): string {
  if (run.job === 'sync') return 'sync'
  return `${run.job === 'roles' ? 'backup' : run.job} of ${placeName(run)}`
}

type Known = NonNullable<Run['progress']>
type State = Parameters<ReturnType<CommandContext['progress']['begin']>['update']>[0]

function backupState({ dumpBytes, tablesDone, tablesTotal }: Known, { backup }: Before): State {
  return {
    doneBytes: dumpBytes,
    totalBytes: backup?.manifest.dump.bytes,
    isEstimate: true,
    note: tablesTotal === undefined ? undefined : `${tablesDone ?? 0} of ${tablesTotal} tables counted`,
  }
}

function drillState({ phase, doneBytes, totalBytes }: Known, { drill }: Before): State {
  if (phase === 'fetch' || phase === 'copy') return { phase, doneBytes, totalBytes }
  return { phase, usualSeconds: drill?.phases.find(({ name }) => name === phase)?.seconds }
}
