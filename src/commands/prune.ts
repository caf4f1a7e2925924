import { describeKeepReason, describePolicy } from '../domain/retention.ts'
import { assertNotAborted, toPgproofError } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import type { PruneGroup, PrunePlan } from '../jobs/plan-prune.ts'
import { type Removed, runPrune } from '../jobs/prune.ts'
import type { Answer, CommandContext } from './context.ts'
import type { JsonDocument } from './documents.ts'
import { openConfig, openInstallation } from './open.ts'
import { type Cell, counted, formatAge, formatBytes, formatTable, type Painter, printable } from './print.ts'
import { placeName } from './target.ts'

export type PruneFlags = { readonly dryRun?: boolean; readonly force?: boolean; readonly in?: string }

/** Every backup with the reason to keep it or none, then what was removed. A dry run removes nothing. */
export async function pruneCommand(context: CommandContext, flags: PruneFlags): Promise<Answer> {
  const isDryRun = flags.dryRun === true
  const config = await openConfig(context, undefined, { drillsNothing: true })
  await using wired = await openInstallation(context, config, {
    // One store may be pruned while another one is missing.
    writes: !isDryRun && flags.in === undefined,
    // The prune itself reads the stores first.
    needsCatalog: false,
  })
  const { installation } = wired
  const request = { isDryRun, isForced: flags.force === true, store: flags.in }
  const stated: { plan?: PrunePlan } = {}
  // Said before anything is removed, so that it is known even if the removal fails.
  const onPlan = (plan: PrunePlan): void => {
    stated.plan = plan
    if (!isDryRun) context.say(`${planText(plan, installation, context.paint)}\n`)
  }
  try {
    using _pruning = context.progress.begin('prune')
    const { plan, removed, heldBack } = await runPrune(request, { ...installation, onPlan }, context.signal)
    const document = { isDryRun, ...planDocument(plan), removed, heldBack: heldBack?.message ?? null }
    const wouldNot = heldBack === null ? '' : ` A real one: ${heldBack.message}; --force goes on.`
    const dryRunText = `${planText(plan, installation, context.paint)}\n\nA dry run: nothing was removed.${printable(wouldNot)}`
    return { document, text: isDryRun ? dryRunText : removedText(plan, removed) }
  } catch (thrown) {
    assertNotAborted(context.signal, 'the prune')
    const document = stated.plan === undefined ? { isDryRun } : { isDryRun, ...planDocument(stated.plan) }
    return { document, error: toPgproofError(thrown) }
  }
}

function planText(plan: PrunePlan, { clock, stores }: Installation, paint: Painter): string {
  const now = clock.now()
  const inStore = ({ store }: { readonly store: string }): string =>
    stores.named.length === 1 ? '' : ` in store ${store}`
  const sections = plan.groups.map((group) => {
    const title = `${paint(printable(placeName(group)), 'strong')}${inStore(group)}: the policy keeps ${describePolicy(group.policy)}`
    return `${title}\n${decisionTable(group, now, paint)}`
  })
  if (plan.orphanFolders.length > 0)
    sections.push(
      `Orphans to remove\n${plan.orphanFolders.map((one) => `  ${printable(one.folder)}${inStore(one)}`).join('\n')}`,
    )
  if (plan.oldReports.length > 0)
    sections.push(
      `Drill reports to remove: older than drill.keepReports, and their backups are gone\n${plan.oldReports
        .map((report) => {
          const of = report.database === null ? `all of ${report.server}` : placeName(report)
          return `  ${report.label} of ${printable(of)}${inStore(report)}`
        })
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

function removedText({ groups }: PrunePlan, removed: readonly Removed[]): string {
  const lines = removed.flatMap(({ store, backups, leftovers, freedBytes, hiddenBytes }) => {
    if (backups.length + leftovers.length === 0) return []
    const parts = [counted(backups.length, 'backup')]
    if (leftovers.length > 0) parts.push(`${counted(leftovers.length, 'leftover')} (orphans, old drill reports)`)
    const where = removed.length === 1 ? '' : ` from store ${printable(store)}`
    const freed = `Removed ${parts.join(' and ')}${where}: ${formatBytes(freedBytes)} freed.`
    if (hiddenBytes === 0) return [freed]
    const hidden = `${formatBytes(hiddenBytes)} are still there as earlier versions, because the bucket keeps them (store.versions).`
    return [`${freed} ${hidden}`]
  })
  const isHeldBack = groups.some(({ decisions }) =>
    decisions.some(({ reasons }) => reasons.some(({ rule }) => rule === 'held back')),
  )
  const heldBack = isHeldBack
    ? ['Some stay only because this prune holds back, for the reason said; --force removes them.']
    : []
  return [...(lines.length === 0 ? ['Nothing was removed.'] : lines), ...heldBack].join('\n')
}

function planDocument(plan: PrunePlan): JsonDocument {
  return {
    groups: plan.groups.map(({ store, kind, server, database, policy, decisions }) => ({
      store,
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
    orphanFolders: plan.orphanFolders.map(({ store, folder }) => ({ store, folder })),
    oldReports: plan.oldReports.map(({ store, server, database, label }) => ({ store, server, database, label })),
  }
}
