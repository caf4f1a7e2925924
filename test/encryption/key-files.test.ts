import { readKey } from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readPrivateKeys, readRecipients, readTrustedSigners } from '../../src/encryption/keys.ts'
import { failureOf, type KeyFolder, type MadeKeys, now, openKeyFolder } from './made-keys.ts'

let keys: KeyFolder
let backup: MadeKeys
let escrow: MadeKeys

beforeAll(async () => {
  keys = await openKeyFolder()
  backup = await keys.make('backup')
  escrow = await keys.make('escrow')
})
afterAll(async () => keys[Symbol.asyncDispose]())

const fingerprintsIn = async (path: string): Promise<readonly string[]> =>
  (await readRecipients([path], now)).fingerprints

const binary = async (pair: MadeKeys): Promise<Uint8Array> =>
  (await readKey({ armoredKey: pair.publicKey })).write() as Uint8Array

/** Headers such as other programs write, with dashes in them. */
const withHeaders = (armored: string): string =>
  armored.replace('-----\n', '-----\nVersion: GnuPG v2.0.22 (MingW32)\nComment: GPGTools - https://gpgtools.org\n')

describe('a file of several armored keys', () => {
  it.each([
    ['glued together, the first one without its last line break', () => backup.publicKey.trim() + escrow.publicKey],
    ['a mark of UTF-8 in front', () => `\uFEFF${backup.publicKey}${escrow.publicKey}`],
    ['the second one indented', () => backup.publicKey + escrow.publicKey.replaceAll(/^/gm, '  ')],
    ['indented by tabs, Windows line ends', () => both().replaceAll(/^/gm, '\t').replaceAll('\n', '\r\n')],
    ['the end of a block on the line of its checksum', () => both().replaceAll('\n-----END', '-----END')],
    ['headers with dashes', () => withHeaders(backup.publicKey) + withHeaders(escrow.publicKey)],
    [
      'notes in another tongue between them',
      () => `Schlüssel\n${backup.publicKey}für den Tresor:\n${escrow.publicKey}`,
    ],
  ])('%s - all are read', async (_what, text) => {
    expect(await fingerprintsIn(await keys.file('several.asc', text()))).toEqual([
      backup.fingerprint,
      escrow.fingerprint,
    ])
  })

  const both = (): string => backup.publicKey + escrow.publicKey

  it.each([
    ['the second one cut', () => both().slice(0, -100), '2 beginnings and 1 ends'],
    ['the first one cut', () => backup.publicKey.slice(0, 300) + escrow.publicKey, '2 beginnings and 1 ends'],
    [
      'the second one without its beginning',
      () => both().replace(/(END[\s\S]*)-----BEGIN.*/, '$1'),
      '1 beginnings and 2',
    ],
    [
      'a dash lost at the second one',
      () => both().replace(/([\s\S]*)-----BEGIN/, '$1----BEGIN'),
      '2 beginnings and 2 ends',
    ],
    [
      'another kind of end',
      () => both().replace(/END PGP PUBLIC/, 'END PGP PRIVATE'),
      '2 beginnings and 2 ends of armored keys, of which 1 make',
    ],
    [
      'an indented message among them',
      () => `${backup.publicKey}  -----BEGIN PGP MESSAGE-----\n\n  AA==\n  -----END PGP MESSAGE-----\n`,
      'it holds a pgp message',
    ],
  ])('%s - KEY_UNREADABLE, no key is dropped in silence', async (_what, text, reason) => {
    const failure = await failureOf(readRecipients([await keys.file('damaged.asc', text())], now))
    expect(failure.code).toBe('KEY_UNREADABLE')
    expect(failure.message).toContain(reason)
  })

  it('a binary key beside an armored one - KEY_UNREADABLE', async () => {
    const key = await binary(escrow)
    for (const parts of [
      [key, backup.publicKey],
      [backup.publicKey, key],
    ]) {
      const path = await keys.file('mixed.gpg', Buffer.concat(parts.map((part) => Buffer.from(part))))
      expect(await failureOf(readRecipients([path], now))).toMatchObject({
        code: 'KEY_UNREADABLE',
        message: expect.stringContaining('something else beside its armored keys'),
      })
    }
  })
})

describe('a key among others that OpenPGP.js cannot read', () => {
  /** The file's first key as it is, and a second one that says it is of version 99. */
  const withUnknown = (known: Uint8Array, tag: number): Buffer => {
    const packet = Buffer.from([0xc0 | tag, 6, 99, 1, 2, 3, 4, 5])
    return Buffer.concat([known, packet])
  }
  const armored = (packets: Buffer, kind: string): string =>
    `-----BEGIN PGP ${kind} KEY BLOCK-----\n\n${packets.toString('base64')}\n-----END PGP ${kind} KEY BLOCK-----\n`
  const reason = 'it holds 2 keys, of which OpenPGP.js can read 1'

  it('binary, and within one armored block - KEY_UNREADABLE as recipients and as trusted signers', async () => {
    const packets = withUnknown(await binary(backup), 6)
    for (const contents of [packets, armored(packets, 'PUBLIC')]) {
      const path = await keys.file('one-known.gpg', contents)
      for (const read of [readRecipients, readTrustedSigners])
        expect(await failureOf(read([path], now))).toMatchObject({
          code: 'KEY_UNREADABLE',
          message: expect.stringContaining(reason),
        })
    }
  })

  it('private keys - KEY_UNREADABLE', async () => {
    const packets = withUnknown((await readKey({ armoredKey: backup.privateKey })).write() as Uint8Array, 5)
    for (const contents of [packets, armored(packets, 'PRIVATE')]) {
      const path = await keys.file('one-known.key', contents)
      const failure = await failureOf(readPrivateKeys([path], undefined, now))
      expect(failure).toMatchObject({ code: 'KEY_UNREADABLE', message: expect.stringContaining(reason) })
    }
  })

  it('the second one cut short - KEY_UNREADABLE', async () => {
    const both = Buffer.concat([await binary(backup), await binary(escrow)])
    const path = await keys.file('cut.gpg', both.subarray(0, -10))
    expect((await failureOf(readRecipients([path], now))).code).toBe('KEY_UNREADABLE')
  })

  it('a subkey of a version that is not known - the key counts without it', async () => {
    expect(await fingerprintsIn(await keys.file('subkey.gpg', withUnknown(await binary(backup), 14)))).toEqual([
      backup.fingerprint,
    ])
  })
})
