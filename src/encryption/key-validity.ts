import { enums, type Key, type Subkey } from 'openpgp'
import { reasonOf } from '../errors.ts'
import { keyIdOf } from './key-files.ts'

export type KeyUse = 'encryption' | 'signing'

/** Why the key cannot be used at `now`, as the end of a sentence; undefined if it can. */
export async function whyUnusable(key: Key, use: KeyUse, now: Date): Promise<string | undefined> {
  const { version } = key.keyPacket
  const unsupported = unsupportedCurve(key)
  if (unsupported !== undefined) return unsupported
  if (version !== 4) return `it is a version ${version} key, which GnuPG cannot read`
  if (key.getCreationTime() > now) return `it was made at ${instant(key.getCreationTime())}, which is in the future`
  if (await key.isRevoked(undefined, undefined, now)) return 'it is revoked'
  const expiresAt = await primaryExpiry(key)
  if (expiresAt !== null && expiresAt <= now) return `it expired at ${instant(expiresAt)}`
  let chosen: Key | Subkey
  try {
    chosen = await chosenKey(key, use, now)
  } catch (error) {
    return (await whyNoneChosen(key, use, now)) ?? reasonOf(error)
  }
  if (unknownToGnupg.has(chosen.keyPacket.algorithm))
    return `its algorithm ${chosen.getAlgorithmInfo().algorithm} cannot be read by GnuPG`
  if (use === 'encryption') return await whyNotVersion1(key, now)
  return undefined
}

/** OpenPGP.js computes with Brainpool's curves only where a package of its own is installed. */
export function unsupportedCurve(key: Key): string | undefined {
  const curve = key
    .getKeys()
    .map((part) => part.getAlgorithmInfo().curve)
    .find((name) => name?.startsWith('brainpool'))
  return curve === undefined
    ? undefined
    : `its curve ${curve} is not supported; take Curve25519, a curve of NIST, or RSA`
}

/**
 * When nothing of the key serves the use any more: with the primary key, or with the last of the subkeys that can be
 * used at `now`. Null if never.
 */
export async function expiryOf(key: Key, use: KeyUse, now: Date): Promise<Date | null> {
  const ends: number[] = []
  for (const part of key.getKeys()) {
    const isPrimary = !('mainKey' in part)
    const isUsable = await chosenKey(key, use, now, part).catch(() => undefined)
    const expiresAt = isPrimary ? null : asDate(await part.getExpirationTime(now))
    if (isUsable || (expiresAt !== null && expiresAt <= now)) ends.push(expiresAt?.getTime() ?? Infinity)
  }
  const primaryEnd = (await primaryExpiry(key))?.getTime() ?? Infinity
  const end = Math.min(primaryEnd, ends.length === 0 ? Infinity : Math.max(...ends))
  return end === Infinity ? null : new Date(end)
}

/** Bits of the features that a key's own signature states (RFC 9580, section 5.2.3.32). */
const seipdVersion1 = 0x01
const seipdVersion2 = 0x08

/** Algorithms of RFC 9580 that no GnuPG knows: what they encrypt could not be opened without pgproof. */
const unknownToGnupg = new Set<number>([
  enums.publicKey.x25519,
  enums.publicKey.x448,
  enums.publicKey.ed25519,
  enums.publicKey.ed448,
])

const encryptionAlgorithms = new Set<number>([
  enums.publicKey.rsaEncryptSign,
  enums.publicKey.rsaEncrypt,
  enums.publicKey.ecdh,
  enums.publicKey.x25519,
  enums.publicKey.x448,
])

/** The part of the key that OpenPGP.js takes: the newest valid one, or just the one asked for. Throws if there is none. */
async function chosenKey(key: Key, use: KeyUse, now: Date, asked?: Key | Subkey): Promise<Key | Subkey> {
  return use === 'encryption'
    ? await key.getEncryptionKey(asked?.getKeyID(), now)
    : await key.getSigningKey(asked?.getKeyID(), now)
}

/** Says more than OpenPGP.js does, where the cause is a subkey. */
async function whyNoneChosen(key: Key, use: KeyUse, now: Date): Promise<string | undefined> {
  if (use === 'signing') return undefined
  const subkeys = key.subkeys.filter(({ keyPacket }) => encryptionAlgorithms.has(keyPacket.algorithm))
  const [newest] = subkeys.toSorted((a, b) => b.getCreationTime().getTime() - a.getCreationTime().getTime())
  if (newest === undefined) return 'it can only sign; it has no subkey for encryption'
  const expiresAt = asDate(await newest.getExpirationTime(now))
  if (expiresAt !== null && expiresAt <= now)
    return `its encryption subkey ${keyIdOf(newest)} expired at ${instant(expiresAt)}`
  const failure = await newest.verify(now).catch(reasonOf)
  return typeof failure === 'string' ? `its encryption subkey ${keyIdOf(newest)}: ${failure}` : undefined
}

/** pgproof writes SEIPD version 1, which every OpenPGP program reads, unless the key says it accepts version 2 only. */
async function whyNotVersion1(key: Key, now: Date): Promise<string | undefined> {
  const { selfCertification } = await key.getPrimaryUser(now)
  const features = selfCertification.features?.[0] ?? 0
  const isVersion2Only = (features & seipdVersion2) !== 0 && (features & seipdVersion1) === 0
  return isVersion2Only ? 'it accepts version 2 of encrypted data only, which GnuPG cannot read' : undefined
}

async function primaryExpiry(key: Key): Promise<Date | null> {
  return asDate(await key.getExpirationTime())
}

function asDate(time: Date | typeof Infinity | null): Date | null {
  return time instanceof Date ? time : null
}

/** To the second, as OpenPGP keeps times. */
export function instant(time: Date): string {
  return time.toISOString().replace('.000Z', 'Z')
}
