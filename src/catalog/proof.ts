import type { DrillReport, Verdict } from '../domain/drill-report.ts'
import { backupFolder } from '../storage/object-keys.ts'
import type { StoredBackup } from './contents.ts'
import { onceForEach } from './once-for-each.ts'

/** What drills have shown of one backup. */
export type Proof = {
  /** End of the newest drill that passed, unless one failed since: a failed drill takes the proof back. */
  readonly verifiedAt: Date | null
  /** End of the newest drill, whatever its verdict. */
  readonly lastDrilledAt: Date | null
  readonly lastVerdict: Verdict | null
  /** Whether the newest drill that came to a verdict failed. An inconclusive one says nothing for or against a backup. */
  readonly isKnownBad: boolean
}

/**
 * The proof of a backup from the reports that name its folder, oldest first. A report counts only if it is of the very
 * manifest that is in the store now. A roles backup is proven by the drills that passed with its roles compared; one that
 * failed does not say whether the roles were to blame, and takes nothing back.
 */
export function proofOf(
  { folder, manifestSha256 }: Pick<StoredBackup, 'folder' | 'manifestSha256'>,
  oldestFirst: readonly DrillReport[],
): Proof {
  let proof = unproven
  for (const report of oldestFirst) {
    const { verdict } = report
    const { backup, roles } = drilledFolders(report)
    const isRoles = folder === roles
    const drilled = isRoles ? report.rolesBackup : folder === backup ? report.backup : null
    if (drilled?.manifestSha256 !== manifestSha256) continue
    const finishedAt = finishedAtOf(report)
    const hasFailed = verdict === 'failed' && !isRoles
    const before = hasFailed ? null : proof.verifiedAt
    proof = {
      verifiedAt: verdict === 'passed' ? finishedAt : before,
      lastDrilledAt: finishedAt,
      lastVerdict: verdict,
      isKnownBad: verdict === 'inconclusive' ? proof.isKnownBad : hasFailed,
    }
  }
  return proof
}

/** The folders of the backup that was drilled, and of the roles that were compared; null if none were. */
export const drilledFolders = onceForEach(
  ({
    server,
    database,
    backup,
    rolesBackup,
  }: DrillReport): { readonly backup: string; readonly roles: string | null } => {
    return {
      backup: backupFolder({ kind: 'database', server, database, label: backup.label }),
      roles:
        rolesBackup === null ? null : backupFolder({ kind: 'roles', server, database: null, label: rolesBackup.label }),
    }
  },
)

export const finishedAtOf = onceForEach((report: DrillReport) => new Date(report.finishedAt))

const unproven: Proof = { verifiedAt: null, lastDrilledAt: null, lastVerdict: null, isKnownBad: false }
