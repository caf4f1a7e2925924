import { enums, generateKey, type PartialConfig } from 'openpgp'
import { PgproofError, reasonOf } from '../errors.ts'
import { fingerprintOf } from './key-files.ts'

export type KeyPairRequest = {
  readonly name: string
  readonly email?: string | undefined
  /** `ecc` is Ed25519 with Curve25519, `rsa` is RSA with 4096 bits. */
  readonly kind: 'ecc' | 'rsa'
  /** A key for signing has no subkey for encryption, so that it cannot become a recipient by mistake. */
  readonly use: 'backup' | 'signing'
  /** Left out, the key never expires. */
  readonly expiresAfterMs?: number | undefined
  /** Left out, the private key is not locked. */
  readonly passphrase?: string | undefined
  readonly now: Date
}

/** Armored, but for the fingerprint. */
export type KeyPair = {
  readonly publicKey: string
  readonly privateKey: string
  readonly revocationCertificate: string
  readonly fingerprint: string
}

/** A version 4 key that GnuPG 2.2 and later read. Throws `USAGE_INVALID` for what cannot be in a key. */
export async function generateKeyPair(request: KeyPairRequest): Promise<KeyPair> {
  const { name, email, kind, use, expiresAfterMs, passphrase, now } = request
  assertPossible(request)
  try {
    const { publicKey, privateKey, revocationCertificate } = await generateKey({
      ...(kind === 'ecc' ? { type: 'ecc', curve: 'curve25519Legacy' } : { type: 'rsa', rsaBits: 4096 }),
      userIDs: [{ name, ...(email === undefined ? {} : { email }) }],
      subkeys: use === 'backup' ? [{}] : [],
      ...(expiresAfterMs === undefined ? {} : { keyExpirationTime: Math.floor(expiresAfterMs / 1000) }),
      ...(passphrase === undefined ? {} : { passphrase }),
      date: now,
      format: 'object',
      config: forGnupg,
    })
    return {
      publicKey: unix(publicKey.armor()),
      privateKey: unix(privateKey.armor()),
      revocationCertificate: unix(revocationCertificate),
      fingerprint: fingerprintOf(publicKey),
    }
  } catch (error) {
    throw new PgproofError('USAGE_INVALID', { reason: reasonOf(error) }, { cause: error })
  }
}

function assertPossible({ name, expiresAfterMs, passphrase, now }: KeyPairRequest): void {
  const refuse = (reason: string): never => {
    throw new PgproofError('USAGE_INVALID', { reason })
  }
  if (name.trim() === '' || /[<>\p{Cc}]/u.test(name)) refuse('a key needs a name, without angle brackets')
  // It would leave the private key unlocked without a word.
  if (passphrase === '') refuse('the passphrase of a key cannot be empty')
  if (expiresAfterMs !== undefined && expiresAfterMs < 1000) refuse('a key must be valid for at least a second')
  if (now.getTime() + (expiresAfterMs ?? 0) > lastInstantMs) refuse('a key cannot expire after the year 2105')
}

/** OpenPGP counts seconds since 1970 in 32 bits. */
const lastInstantMs = (2 ** 32 - 1) * 1000

const forGnupg: PartialConfig = {
  v6Keys: false,
  aeadProtect: false,
  s2kType: enums.s2k.iterated,
  preferredSymmetricAlgorithm: enums.symmetric.aes256,
}

function unix(armored: string): string {
  return armored.replaceAll('\r\n', '\n')
}
