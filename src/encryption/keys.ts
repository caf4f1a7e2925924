import type { Key, PrivateKey, PublicKey, SecretKeyPacket, SecretSubkeyPacket } from 'openpgp'
import { PgproofError, reasonOf } from '../errors.ts'
import { exportWhole, fingerprintOf, isOnCard, readKeyFile, readPrivateKeyFile } from './key-files.ts'
import { expiryOf, instant, type KeyUse, unsupportedCurve, whyUnusable } from './key-validity.ts'

/** One key, and the file it came from. */
export type KeyEntry<K extends Key> = {
  readonly key: K
  readonly path: string
  /** Of the primary key: 40 upper-case hexadecimal digits. */
  readonly fingerprint: string
  /** When nothing of the key serves its use any more; null if never. */
  readonly expiresAt: Date | null
}

export type KeyExpiry = Pick<KeyEntry<Key>, 'fingerprint' | 'expiresAt'>

export type KeySet<K extends Key> = {
  readonly keys: readonly KeyEntry<K>[]
  readonly fingerprints: readonly string[]
  readonly expiries: readonly KeyExpiry[]
}

/** Whom backups are encrypted to. */
export type Recipients = KeySet<PublicKey>
/** What opens backups; unlocked, in memory only. */
export type PrivateKeys = KeySet<PrivateKey>
/** Whose signatures under a manifest count. */
export type TrustedSigners = KeySet<PublicKey>
/** What signs manifests; unlocked, in memory only. */
export type SigningKey = KeyEntry<PrivateKey>

/** Asked only when a key is locked; a line break at the end of what it returns is ignored. */
export type Passphrase = () => string

/** A person who is asked: for the key at this path, first with `attempt` 1 and again while the answer is wrong. */
export type AskPassphrase = {
  readonly attempts: number
  ask(path: string, attempt: number): Promise<string>
}

/**
 * Reads public keys; of a private key only the public part is kept. Throws `KEY_UNREADABLE`, `KEY_UNUSABLE` for a key
 * that nothing can be encrypted to at `now`, and `KEY_NEEDED` if there are none.
 */
export async function readRecipients(paths: readonly string[], now: Date): Promise<Recipients> {
  const recipients = await readPublicKeys(paths, 'encryption', now)
  await assertAcceptable(recipients, 'encryption', now)
  assertRecipientsUsable(recipients, now)
  return recipients
}

/**
 * To be asked again before every backup: keys expire while a daemon runs, and nothing else about them changes then.
 * Throws `KEY_UNUSABLE` for the first that has expired, and `KEY_NEEDED` if there are none.
 */
export function assertRecipientsUsable(recipients: Recipients, now: Date): void {
  if (recipients.keys.length === 0)
    throw new PgproofError('KEY_NEEDED', { what: 'encryption', key: 'encryption.recipients' })
  for (const entry of recipients.keys)
    if (entry.expiresAt !== null && entry.expiresAt <= now)
      throw unusable(entry, `it expired at ${instant(entry.expiresAt)}`)
}

/**
 * Reads private keys and unlocks them in memory. Expired and revoked keys are taken: old backups must stay readable.
 * Throws `KEY_UNREADABLE`, `KEY_NEEDED` when a passphrase is missing, `PASSPHRASE_WRONG`, and `KEY_UNUSABLE` for a key
 * without the part that decrypts.
 */
export async function readPrivateKeys(
  paths: readonly string[],
  passphrase: Passphrase | AskPassphrase | undefined,
  now: Date,
): Promise<PrivateKeys> {
  const entries: KeyEntry<PrivateKey>[] = []
  for (const path of paths)
    for (const key of await readPrivateKeyFile(path)) {
      const unsupported = unsupportedCurve(key)
      if (unsupported !== undefined) throw unusable({ path, fingerprint: fingerprintOf(key) }, unsupported)
      await unlock(key, path, passphrase)
      const entry = await entryOf(key, path, 'encryption', now)
      // At no particular time, so that an expired key passes.
      const parts = await key.getDecryptionKeys(undefined, null).catch(() => [])
      if (!parts.some((part) => part.isDecrypted())) throw unusable(entry, await whyNothingDecrypts(entry))
      entries.push(entry)
    }
  return setOf(entries)
}

/** Reads the one key of the file and unlocks it. Throws as `readPrivateKeys`, and if it may not sign at `now`. */
export async function readSigningKey(
  path: string,
  passphrase: Passphrase | AskPassphrase | undefined,
  now: Date,
): Promise<SigningKey> {
  const [key, ...others] = await readPrivateKeyFile(path)
  if (key === undefined || others.length > 0)
    throw new PgproofError('KEY_UNREADABLE', { path, reason: 'it holds several keys, and only one can sign' })
  await unlock(key, path, passphrase)
  const entry = await entryOf(key, path, 'signing', now)
  await assertSigningKeyUsable(entry, now)
  return entry
}

