import { readPrivateKeys, readRecipients, readSigningKey } from '../encryption/keys.ts'
import { type Findings, goOn } from './findings.ts'
import { type Installation, readSigners } from './installation.ts'

const monthMs = 30 * 24 * 3_600_000

/** Recipients, signing key and trusted signers, each looked at whatever is wrong with the others. */
export async function checkKeys(
  installation: Pick<Installation, 'config' | 'clock'>,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const { config, clock } = installation
  const { encryption } = config
  const now = clock.now()
  const warnOfExpiry = ({ fingerprint, expiresAt }: { fingerprint: string; expiresAt: Date | null }): void => {
    if (expiresAt === null || expiresAt.getTime() >= now.getTime() + monthMs) return
    findings.warn(
      `key ${fingerprint} expires at ${expiresAt.toISOString()}`,
      'Extend it or replace it before: from then on every backup fails.',
    )
  }
  const recipients = await goOn(findings, signal, () => readRecipients(encryption.recipients, now))
  if (recipients !== undefined) {
    const count = recipients.fingerprints.length
    findings.ok(`encrypts to ${count === 1 ? '1 recipient' : `${count} recipients`}`)
    for (const key of recipients.expiries) warnOfExpiry(key)
    if (count < 2)
      findings.warn(
        'only one recipient: if its private key is lost, so is every backup',
        'Add an escrow key kept elsewhere to `encryption.recipients`.',
      )
  }

  const signers = await goOn(findings, signal, () => readSigners(config, now))
  const { signingKeyFile, signingPassphrase } = encryption
  if (signingKeyFile !== undefined)
    await goOn(findings, signal, async () => {
      const passphrase = signingPassphrase && (() => signingPassphrase.reveal())
      const signingKey = await readSigningKey(signingKeyFile, passphrase, now)
      findings.ok(`signs manifests and drill reports with ${signingKey.fingerprint}`)
      warnOfExpiry(signingKey)
      if (signers != null && !signers.fingerprints.includes(signingKey.fingerprint))
        findings.warn(
          'the signing key is not among `encryption.trustedSigners`',
          'Drills here would refuse the backups made here; add its public key.',
        )
    })
}

/** Private keys, which backups do not need: only drills and restores. */
export async function checkPrivateKeys(
  { config: { encryption }, clock }: Pick<Installation, 'config' | 'clock'>,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const now = clock.now()
  const { privateKeyFiles, passphrase, signingKeyFile, trustedSigners } = encryption
  if (privateKeyFiles.length === 0) return
  if (trustedSigners.length > 0 && signingKeyFile === undefined)
    findings.warn(
      '`encryption.trustedSigners` is set, and no signing key is configured where drills run',
      'Set `encryption.signingKeyFile`: a report that nobody signed proves nothing, and the next drill takes the same backup again.',
    )
  await goOn(findings, signal, async () => {
    const keys = await readPrivateKeys(privateKeyFiles, passphrase && (() => passphrase.reveal()), now)
    const recipients = await readRecipients(encryption.recipients, now).catch(() => undefined)
    if (recipients === undefined) return
    if (keys.fingerprints.some((fingerprint) => recipients.fingerprints.includes(fingerprint)))
      findings.ok('the private key opens what is encrypted here')
    else
      findings.warn(
        'no configured private key belongs to a recipient',
        'Drills could not open new backups; configure the private key of one of the recipients.',
      )
  })
}
