import { decryptSessionKeys, readMessage, type SessionKey } from 'openpgp'
import { PgproofError, reasonOf } from '../errors.ts'
import { throughBulk } from './bulk-stage.ts'
import { keyIdOf } from './key-files.ts'
import type { PrivateKeys } from './keys.ts'
import { hiddenRecipient, type MessageHead, readMessageHead } from './message-head.ts'
import { ByteReader, MalformedPacket, packetTags, readPacketBody, readPacketHeader } from './packets.ts'
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
    const reader = new ByteReader(source)
    let packets: AsyncGenerator<Uint8Array, void, void> | undefined
    try {
      const head = await readMessageHead(reader)
      const { data: sessionKey } = await openSessionKey(head, privateKeys, what)
      const body = readPacketBody(reader, head.encrypted)
      packets = throughBulk({ direction: 'decrypt', sessionKey }, body)
      yield* literalContents(new ByteReader(packets))
      if ((await reader.byte()) !== undefined) throw new MalformedPacket('something follows its end')
    } catch (error) {
      if (!(error instanceof MalformedPacket)) throw error
      throw new PgproofError('DECRYPTION_FAILED', { what, reason: error.message }, { cause: error })
    } finally {
      // Their thread ends with them, also where nobody reads them to the end.
      await packets?.return()
      await reader.close()
    }
  }
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

/** The contents of the one literal packet that the encrypted data must consist of. */
async function* literalContents(reader: ByteReader): AsyncGenerator<Uint8Array, void, void> {
  const header = await readPacketHeader(reader)
  if (header?.tag === packetTags.compressed)
    throw new MalformedPacket('its contents are compressed by OpenPGP, which pgproof never does')
  if (header?.tag !== packetTags.literal) throw new MalformedPacket('it holds no data, or signed data')
  const body = new ByteReader(readPacketBody(reader, header))
  await skip(body, 1)
  await skip(body, (await skip(body, 1)) + 4)
  for (let bytes = await body.take(Infinity); bytes !== undefined; bytes = await body.take(Infinity)) yield bytes
  // Reading on is what makes the modification detection code be checked.
  if ((await reader.byte()) !== undefined) throw new MalformedPacket('something follows its data')
}

/** Passes over `count` bytes and returns the last of them. */
async function skip(reader: ByteReader, count: number): Promise<number> {
  let last: number | undefined
  for (let done = 0; done < count; done += 1) {
    last = await reader.byte()
    if (last === undefined) throw new MalformedPacket('it is cut short')
  }
  return last ?? 0
}
