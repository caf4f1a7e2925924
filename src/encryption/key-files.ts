import { readFile } from 'node:fs/promises'
import { type Key, type PrivateKey, readKeys, unarmor } from 'openpgp'
import { PgproofError, reasonOf } from '../errors.ts'
import { ByteReader, MalformedPacket, readPacketBody, readPacketHeader } from './packets.ts'
import { wholeBytes } from './whole-bytes.ts'

/**
 * Every key in the file, public or private, in its order. The file may be binary or armored, with several keys in one
 * block or several blocks one after the other. Throws `KEY_UNREADABLE`, also where only some of its keys can be read:
 * a recipient that is passed over in silence is missed when its key is the last one left.
 */
export async function readKeyFile(path: string): Promise<readonly Key[]> {
  const contents = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw unreadable(path, error.code ?? reasonOf(error), error)
  })
  if (contents.length === 0) throw unreadable(path, 'the file is empty')
  const otherForm = otherFormOf(contents)
  if (otherForm !== undefined) throw unreadable(path, otherForm)
  const keys: Key[] = []
  let present = 0
  try {
    for (const binaryKeys of await packetsOf(path, contents)) {
      keys.push(...(await readKeys({ binaryKeys })))
      present += await countPrimaryKeys(binaryKeys)
    }
  } catch (error) {
    if (error instanceof PgproofError) throw error
    if (error instanceof MalformedPacket) throw unreadable(path, error.message, error)
    // OpenPGP.js passes over what it does not know, such as a key of another version; so it says when nothing is left.
    const isLacking = reasonOf(error) === 'No key packet found'
    throw unreadable(path, isLacking ? await whatElse(path, contents) : 'it is not an OpenPGP key', error)
  }
  if (present > keys.length)
    throw unreadable(
      path,
      `it holds ${present} keys, of which OpenPGP.js can read ${keys.length}; export anew those that are wanted`,
    )
  return keys
}

/** How many keys the packets hold, of whatever version and algorithm. Throws `MalformedPacket`. */
async function countPrimaryKeys(packets: Uint8Array): Promise<number> {
  const reader = new ByteReader(wholeBytes(packets))
  let count = 0
  for (let header = await readPacketHeader(reader); header !== undefined; header = await readPacketHeader(reader)) {
    for await (const _part of readPacketBody(reader, header));
    if (primaryKeyPackets.has(header.tag)) count += 1
  }
  return count
}

/** The packets of each armored block, or those of the whole file. Throws `KEY_UNREADABLE`. */
async function packetsOf(path: string, contents: Buffer): Promise<Uint8Array[]> {
  const text = contents.toString('latin1')
  if (!text.includes('-----BEGIN')) return [contents]
  const parts: Uint8Array[] = []
  for (const block of armoredBlocks(path, text)) parts.push((await unarmor(block)).data as Uint8Array)
  // The version number in a key packet, which no text has.
  if (contents.some((byte) => byte > 0 && byte < 9))
    throw unreadable(path, 'it holds something else beside its armored keys, such as a binary one')
  return parts
}

/** What a file of packets is in which there was no key to be read, by the type of its first packet (RFC 9580, 4.2). */
async function whatElse(path: string, contents: Buffer): Promise<string> {
  const [first] = await packetsOf(path, contents)
  const [head = 0] = first ?? []
  const tag = (head & 0x40) === 0 ? (head >> 2) & 0x0f : head & 0x3f
  if (tag === signaturePacket) return 'it is not an OpenPGP key but a signature, such as a revocation certificate'
  return keyPackets.has(tag) ? 'it holds no key that OpenPGP.js can read' : 'it is not an OpenPGP key'
}

const signaturePacket = 2
/** Secret and public key. */
const primaryKeyPackets: ReadonlySet<number> = new Set([5, 6])
/** And their subkeys. */
const keyPackets: ReadonlySet<number> = new Set([...primaryKeyPackets, 7, 14])

