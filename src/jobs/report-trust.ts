import type { ReportTrust } from '../catalog/catalog.ts'
import { untrusted } from '../catalog/read-document.ts'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import { verifyDetached } from '../encryption/sign.ts'
import { reasonOf } from '../errors.ts'
import type { Log } from '../log.ts'
import { readSigners } from './installation.ts'

/**
 * Reads whose drill reports count, anew each time. While the keys cannot be read, those that were read before still count:
 * a file that is broken must not stop the backups, which do not need it. Throws keys' errors where none were read before.
 */
export function reportTrustOf(
  current: () => { readonly config: Config; readonly storeId: string | null },
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): () => Promise<ReportTrust | null> {
  let last: { readonly paths: string; readonly trust: ReportTrust | null } | undefined
  let hasFailed = false
  return async () => {
    const { config, storeId } = current()
    const paths = JSON.stringify([config.encryption.trustedSigners, storeId])
    try {
      const trust = await readReportTrust(config, clock.now(), storeId)
      if (hasFailed) log.info('the keys of the trusted signers can be read again')
      hasFailed = false
      last = { paths, trust }
      return trust
    } catch (error) {
      if (last?.paths !== paths) throw error
      if (!hasFailed)
        log.error(
          { reason: reasonOf(error) },
          'the keys of the trusted signers cannot be read; those read before still count',
        )
      hasFailed = true
      return last.trust
    }
  }
}

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
