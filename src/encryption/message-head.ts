import { PgproofError } from '../errors.ts'
import { keyIdOf } from './key-files.ts'
import type { Recipients } from './keys.ts'
import {
  ByteReader,
  lengthOctets,
  MalformedPacket,
  type PacketHeader,
  packetTags,
  readPacketBody,
  readPacketHeader,
} from './packets.ts'
import { wholeBytes } from './whole-bytes.ts'

/** What stands before the encrypted data of a message: for whom it is. */
export type MessageHead = {
  /** Key ids of 16 upper-case hexadecimal digits; zeros for a hidden recipient. */
  readonly recipientKeyIds: readonly string[]
  /** The packets that hold the session key, once for each recipient. */
  readonly sessionKeyPackets: Uint8Array
  readonly encrypted: PacketHeader
}

/** Enough of an object for `readRecipientKeyIds`: a hundred recipients with RSA keys of 4096 bits fit. */
export const messageHeadBytes = 64 << 10

/** A message for more recipients than anybody has is damage or an attack on our memory. */
const largestHeadBytes = 1 << 20

/** Reads up to the encrypted data. Throws `MalformedPacket`. */
export async function readMessageHead(reader: ByteReader): Promise<MessageHead> {
  const packets: Uint8Array[] = []
  const recipientKeyIds: string[] = []
  for (let bytes = 0; bytes < largestHeadBytes; ) {
    const header = await readPacketHeader(reader)
    if (header === undefined) throw new MalformedPacket(packets.length === 0 ? 'it is empty' : 'it is cut short')
    if (header.tag === packetTags.integrityProtected)
      return { recipientKeyIds, sessionKeyPackets: Buffer.concat(packets), encrypted: header }
    if (!headTags.has(header.tag)) throw new MalformedPacket(whyNotEncrypted(header.tag))
    if (header.isPartial || header.length > largestHeadBytes) throw new MalformedPacket('its head is damaged')
    const body = await readWhole(reader, header)
    bytes += body.length + 1
    if (header.tag === packetTags.publicKeyEncryptedSessionKey) {
      if (body[0] !== 3) throw new MalformedPacket(`its session key is of version ${body[0]}, pgproof knows version 3`)
      recipientKeyIds.push(body.subarray(1, 9).toString('hex').toUpperCase())
      packets.push(Uint8Array.of(0xc0 | header.tag, ...lengthOctets(body.length)), body)
    }
  }
  throw new MalformedPacket('its head is damaged')
}

/** The recipients of a message as its first `messageHeadBytes` name them. Throws `DECRYPTION_FAILED`. */
export async function readRecipientKeyIds(head: Uint8Array, what: string): Promise<readonly string[]> {
  try {
    return (await readMessageHead(new ByteReader(wholeBytes(head)))).recipientKeyIds
  } catch (error) {
    if (!(error instanceof MalformedPacket)) throw error
    throw new PgproofError('DECRYPTION_FAILED', { what, reason: error.message }, { cause: error })
  }
}

/**
 * Checks that a message is for exactly those whom the manifest names by `fingerprints`: as many recipients, and each
 * one that is configured is among them. (The key ids are those of subkeys, which only the key itself links to its
 * fingerprint.) Throws `VERIFY_FAILED`; `what` names the backup.
 */
export function assertRecipientsInMessage(
  recipientKeyIds: readonly string[],
  fingerprints: readonly string[],
  recipients: Recipients,
  what: string,
): void {
  const fail = (reason: string): never => {
    throw new PgproofError('VERIFY_FAILED', { label: what, check: 'recipients', reason })
  }
  for (const { key, fingerprint } of recipients.keys) {
    const isAddressed = key.getKeys().some((part) => recipientKeyIds.includes(keyIdOf(part)))
    if (isAddressed === fingerprints.includes(fingerprint)) continue
    fail(
      isAddressed ? `the manifest does not name its recipient ${fingerprint}` : `it is not encrypted to ${fingerprint}`,
    )
  }
  if (recipientKeyIds.length !== fingerprints.length)
    fail(`number of recipients: ${recipientKeyIds.length} in it, ${fingerprints.length} in the manifest`)
}

const headTags = new Set<number>([
  packetTags.publicKeyEncryptedSessionKey,
  packetTags.symmetricKeyEncryptedSessionKey,
  packetTags.marker,
  packetTags.padding,
])

function whyNotEncrypted(tag: number): string {
  if (tag === packetTags.symmetricallyEncrypted) return 'it is encrypted without protection against changes'
  if (tag === packetTags.aeadEncrypted)
    return 'it is encrypted in a form that only GnuPG writes; pgproof knows SEIPD version 1'
  return 'it is not encrypted'
}

async function readWhole(reader: ByteReader, header: PacketHeader): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const bytes of readPacketBody(reader, header)) pieces.push(bytes)
  return Buffer.concat(pieces)
}
