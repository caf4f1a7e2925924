import type { ReportTrust } from '../catalog/catalog.ts'
import { untrusted } from '../catalog/read-document.ts'
import type { Config } from '../config/config.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import { type TrustedSigners, verifyDetached } from '../encryption/sign.ts'
import type { PgproofError } from '../errors.ts'
import { reasonOf } from '../errors.ts'
import { drillReportKey } from '../storage/object-keys.ts'
import { readSigners } from './installation.ts'

/** Whose drill reports count as proof; null where no trusted signers are configured. Throws keys' errors. */
export async function readReportTrust(config: Config, now: Date): Promise<ReportTrust | null> {
  const signers = await readSigners(config, now)
  if (signers === null) return null
  return {
    // A key that was revoked on disk is another text under the same fingerprint.
    identity: signers.keys.map(({ key }) => key.armor()).join('\n'),
    async verify(bytes, signature, what) {
      try {
        return await verifyDetached(bytes, signature, signers, what)
      } catch (error) {
        throw untrusted(what, reasonOf(error instanceof Error ? (error.cause ?? error) : error))
      }
    },
  }
}

/** Why a report that was just stored counts as no proof here; null if it does. */
export function distrustOf(
  { server, database, label, signer }: DrillReport,
  trustedSigners: TrustedSigners | null,
): PgproofError | null {
  if (trustedSigners === null || (signer !== null && trustedSigners.fingerprints.includes(signer))) return null
  const reason = signer === null ? 'no signing key is configured where it was made' : `${signer} signed it`
  return untrusted(drillReportKey(server, database, label), reason)
}
