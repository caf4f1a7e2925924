import type { DrillReport, Verdict } from '../domain/drill-report.ts'
import { backupFolder } from '../storage/object-keys.ts'
import type { StoredBackup } from './contents.ts'

/** What drills have shown of one backup. */
export type Proof = {
  /** End of the newest drill that passed, unless one failed since: a failed drill takes the proof back. */
  readonly verifiedAt: Date | null
  /** End of the newest drill, whatever its verdict. */
  readonly lastDrilledAt: Date | null
  readonly lastVerdict: Verdict | null
}

/**
 * The proof of every backup, from all reports. A report counts for a backup only if it is of the very manifest that is in
 * the store now. A roles backup is proven by the drills that passed with its roles compared; one that failed does not say whether
 * the roles were to blame, and takes nothing back.
 */
export function collectProofs(
  reports: Iterable<DrillReport>,
): (backup: Pick<StoredBackup, 'folder' | 'manifestSha256'>) => Proof {
  const proofs = new Map<string, Proof>()
  const timed = Array.from(reports, (report) => ({ report, finishedAt: new Date(report.finishedAt) }))
  timed.sort((a, b) => a.finishedAt.getTime() - b.finishedAt.getTime())
  for (const { report, finishedAt } of timed) {
    const { server, database, verdict, backup, rolesBackup } = report
    const drilled = backupFolder({ kind: 'database', server, database, label: backup.label }) + backup.manifestSha256
    const verifiedBefore = proofs.get(drilled)?.verifiedAt ?? null
    const verifiedAt = verdict === 'passed' ? finishedAt : verdict === 'failed' ? null : verifiedBefore
    proofs.set(drilled, { verifiedAt, lastDrilledAt: finishedAt, lastVerdict: verdict })
    if (rolesBackup === null) continue
    const rolesFolder = backupFolder({ kind: 'roles', server, database: null, label: rolesBackup.label })
    const roles = rolesFolder + rolesBackup.manifestSha256
    const rolesVerifiedAt = verdict === 'passed' ? finishedAt : (proofs.get(roles)?.verifiedAt ?? null)
    proofs.set(roles, { verifiedAt: rolesVerifiedAt, lastDrilledAt: finishedAt, lastVerdict: verdict })
  }
  return ({ folder, manifestSha256 }) => proofs.get(folder + manifestSha256) ?? unproven
}

const unproven: Proof = { verifiedAt: null, lastDrilledAt: null, lastVerdict: null }
