import { randomBytes } from 'node:crypto'
import { createMessage, encrypt } from 'openpgp'
import { assertAcceptable, assertRecipientsUsable, type Recipients } from './keys.ts'
import { fromWebStream, toWebStream } from './web-stream.ts'
import { throughStage } from './whole-bytes.ts'

/**
 * Encryption to all recipients as a stream stage, in constant memory: binary OpenPGP, SEIPD version 1 with AES-256
 * whatever the keys prefer, so that any OpenPGP program opens it; nothing is compressed. Throws `KEY_UNUSABLE` before
 * the first byte if a recipient is no longer usable at `now`. A source that throws makes the stage throw the same.
 */
export function encryptStage(
  recipients: Recipients,
  now: Date,
): (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array, void, void> {
  return async function* encrypted(source) {
    assertRecipientsUsable(recipients, now)
    const input = toWebStream(source)
    try {
      yield* fromWebStream(
        await encrypt({
          message: await createMessage({ binary: input.stream, date: now }),
          encryptionKeys: recipients.keys.map(({ key }) => key),
          // A session key of our own, without an AEAD algorithm, is what keeps the library from version 2, which GnuPG
          // cannot read and which is not to the letter of RFC 9580 beyond 4 GiB.
          sessionKey: { data: randomBytes(32), algorithm: 'aes256' },
          date: now,
          format: 'binary',
        }),
      )
    } catch (error) {
      const failure = input.failure()
      if (failure !== undefined) throw failure.error
      // If a key is to blame, say which and why.
      await assertAcceptable(recipients, 'encryption', now)
      throw error
    } finally {
      await input.close()
    }
  }
}

/** The same for a small object. */
export async function encryptBytes(bytes: Uint8Array, recipients: Recipients, now: Date): Promise<Uint8Array> {
  return await throughStage(encryptStage(recipients, now), bytes)
}
