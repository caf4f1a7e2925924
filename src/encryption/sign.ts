import assert from 'node:assert/strict'
import { createMessage, enums, readSignature, type Signature, sign, verify } from 'openpgp'
import { PgproofError, reasonOf } from '../errors.ts'
import { assertSigningKeyUsable, type SigningKey, type TrustedSigners } from './keys.ts'

export type { SigningKey, TrustedSigners } from './keys.ts'

/** An armored detached signature, as `gpg --verify FILE.sig FILE` takes it. Throws `KEY_UNUSABLE`. */
export async function signDetached(bytes: Uint8Array, signingKey: SigningKey, now: Date): Promise<Uint8Array> {
  await assertSigningKeyUsable(signingKey, now)
  const armored = await sign({
    message: await createMessage({ binary: bytes }),
    signingKeys: signingKey.key,
    detached: true,
    date: now,
  })
  return Buffer.from(armored.replaceAll('\r\n', '\n'))
}

/**
 * Returns which trusted signer signed these very bytes, by the fingerprint of its primary key. The signer must have
 * been valid when it signed; whether it has expired since does not matter, but a key revoked as compromised never
 * counts. Throws `SIGNATURE_INVALID` for everything else; `what` names the backup.
 */
export async function verifyDetached(
  bytes: Uint8Array,
  signature: Uint8Array,
  trustedSigners: TrustedSigners,
  what: string,
): Promise<{ readonly fingerprint: string }> {
  try {
    const { signatures } = await verify({
      message: await createMessage({ binary: bytes }),
      signature: await readDetached(signature),
      verificationKeys: trustedSigners.keys.map(({ key }) => key),
      format: 'binary',
      // At no particular time: a signer's clock may be ahead of ours, and keys expire.
      date: null,
      // gpg replaces a key's self-signature when its validity is extended; what it signed before must stay signed.
      config: { allowInsecureVerificationWithReformattedKeys: true },
    })
    const [only, ...others] = signatures
    if (only === undefined || others.length > 0) throw new Error('not exactly one signature')
    await only.verified
    const signer = trustedSigners.keys.find(({ key }) => key.getKeys(only.keyID).length > 0)
    assert(signer !== undefined, 'verified by a key that is none of the trusted signers')
    return { fingerprint: signer.fingerprint }
  } catch (error) {
    throw new PgproofError('SIGNATURE_INVALID', { what, reason: reasonOf(error) }, { cause: error })
  }
}

async function readDetached(bytes: Uint8Array): Promise<Signature> {
  const text = Buffer.from(bytes).toString('latin1')
  const binarySignature = text.startsWith('-----BEGIN') ? dearmored(text) : bytes
  const signature = await readSignature({ binarySignature })
  // A signature over text would let line endings change.
  if (signature.packets.some(({ signatureType }) => signatureType !== enums.signature.binary))
    throw new Error('it is not a signature over binary data')
  return signature
}

const armorPattern =
  /^-----BEGIN PGP SIGNATURE-----\r?\n(?:[A-Za-z]+: [^\r\n]*\r?\n)*\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+?)(?:=([A-Za-z0-9+/]{4})\r?\n)?-----END PGP SIGNATURE-----\s*$/

/**
 * The bytes in an armored signature (RFC 9580, 6.2). Readers are lenient about what follows it and about its checksum; here
 * a file that is not what was written is damaged, even where it could still be read.
 */
function dearmored(text: string): Uint8Array {
  const [, lines = '', checksum] = armorPattern.exec(text) ?? []
  const base64 = lines.replaceAll(/[\r\n]/g, '')
  const bytes = Buffer.from(base64, 'base64')
  const isRight = bytes.toString('base64') === base64 && (checksum === undefined || checksum === crc24(bytes))
  if (bytes.length === 0 || !isRight) throw new Error('its armor is damaged')
  return bytes
}

/** RFC 9580, 6.1.1. */
function crc24(bytes: Uint8Array): string {
  let crc = 0xb704ce
  for (const byte of bytes) {
    crc ^= byte << 16
    for (let bit = 0; bit < 8; bit += 1) {
      crc <<= 1
      if ((crc & 0x1000000) !== 0) crc ^= 0x1864cfb
    }
  }
  return Buffer.from([crc >> 16, crc >> 8, crc].map((part) => part & 0xff)).toString('base64')
}
