import { untrusted } from '../catalog/read-document.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { TrustedSigners } from '../encryption/sign.ts'
import type { PgproofError } from '../errors.ts'
import { drillReportKey } from '../storage/object-keys.ts'

/** Why a report that was just stored counts as no proof here; null if it does. */
export function distrustOf(
  { server, database, label, signer }: DrillReport,
  trustedSigners: TrustedSigners | null,
): PgproofError | null {
  if (trustedSigners === null || (signer !== null && trustedSigners.fingerprints.includes(signer))) return null
  const reason = signer === null ? 'no signing key is configured where it was made' : `${signer} signed it`
  return untrusted(drillReportKey(server, database, label), reason)
}