/** Throws `KEY_UNUSABLE`. */
export async function assertSigningKeyUsable(signingKey: SigningKey, now: Date): Promise<void> {
  await assertAcceptable(setOf([signingKey]), 'signing', now)
  const { keyPacket } = await signingKey.key.getSigningKey(undefined, now)
  // Of this part: a key is called decrypted where any part of it is, and that may be one that cannot sign.
  if (!('isDecrypted' in keyPacket && keyPacket.isDecrypted()))
    throw unusable(signingKey, 'it holds no secret part that signs')
}

/** Expired signers are taken: what they signed in their time stays signed. Throws `KEY_UNREADABLE`. */
export async function readTrustedSigners(paths: readonly string[], now: Date): Promise<TrustedSigners> {
  return await readPublicKeys(paths, 'signing', now)
}

/** Looks at everything that can make a key unusable. Throws `KEY_UNUSABLE` for the first that is. */
export async function assertAcceptable(keys: KeySet<Key>, use: KeyUse, now: Date): Promise<void> {
  for (const entry of keys.keys) {
    const reason = await whyUnusable(entry.key, use, now)
    if (reason !== undefined) throw unusable(entry, reason)
  }
}

/** Public keys whatever their state. Throws `KEY_UNREADABLE`. */
export async function readPublicKeys(paths: readonly string[], use: KeyUse, now: Date): Promise<KeySet<PublicKey>> {
  const found = new Map<string, { key: PublicKey; path: string }>()
  for (const path of paths)
    for (const read of await readKeyFile(path)) {
      const copy = found.get(fingerprintOf(read))
      // Two copies of a key may differ; what either says, above all a revocation, counts.
      const key = copy === undefined ? read.toPublic() : await copy.key.update(read.toPublic(), now)
      found.set(fingerprintOf(read), { key, path })
    }
  const entries: KeyEntry<PublicKey>[] = []
  for (const { key, path } of found.values()) entries.push(await entryOf(key, path, use, now))
  return setOf(entries)
}

async function entryOf<K extends Key>(key: K, path: string, use: KeyUse, now: Date): Promise<KeyEntry<K>> {
  return { key, path, fingerprint: fingerprintOf(key), expiresAt: await expiryOf(key, use, now) }
}

function setOf<K extends Key>(keys: readonly KeyEntry<K>[]): KeySet<K> {
  return {
    keys,
    fingerprints: keys.map(({ fingerprint }) => fingerprint),
    expiries: keys.map(({ fingerprint, expiresAt }) => ({ fingerprint, expiresAt })),
  }
}

async function unlock(
  key: PrivateKey,
  path: string,
  passphrase: Passphrase | AskPassphrase | undefined,
): Promise<void> {
  // A stub (gpg --export-secret-subkeys, a smart card) has nothing to unlock; the key's other parts may do.
  const parts = key.getKeys().flatMap(({ keyPacket }) => {
    return 'isMissingSecretKeyMaterial' in keyPacket && !keyPacket.isMissingSecretKeyMaterial() ? [keyPacket] : []
  })
  if (!parts.every((part) => part.isDecrypted())) {
    if (passphrase === undefined)
      throw new PgproofError('KEY_NEEDED', { what: `the locked key ${path}`, key: 'encryption.passphraseFile' })
    const attempts = typeof passphrase === 'function' ? 1 : passphrase.attempts
    for (let attempt = 1; ; attempt += 1) {
      const text = typeof passphrase === 'function' ? passphrase() : await passphrase.ask(path, attempt)
      const failure = await decryptAll(parts, text.replace(/\r?\n$/, ''), path)
      if (failure === undefined) break
      if (failure.code !== 'PASSPHRASE_WRONG' || attempt >= attempts) throw failure
    }
  }
  // Against a file whose public and secret halves were made not to match.
  for (const part of parts)
    await part.validate().catch((error: unknown) => {
      throw new PgproofError('KEY_UNREADABLE', { path, reason: reasonOf(error) }, { cause: error })
    })
}

/** Undefined when every part is open. */
async function decryptAll(
  parts: readonly (SecretKeyPacket | SecretSubkeyPacket)[],
  passphrase: string,
  path: string,
): Promise<PgproofError | undefined> {
  for (const part of parts)
    try {
      if (!part.isDecrypted()) await part.decrypt(passphrase)
    } catch (error) {
      const reason = reasonOf(error)
      if (/passphrase/i.test(reason)) return new PgproofError('PASSPHRASE_WRONG', { path }, { cause: error })
      return new PgproofError('KEY_UNREADABLE', { path, reason }, { cause: error })
    }
  return undefined
}

async function whyNothingDecrypts({ fingerprint, path }: KeyEntry<Key>): Promise<string> {
  return (await isOnCard(path))
    ? 'its secret part is on a smart card, which only gpg can use; give the private key of another recipient, in a file'
    : `it holds no secret part that decrypts; ${exportWhole(fingerprint)}`
}

function unusable({ fingerprint, path }: Pick<KeyEntry<Key>, 'fingerprint' | 'path'>, reason: string): PgproofError {
  return new PgproofError('KEY_UNUSABLE', { fingerprint, path, reason })
}
