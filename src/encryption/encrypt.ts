import { randomBytes } from 'node:crypto'
import { encryptSessionKey } from 'openpgp'
import { throughBulk } from './bulk-stage.ts'
import { assertAcceptable, assertRecipientsUsable, type Recipients } from './keys.ts'
import { throughStage } from './whole-bytes.ts'

/**
 * Encryption to all recipients as a stream stage, in constant memory: binary OpenPGP, SEIPD version 1 with AES-256
 * whatever the keys prefer, so that any OpenPGP program opens it (GnuPG cannot read version 2, which is not to the letter
 * of RFC 9580 beyond 4 GiB in OpenPGP.js either); nothing is compressed. Throws `KEY_UNUSABLE` before the first byte if a
 * recipient is no longer usable at `now`. A source that throws makes the stage throw the same.
 */
export function encryptStage(
  recipients: Recipients,
  now: Date,
): (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array, void, void> {
  return async function* encrypted(source) {
    assertRecipientsUsable(recipients, now)
    const sessionKey = randomBytes(32)
    const start = await sessionKeyPackets(sessionKey, recipients, now)
    yield* throughBulk({ direction: 'encrypt', sessionKey, date: now }, source, start)
  }
}

/** The same for a small object. */
export async function encryptBytes(bytes: Uint8Array, recipients: Recipients, now: Date): Promise<Uint8Array> {
  return await throughStage(encryptStage(recipients, now), bytes)
}

async function sessionKeyPackets(sessionKey: Uint8Array, recipients: Recipients, now: Date): Promise<Uint8Array> {
  // Of a key that is to blame OpenPGP.js would not say which and why.
  await assertAcceptable(recipients, 'encryption', now)
  return await encryptSessionKey({
    data: sessionKey,
    algorithm: 'aes256',
    encryptionKeys: recipients.keys.map(({ key }) => key),
    date: now,
    format: 'binary',
  })
}
