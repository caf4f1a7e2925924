import { readFile } from 'node:fs/promises'
import { type Key, type PrivateKey, readKeys, unarmor } from 'openpgp'
import { PgproofError, reasonOf } from '../errors.ts'

/**
 * Every key in the file, public or private, in its order. The file may be binary or armored, with several keys in one
 * block or several blocks one after the other. Throws `KEY_UNREADABLE`.
 */
export async function readKeyFile(path: string): Promise<readonly Key[]> {
  const contents = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw unreadable(path, error.code ?? reasonOf(error), error)
  })
  if (contents.length === 0) throw unreadable(path, 'the file is empty')
  const otherForm = otherFormOf(contents)
  if (otherForm !== undefined) throw unreadable(path, otherForm)
  const keys: Key[] = []
  try {
    const text = contents.toString('latin1')
    if (text.includes('-----BEGIN'))
      for (const block of armoredBlocks(path, text)) keys.push(...(await readKeys(block)))
    else keys.push(...(await readKeys({ binaryKeys: contents })))
  } catch (error) {
    if (error instanceof PgproofError) throw error
    // OpenPGP.js passes over what it does not know, such as a key of another version; so it says when nothing is left.
    const isLacking = reasonOf(error) === 'No key packet found'
    throw unreadable(path, isLacking ? await whatElse(contents) : 'it is not an OpenPGP key', error)
  }
  return keys
}

/** What a file of packets is in which there was no key to be read, by the type of its first packet (RFC 9580, 4.2). */
async function whatElse(contents: Buffer): Promise<string> {
  const text = contents.toString('latin1')
  const [block] = text.includes('-----BEGIN') ? armoredBlocks('', text) : []
  const [head = 0] = block === undefined ? contents : ((await unarmor(block.armoredKeys)).data as Uint8Array)
  const tag = (head & 0x40) === 0 ? (head >> 2) & 0x0f : head & 0x3f
  if (tag === signaturePacket) return 'it is not an OpenPGP key but a signature, such as a revocation certificate'
  return keyPackets.has(tag) ? 'it holds no key that OpenPGP.js can read' : 'it is not an OpenPGP key'
}

const signaturePacket = 2
/** Secret and public key, and their subkeys. */
const keyPackets: ReadonlySet<number> = new Set([5, 6, 7, 14])

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
  const contents = await readFile(path)
  const text = contents.toString('latin1')
  const blocks = text.includes('-----BEGIN') ? armoredBlocks(path, text) : []
  const parts = await Promise.all(
    blocks.map(async ({ armoredKeys }) => (await unarmor(armoredKeys)).data as Uint8Array),
  )
  return [contents, ...parts.map((part) => Buffer.from(part))].some((bytes) => bytes.includes(onCard))
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

function armoredBlocks(path: string, text: string): { armoredKeys: string }[] {
  const blocks: { armoredKeys: string }[] = []
  for (const [, kind] of text.matchAll(/^-----BEGIN ([A-Z0-9 ,/]+)-----/gm))
    if (kind !== 'PGP PUBLIC KEY BLOCK' && kind !== 'PGP PRIVATE KEY BLOCK')
      throw unreadable(path, `it holds a ${kind?.toLowerCase()}, not an OpenPGP key`)
  const pattern = /^-----BEGIN PGP (PUBLIC|PRIVATE) KEY BLOCK-----[\s\S]*?^-----END PGP \1 KEY BLOCK-----/gm
  for (const [armoredKeys] of text.matchAll(pattern)) blocks.push({ armoredKeys })
  if (blocks.length === 0) throw unreadable(path, 'its armor has no end; the file is cut short')
  return blocks
}

function unreadable(path: string, reason: string, cause?: unknown): PgproofError {
  return new PgproofError('KEY_UNREADABLE', { path, reason }, { cause })
}
