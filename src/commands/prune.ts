import { describeKeepReason, type RetentionPolicy } from '../domain/retention.ts'
import { assertNotAborted, toPgproofError } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import { type PruneGroup, type PrunePlan, planPrune, runPrune } from '../jobs/prune.ts'
import type { Answer, CommandContext } from './context.ts'
import type { JsonDocument } from './documents.ts'
import { openConfig, openInstallation } from './open.ts'
import { type Cell, counted, formatAge, formatBytes, formatTable, type Painter, printable } from './print.ts'
import { placeName } from './target.ts'

export type PruneFlags = { readonly dryRun?: boolean }

/** Every backup with the reason to keep it or none, then what was removed. A dry run removes nothing. */
export async function pruneCommand(context: CommandContext, flags: PruneFlags): Promise<Answer> {
  const isDryRun = flags.dryRun === true
  const config = await openConfig(context)
  await using wired = await openInstallation(context, config, { writes: !isDryRun, needsCatalog: true })
  const { installation } = wired
  const planned = planPrune({ isDryRun }, installation)
  // Said before anything is removed, so that it is known even if the removal fails.
  if (!isDryRun) context.say(`${planText(planned, installation, context.paint)}\n`)
  try {
    using _pruning = context.progress.begin('prune')
    const { plan, removed } = await runPrune({ isDryRun }, installation, context.signal)
    const document = { isDryRun, ...planDocument(plan), removed }
    const dryRunText = `${planText(plan, installation, context.paint)}\n\nA dry run: nothing was removed.`
    return { document, text: isDryRun ? dryRunText : removedText(plan, removed) }
  } catch (thrown) {
    assertNotAborted(context.signal, 'the prune')
    return { document: { isDryRun, ...planDocument(planned) }, error: toPgproofError(thrown) }
  }
}

function planText(plan: PrunePlan, { clock }: Installation, paint: Painter): string {
  const now = clock.now()
  const sections = plan.groups.map((group) => {
    const title = `${paint(printable(placeName(group)), 'strong')}: the policy keeps ${policyText(group.policy)}`
    return `${title}\n${decisionTable(group, now, paint)}`
  })
  if (plan.orphanFolders.length > 0)
    sections.push(`Orphans to remove\n${plan.orphanFolders.map((folder) => `  ${printable(folder)}`).join('\n')}`)
  if (plan.oldReports.length > 0)
    sections.push(
      `Drill reports to remove: older than drill.keepReports, and their backups are gone\n${plan.oldReports
        .map((report) => `  ${report.label} of ${printable(placeName(report))}`)
        .join('\n')}`,
    )
  if (plan.oldFullReports.length > 0)
    sections.push(
      `Reports of full drills to remove: older than drill.keepReports\n${plan.oldFullReports
        .map(({ server, label }) => `  ${label} of ${printable(server)}`)
        .join('\n')}`,
    )
  return sections.length === 0 ? 'There is nothing in the store to decide about.' : sections.join('\n\n')
}

function decisionTable({ decisions }: PruneGroup, now: Date, paint: Painter): string {
  const rows = decisions.map(({ label, snapshotTime, keep, reasons, storedBytes }): Cell[] => [
    '',
    keep ? { text: 'keep', tone: 'good' } : { text: 'remove', tone: 'bad' },
    label,
    formatAge(snapshotTime, now),
    formatBytes(storedBytes),
    keep ? reasons.map(describeKeepReason).join(', ') : 'no rule keeps it',
  ])
  const right = { title: '', align: 'right' } as const
  return formatTable([{ title: '' }, { title: '' }, { title: '' }, right, right, { title: '' }], rows, paint)
}

/** `last 3, daily 7`: the rules that are not switched off. */
function policyText(policy: RetentionPolicy): string {
  return Object.entries(policy)
    .filter(([, count]) => count > 0)
    .map(([rule, count]) => `${rule} ${count}`)
    .join(', ')
}

function removedText({ groups }: PrunePlan, removed: readonly string[]): string {
  if (removed.length === 0) return 'Nothing was removed.'
  const sizes = new Map(
    groups.flatMap(({ decisions }) => decisions.map(({ label, storedBytes }) => [label, storedBytes] as const)),
  )
  const backups = removed.filter((what) => sizes.has(what))
  const bytes = backups.reduce((sum, label) => sum + (sizes.get(label) ?? 0), 0)
  const leftovers = removed.length - backups.length
  const parts = [`${counted(backups.length, 'backup')} of ${formatBytes(bytes)}`]
  if (leftovers > 0) parts.push(`${counted(leftovers, 'leftover')} (orphans, old drill reports)`)
  return `Removed ${parts.join(' and ')}.`
}

function planDocument(plan: PrunePlan): JsonDocument {
  return {
    groups: plan.groups.map(({ kind, server, database, policy, decisions }) => ({
      kind,
      server,
      database,
      policy,
      backups: decisions.map(({ label, snapshotTime, keep, reasons, storedBytes }) => ({
        label,
        snapshotTime: snapshotTime.toISOString(),
        keep,
        reasons: reasons.map(describeKeepReason),
        storedBytes,
      })),
    })),
    orphanFolders: plan.orphanFolders,
    oldReports: plan.oldReports,
    oldFullReports: plan.oldFullReports,
  }
}
