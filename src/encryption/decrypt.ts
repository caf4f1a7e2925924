import { decryptSessionKeys, readMessage, type SessionKey } from 'openpgp'
import { PgproofError, reasonOf } from '../errors.ts'
import { throughBulk } from './bulk-stage.ts'
import { keyIdOf } from './key-files.ts'
import type { PrivateKeys } from './keys.ts'
import { literalContents } from './literal.ts'
import { hiddenRecipient, type MessageHead, readMessageHead } from './message-head.ts'
import { ByteReader, MalformedPacket, readPacketBody } from './packets.ts'
import { throughStage } from './whole-bytes.ts'

/**
 * Decryption as a stream stage, in constant memory. What protects the contents stands at the end of the message, so
 * the plaintext comes before anybody can know whether it is genuine: **use it only after the stage has ended cleanly**
 * (spool it, and restore when the stream is through). Everything else throws: `KEY_NO_MATCH` with the recipients' key
 * ids if none of the keys opens it, `DECRYPTION_FAILED` for whatever is not whole and unchanged, from the first byte to
 * the last. `what` names the object in these messages.
 */
export function decryptStage(
  privateKeys: PrivateKeys,
  what: string,
): (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array, void, void> {
  return async function* decrypted(source) {
    const message = new MessageReader(source, what)
    let packets: AsyncGenerator<Uint8Array, void, void> | undefined
    try {
      const { sessionKey, body } = await message.open(privateKeys)
      packets = throughBulk({ direction: 'decrypt', sessionKey }, body)
      yield* literalContents(new ByteReader(packets))
      await message.end()
    } catch (error) {
      throw asDecryptionFailure(error, what)
    } finally {
      // Their thread ends with them, also where nobody reads them to the end.
      await packets?.return()
      await message.close()
    }
  }
}

/** What a message is encrypted with, and its encrypted data: the order and the source of `createBulk`. */
export type OpenedMessage = {
  readonly sessionKey: Uint8Array
  readonly body: AsyncGenerator<Uint8Array, void, void>
}

/** For who decrypts elsewhere than in `decryptStage`, whose words on what may be used hold here as well. */
export class MessageReader {
  readonly #reader: ByteReader
  readonly #what: string

  constructor(source: AsyncIterable<Uint8Array>, what: string) {
    this.#reader = new ByteReader(source)
    this.#what = what
  }

  /** Throws KEY_NO_MATCH or `MalformedPacket`. */
  async open(privateKeys: PrivateKeys): Promise<OpenedMessage> {
    const head = await readMessageHead(this.#reader)
    const { data: sessionKey } = await openSessionKey(head, privateKeys, this.#what)
    return { sessionKey, body: readPacketBody(this.#reader, head.encrypted) }
  }

  /** To be called after the body. Throws `MalformedPacket` if more than the message came. */
  async end(): Promise<void> {
    if ((await this.#reader.byte()) !== undefined) throw new MalformedPacket('something follows its end')
  }

  /** Ends the source early; of no effect on one that has ended. */
  async close(): Promise<void> {
    await this.#reader.close()
  }
}

/** DECRYPTION_FAILED for a `MalformedPacket`, anything else as it is. */
export function asDecryptionFailure(error: unknown, what: string): unknown {
  if (!(error instanceof MalformedPacket)) return error
  return new PgproofError('DECRYPTION_FAILED', { what, reason: error.message }, { cause: error })
}

/** The same for a small object; returns only what has proved to be whole and unchanged. */
export async function decryptBytes(bytes: Uint8Array, privateKeys: PrivateKeys, what: string): Promise<Uint8Array> {
  return await throughStage(decryptStage(privateKeys, what), bytes)
}

async function openSessionKey(head: MessageHead, privateKeys: PrivateKeys, what: string): Promise<SessionKey> {
  const recipients = head.recipientKeyIds
  if (recipients.length === 0) throw new MalformedPacket('it is encrypted with a passphrase, not to a key')
  const own = new Set(privateKeys.keys.flatMap(({ key }) => key.getKeys().map(keyIdOf)))
  const isAddressed = recipients.some((id) => own.has(id))
  const noMatch = new PgproofError('KEY_NO_MATCH', { what, recipients: recipients.join(', ') })
  if (!isAddressed && !recipients.includes(hiddenRecipient)) throw noMatch
  let found: Awaited<ReturnType<typeof decryptSessionKeys>>
  try {
    found = await decryptSessionKeys({
      message: await readMessage({ binaryMessage: head.sessionKeyPackets }),
      decryptionKeys: privateKeys.keys.map(({ key }) => key),
    })
  } catch (error) {
    throw isAddressed ? new MalformedPacket(`its session key does not open: ${reasonOf(error)}`) : noMatch
  }
  const sessionKey = found.find(({ algorithm }) => algorithm?.startsWith('aes'))
  if (sessionKey?.algorithm == null) throw new MalformedPacket('its cipher is not AES')
  return { data: sessionKey.data, algorithm: sessionKey.algorithm }
}