/** The file's private keys; a public key among them is an error, because somebody took the wrong file. */
export async function readPrivateKeyFile(path: string): Promise<readonly PrivateKey[]> {
  const keys = await readKeyFile(path)
  return keys.map((key) => {
    if (!key.isPrivate()) throw unreadable(path, 'it is a public key, and the private one is needed here')
    return key
  })
}

/** What whoever has the key in GnuPG does to have it in a file. */
export function exportWhole(fingerprint: string): string {
  return `where the whole key is: gpg --export-secret-keys --armor ${fingerprint} > backup.key.asc`
}

/** Whether GnuPG's mark stands in the file for a secret part that a smart card has. */
export async function isOnCard(path: string): Promise<boolean> {
  const parts = await packetsOf(path, await readFile(path))
  return parts.some((part) => Buffer.from(part).includes(onCard))
}

/** Mode 2 of GnuPG's own way of protecting a secret part. */
const onCard = Buffer.from('GNU\u0002', 'latin1')

/** As OpenPGP is written: 40 upper-case hexadecimal digits (64 for a version 6 key). */
export function fingerprintOf(key: Pick<Key, 'getFingerprint'>): string {
  return key.getFingerprint().toUpperCase()
}

/** The last 16 digits of a fingerprint, by which messages and signatures name a key. */
export function keyIdOf(key: Pick<Key, 'getKeyID'>): string {
  return key.getKeyID().toHex().toUpperCase()
}

/** Files of GnuPG itself that are no exported keys; undefined for anything else. */
function otherFormOf(contents: Buffer): string | undefined {
  const text = contents.subarray(0, 4096).toString('latin1')
  if (/^(?:Created: |Key: \()|^\(\d+:(?:protected-|shadowed-)?private-key/m.test(text))
    return 'it is a file of gpg-agent (private-keys-v1.d), which only gpg-agent reads; export the key'
  if (text.slice(8, 12) === 'KBXf') return 'it is a keybox, GnuPG’s own file for public keys; export the key'
  return undefined
}

/**
 * The armored blocks of a text, each as it is written: editors and `cat` indent lines, glue two files together where the
 * first has no last line break, and put a mark in front. Throws `KEY_UNREADABLE` where a block is not whole.
 */
function armoredBlocks(path: string, text: string): string[] {
  for (const [, kind] of text.matchAll(/-----BEGIN ([A-Z0-9 ,/]+)-----/g))
    if (kind !== 'PGP PUBLIC KEY BLOCK' && kind !== 'PGP PRIVATE KEY BLOCK')
      throw unreadable(path, `it holds a ${kind?.toLowerCase()}, not an OpenPGP key`)
  const pattern = /-----BEGIN (PGP (?:PUBLIC|PRIVATE) KEY BLOCK)-----([\s\S]*?)-----END \1-----/g
  const blocks = [...text.matchAll(pattern)].map(([, kind, lines = '']) => {
    const trimmed = lines.replaceAll(/^[ \t]+/gm, '').replace(/\s+$/, '')
    return `-----BEGIN ${kind}-----${trimmed}\n-----END ${kind}-----\n`
  })
  // Without the dashes, one of which may be lost, too.
  const count = (pattern: RegExp): number => [...text.matchAll(pattern)].length
  const begun = count(/BEGIN PGP (?:PUBLIC|PRIVATE) KEY BLOCK/g)
  const ended = count(/END PGP (?:PUBLIC|PRIVATE) KEY BLOCK/g)
  if (blocks.length === 0 && ended === 0) throw unreadable(path, 'its armor has no end; the file is cut short')
  if (begun !== blocks.length || ended !== blocks.length)
    throw unreadable(
      path,
      `it has ${begun} beginnings and ${ended} ends of armored keys, of which ${blocks.length} make whole ones; export them anew`,
    )
  return blocks
}

function unreadable(path: string, reason: string, cause?: unknown): PgproofError {
  return new PgproofError('KEY_UNREADABLE', { path, reason }, { cause })
}
