import { readPublicKeys } from '../encryption/keys.ts'
import { reasonOf } from '../errors.ts'
import { type Installation, readBackupKeys, readDrillKeys } from './installation.ts'

/** When a key that the configuration names expires; null for never. */
export type KeyExpiry = {
  readonly fingerprint: string
  readonly use: 'recipient' | 'signer' | 'private'
  readonly expiresAt: Date | null
}

/**
 * Of expired keys as well: that is when it matters. Each use by itself, so that one broken file does not hide the dates of
 * others; of one that cannot be read now, `known` stays. What keeps a key from being used is logged.
 */
export async function readKeyExpiries(
  known: readonly KeyExpiry[],
  installation: Installation,
): Promise<readonly KeyExpiry[]> {
  const { config, clock, log } = installation
  const { recipients, signingKeyFile, privateKeyFiles } = config.encryption
  const read = async (use: KeyExpiry['use'], paths: readonly string[]): Promise<readonly KeyExpiry[]> => {
    try {
      const { expiries } = await readPublicKeys(paths, use === 'signer' ? 'signing' : 'encryption', clock.now())
      return expiries.map((key) => ({ ...key, use }))
    } catch {
      return known.filter((one) => one.use === use)
    }
  }
  const expiries = [
    ...(await read('recipient', recipients)),
    ...(await read('signer', signingKeyFile === undefined ? [] : [signingKeyFile])),
    ...(await read('private', privateKeyFiles)),
  ]
  const warn = (error: unknown): void => log.warn({ reason: reasonOf(error) }, 'a key cannot be used')
  await readBackupKeys(installation).catch(warn)
  if (privateKeyFiles.length > 0) await readDrillKeys(installation, 'the daemon').catch(warn)
  return expiries
}
