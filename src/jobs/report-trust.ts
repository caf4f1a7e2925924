import type { ReportTrust } from '../catalog/catalog.ts'
import { untrusted } from '../catalog/read-document.ts'
import type { Config } from '../config/config.ts'
import { verifyDetached } from '../encryption/sign.ts'
import { reasonOf } from '../errors.ts'
import { readSigners } from './installation.ts'

/** Whose drill reports count as proof; null where no trusted signers are configured. Throws keys' errors. */
export async function readReportTrust(
  config: Config,
  now: Date,
  storeId: string | null = null,
): Promise<ReportTrust | null> {
  const signers = await readSigners(config, now)
  if (signers === null) return null
  return {
    // A key that was revoked on disk is another text under the same fingerprint.
    identity: signers.keys.map(({ key }) => key.armor()).join('\n'),
    storeId,
    async verify(bytes, signature, what) {
      try {
        return await verifyDetached(bytes, signature, signers, what)
      } catch (error) {
        throw untrusted(what, reasonOf(error instanceof Error ? (error.cause ?? error) : error))
      }
    },
  }
}
