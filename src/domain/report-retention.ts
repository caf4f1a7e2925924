import type { Verdict } from './drill-report.ts'

/** One drill report in the store, or one of a full drill. */
export type StoredReport = {
  readonly label: string
  readonly server: string
  /** Null for the report of a full drill. */
  readonly database: string | null
  readonly finishedAt: Date
  /** Null where it was not read. */
  readonly verdict: Verdict | null
  /** Labels of the backups that it speaks of: the one that was drilled, and its roles backup. */
  readonly backups: readonly string[]
}

export type ReportReason = {
  readonly rule: 'of a backup' | 'recent' | 'newest' | 'newest passed' | 'newest failed'
  readonly detail: string | null
}

export type ReportDecision = {
  readonly report: StoredReport
  readonly keep: boolean
  /** At least one for a kept report, none for one to remove. */
  readonly reasons: readonly ReportReason[]
}

export type ReportQuestion = {
  readonly reports: readonly StoredReport[]
  /** Labels of all backups in the store. A report goes after its backup, never before it. */
  readonly backups: ReadonlySet<string>
  /** `drill.keepReports`, in milliseconds. */
  readonly keepMs: number
  readonly now: Date
}

/**
 * Which drill reports to keep and why, in the order given. A report stays as long as one of its backups, and for
 * `keepMs` in any case. Of each database, and of each server's full drills, the newest report stays for ever, and so do
 * the newest that passed and the newest that failed: if a failed one went before one that passed, the database would
 * look proven again.
 */
export function decideReports({ reports, backups, keepMs, now }: ReportQuestion): readonly ReportDecision[] {
  const newest = newestOfEach(reports.filter(({ finishedAt }) => finishedAt <= now))
  return reports.map((report) => {
    const reasons: ReportReason[] = [...(newest.get(report) ?? [])]
    const alive = report.backups.find((label) => backups.has(label))
    if (alive !== undefined) reasons.push({ rule: 'of a backup', detail: alive })
    // Said this way round, a time that is no time keeps the report.
    const isOld = now.getTime() - report.finishedAt.getTime() > keepMs
    if (!isOld) reasons.push({ rule: 'recent', detail: null })
    return { report, keep: reasons.length > 0, reasons }
  })
}

function newestOfEach(reports: readonly StoredReport[]): ReadonlyMap<StoredReport, readonly ReportReason[]> {
  const reasons = new Map<StoredReport, ReportReason[]>()
  const seen = new Set<string>()
  const ordered = reports.toSorted(
    (a, b) => b.finishedAt.getTime() - a.finishedAt.getTime() || (a.label < b.label ? 1 : -1),
  )
  for (const report of ordered) {
    const { server, database, verdict } = report
    const rules: ReportReason['rule'][] = ['newest']
    if (verdict === 'passed') rules.push('newest passed')
    if (verdict === 'failed') rules.push('newest failed')
    for (const rule of rules) {
      const key = JSON.stringify([server, database, rule])
      if (seen.has(key)) continue
      seen.add(key)
      reasons.set(report, [...(reasons.get(report) ?? []), { rule, detail: null }])
    }
  }
  return reasons
}
