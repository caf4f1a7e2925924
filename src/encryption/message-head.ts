import type { Key } from 'openpgp'
import { PgproofError } from '../errors.ts'
import { keyIdOf } from './key-files.ts'
import {
  ByteReader,
  lengthOctets,
  MalformedPacket,
  type PacketHeader,
  packetTags,
  readPacketBody,
  readPacketHeader,
} from './packets.ts'

/** What stands before the encrypted data of a message: for whom it is. */
export type MessageHead = {
  /** Key ids of 16 upper-case hexadecimal digits; zeros for a hidden recipient. */
  readonly recipientKeyIds: readonly string[]
  /** The packets that hold the session key, once for each recipient. */
  readonly sessionKeyPackets: Uint8Array
  readonly encrypted: PacketHeader
}

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

/**
 * The recipients of a message, read from its head; what follows is not asked for, and the source is closed. Throws
 * `DECRYPTION_FAILED`.
 */
export async function readRecipientKeyIds(
  message: AsyncIterable<Uint8Array>,
  what: string,
): Promise<readonly string[]> {
  const reader = new ByteReader(message)
  try {
    return (await readMessageHead(reader)).recipientKeyIds
  } catch (error) {
    if (!(error instanceof MalformedPacket)) throw error
    throw new PgproofError('DECRYPTION_FAILED', { what, reason: error.message }, { cause: error })
  } finally {
    await reader.close()
  }
}

/** A sender may hide whom a message is for; pgproof never does. */
export const hiddenRecipient = '0'.repeat(16)

/** A key at hand, public or private, and the fingerprint of its primary key. */
export type KnownKey = { readonly key: Key; readonly fingerprint: string }

/**
 * Checks that a message is for exactly those whom the manifest names by `fingerprints`: each whose key is in `known` is
 * among its recipients, and there are no others. The key ids in a message are those of subkeys, which only the key
 * itself links to its fingerprint; so the fingerprints of unknown keys are returned as unchecked, and so are all of a
 * message whose recipients are hidden, and keys of which only parts are known that were made after the message, at `madeAt`.
 * Throws `RECIPIENT_MISSING`, or `VERIFY_FAILED` for a recipient too many; `what` names the object, `label` its backup.
 */
export function assertRecipientsInMessage(
  recipientKeyIds: readonly string[],
  fingerprints: readonly string[],
  known: readonly KnownKey[],
  { what, label, madeAt }: { readonly what: string; readonly label: string; readonly madeAt: Date },
): { readonly unchecked: readonly string[] } {
  if (recipientKeyIds.includes(hiddenRecipient)) {
    // Who they are cannot be seen, how many can.
    if (recipientKeyIds.length < fingerprints.length)
      throw new PgproofError('RECIPIENT_MISSING', { key: what, recipients: oneOf(fingerprints) })
    return { unchecked: fingerprints }
  }
  const isAddressed = ({ key }: KnownKey): boolean =>
    key.getKeys().some((part) => recipientKeyIds.includes(keyIdOf(part)))
  const missing = fingerprints.filter((fingerprint) => {
    const copies = known.filter((one) => one.fingerprint === fingerprint)
    return copies.some((copy) => couldTell(copy, madeAt)) && !copies.some(isAddressed)
  })
  const isChecked = (one: KnownKey): boolean => isAddressed(one) || couldTell(one, madeAt)
  const checked = fingerprints.filter((fingerprint) =>
    known.some((one) => one.fingerprint === fingerprint && isChecked(one)),
  )
  const unchecked = fingerprints.filter((fingerprint) => !checked.includes(fingerprint))
  // Whoever is left out although nobody here has the key shows by the number.
  const tooFew = fingerprints.length - recipientKeyIds.length
  if (missing.length === 0 && tooFew > 0) missing.push(...(unchecked.length <= tooFew ? unchecked : [oneOf(unchecked)]))
  if (missing.length > 0) throw new PgproofError('RECIPIENT_MISSING', { key: what, recipients: missing.join(', ') })

  const fail = (reason: string): never => {
    throw new PgproofError('VERIFY_FAILED', { label, check: 'recipients', reason })
  }
  const uninvited = known.find((one) => isAddressed(one) && !fingerprints.includes(one.fingerprint))
  if (uninvited !== undefined) fail(`${what} is also encrypted to ${uninvited.fingerprint}`)
  if (tooFew < 0) fail(`${what} is encrypted to ${recipientKeyIds.length} keys, not ${fingerprints.length}`)
  return { unchecked }
}

/** Whoever gives his key a new subkey for encryption may leave out the old one, to which the message is. */
function couldTell({ key }: KnownKey, at: Date): boolean {
  if (key.subkeys.length === 0) return true
  return key.subkeys.some(
    ({ keyPacket, bindingSignatures }) =>
      keyPacket.created <= at &&
      bindingSignatures.some(({ keyFlags }) => keyFlags == null || ((keyFlags[0] ?? 0) & forEncryption) !== 0),
  )
}

/** Communications and storage (RFC 9580, 5.2.3.29). */
const forEncryption = 0x0c

function oneOf(fingerprints: readonly string[]): string {
  return `one of ${fingerprints.join(', ')}`
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
