import { toPgproofError } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import { newRun, runJob } from '../jobs/run-job.ts'
import { runSync, type SyncPlan, type SyncResult } from '../jobs/sync.ts'
import type { Answer, CommandContext } from './context.ts'
import type { JsonDocument } from './documents.ts'
import { followRun } from './follow-run.ts'
import { openConfig, openInstallation } from './open.ts'
import { counted, formatAge, formatBytes, type Painter, printable } from './print.ts'
import { placeName } from './target.ts'

export type SyncFlags = { readonly dryRun?: boolean; readonly to?: string }

/** Brings to each store what it lacks and another one has, and says what that was. */
export async function syncCommand(context: CommandContext, flags: SyncFlags): Promise<Answer> {
  const isDryRun = flags.dryRun === true
  const config = await openConfig(context, undefined, { drillsNothing: true })
  // The sync itself reads the stores first.
  await using wired = await openInstallation(context, config, { writes: !isDryRun, needsCatalog: false })
  const { installation } = wired
  const stated: { result?: SyncResult } = {}
  const onResult = (result: SyncResult): void => {
    stated.result = result
  }
  const run = newRun({ job: 'sync', server: '', database: null, trigger: 'cli' }, installation)
  try {
    using _following = followRun(run, {}, installation, context)
    const request = { store: flags.to, isDryRun }
    const end = await runJob(
      run,
      { deadlineMs },
      async (signal, onProgress) => {
        return { label: null, sync: await runSync(request, { ...installation, onResult }, signal, onProgress) }
      },
      installation,
      context.signal,
    )
    return { document: syncDocument(end.sync), text: syncText(end.sync, installation, context.paint) }
  } catch (thrown) {
    const error = toPgproofError(thrown, 'the sync')
    const { result } = stated
    if (result === undefined) return { document: { isDryRun, stores: [] }, error }
    // What could be copied is done, and whoever looks at what could not wants to know it.
    return { document: syncDocument(result), text: syncText(result, installation, context.paint), error }
  }
}

const deadlineMs = 24 * 3_600_000

function syncText({ plans, copied, isDryRun }: SyncResult, { clock, stores }: Installation, paint: Painter): string {
  if (stores.named.length === 1) return 'There is one store only; nothing to sync.'
  const now = clock.now()
  const sections = plans.map(({ store, backups, reports }) => {
    const title = paint(printable(store), 'strong')
    if (backups.length + reports.length === 0) return `${title}: lacks nothing`
    const done = copied.find((one) => one.store === store)
    const what = isDryRun
      ? `lacks ${counted(backups.length, 'backup')} and ${counted(reports.length, 'drill report')}`
      : `${counted(done?.labels.length ?? 0, 'backup')} copied, and ${counted(done?.reports ?? 0, 'object')} of drill reports`
    const lines = backups.map((backup) => {
      const { label } = backup.manifest
      const place = printable(placeName(backup.manifest))
      return `  ${label}  ${place}  ${formatAge(backup.snapshotTime, now)}  ${formatBytes(backup.storedBytes)}`
    })
    return [`${title}: ${what}`, ...lines].join('\n')
  })
  return [...sections, ...(isDryRun ? ['A dry run: nothing was copied.'] : [])].join('\n\n')
}

function syncDocument({ plans, copied, isDryRun }: SyncResult): JsonDocument {
  return {
    isDryRun,
    stores: plans.map(({ store, backups, reports }: SyncPlan) => ({
      store,
      lacking: backups.map(({ manifest: { kind, server, database, label } }) => ({ kind, server, database, label })),
      lackingReports: reports,
      copied: copied.find((one) => one.store === store)?.labels ?? [],
    })),
  }
}
