import { config, encryptKey, enums, generateKey, readKey, readPrivateKey, revokeKey } from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decryptBytes } from '../../src/encryption/decrypt.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import {
  assertRecipientsUsable,
  assertSigningKeyUsable,
  readPrivateKeys,
  readRecipients,
  readSigningKey,
  readTrustedSigners,
} from '../../src/encryption/keys.ts'
import { failureOf, type KeyFolder, keysMadeAt, type MadeKeys, now, openKeyFolder } from './made-keys.ts'

const day = 86_400_000
let keys: KeyFolder
let backup: MadeKeys
let escrow: MadeKeys

beforeAll(async () => {
  keys = await openKeyFolder()
  backup = await keys.make('backup', { expiresAfterMs: 365 * day })
  escrow = await keys.make('escrow')
})
afterAll(async () => keys[Symbol.asyncDispose]())

const fingerprintsIn = async (...paths: string[]): Promise<readonly string[]> =>
  (await readRecipients(paths, now)).fingerprints

describe('recipients', () => {
  it('armored, from several files - fingerprints and when they expire', async () => {
    const recipients = await readRecipients([backup.publicPath, escrow.publicPath], now)
    expect(recipients.fingerprints).toEqual([backup.fingerprint, escrow.fingerprint])
    expect(recipients.fingerprints[0]).toMatch(/^[0-9A-F]{40}$/)
    expect(recipients.expiries).toEqual([
      { fingerprint: backup.fingerprint, expiresAt: new Date('2026-03-01T00:00:00Z') },
      { fingerprint: escrow.fingerprint, expiresAt: null },
    ])
  })

  it('binary, one or several in a file - read', async () => {
    const [first, second] = await Promise.all(
      [backup, escrow].map(async (each) => (await readKey({ armoredKey: each.publicKey })).write()),
    )
    const one = await keys.file('one.gpg', first as Uint8Array)
    const two = await keys.file('two.gpg', Buffer.concat([first as Uint8Array, second as Uint8Array]))
    expect(await fingerprintsIn(one)).toEqual([backup.fingerprint])
    expect(await fingerprintsIn(two)).toEqual([backup.fingerprint, escrow.fingerprint])
  })

  it('armored blocks one after the other, with notes and Windows line ends - all read', async () => {
    const text = `the backup key\n\n${backup.publicKey}\nand the escrow key:\n${escrow.publicKey}`
    const path = await keys.file('both.asc', text.replaceAll('\n', '\r\n'))
    expect(await fingerprintsIn(path)).toEqual([backup.fingerprint, escrow.fingerprint])
  })

  it('a private key - only its public part is kept', async () => {
    const recipients = await readRecipients([backup.privatePath], now)
    expect(recipients.fingerprints).toEqual([backup.fingerprint])
    expect(recipients.keys[0]?.key.isPrivate()).toBe(false)
  })

  it('the same key twice - one recipient', async () => {
    expect(await fingerprintsIn(backup.publicPath, backup.privatePath)).toEqual([backup.fingerprint])
  })

  it('the same key twice, revoked in one of the files - KEY_UNUSABLE', async () => {
    const revoked = await revokedCopy(escrow, 'escrow-revoked.asc')
    for (const paths of [
      [escrow.publicPath, revoked],
      [revoked, escrow.publicPath],
    ])
      expect((await failureOf(readRecipients(paths, now))).code).toBe('KEY_UNUSABLE')
  })

  it('no file at all - KEY_NEEDED', async () => {
    expect((await failureOf(readRecipients([], now))).code).toBe('KEY_NEEDED')
  })

  it.each([
    ['empty', '', 'the file is empty'],
    ['not a key', 'hello', 'it is not an OpenPGP key'],
    ['a certificate', '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n', 'it holds a certificate, not'],
    ['a message', '-----BEGIN PGP MESSAGE-----\n\nAA==\n-----END PGP MESSAGE-----\n', 'it holds a pgp message, not'],
    ['cut short', '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxjMEZ', 'cut short'],
    [
      'damaged',
      '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxjME\n-----END PGP PUBLIC KEY BLOCK-----\n',
      'it is not an OpenPGP',
    ],
  ])('a file that is %s - KEY_UNREADABLE names path and reason', async (name, contents, reason) => {
    const path = await keys.file(`${name}.bad`, contents)
    const failure = await failureOf(readRecipients([path], now))
    expect(failure.code).toBe('KEY_UNREADABLE')
    expect(failure.message).toContain(`cannot read the key ${path}: `)
    expect(failure.message).toContain(reason)
  })

  it('a key of a version that OpenPGP.js does not know - KEY_UNREADABLE, not a file without keys', async () => {
    const bytes = Buffer.from((await readKey({ armoredKey: escrow.publicKey })).toPacketList()[0]?.write() ?? [])
    bytes[0] = 99
    const packet = Buffer.concat([Buffer.from([0xc6, bytes.length]), bytes])
    const failure = await failureOf(readRecipients([await keys.file('v99.gpg', packet)], now))
    expect(failure).toMatchObject({
      code: 'KEY_UNREADABLE',
      message: expect.stringContaining('it holds no key that OpenPGP.js can read'),
    })
  })

  it('a missing file, a folder - KEY_UNREADABLE with the system’s reason', async () => {
    const failure = await failureOf(readRecipients([`${keys.folder}/none`], now))
    expect(failure).toMatchObject({ code: 'KEY_UNREADABLE', message: expect.stringContaining('ENOENT') })
    expect((await failureOf(readRecipients([keys.folder], now))).message).toContain('EISDIR')
  })
})

describe('recipients that nothing can be encrypted to', () => {
  it('expired - KEY_UNUSABLE says when', async () => {
    const later = new Date('2026-03-01T00:00:00Z')
    expect((await readRecipients([backup.publicPath], new Date(later.getTime() - 1000))).fingerprints).toHaveLength(1)
    const failure = await failureOf(readRecipients([backup.publicPath], later))
    expect(failure.code).toBe('KEY_UNUSABLE')
    expect(failure.message).toBe(
      `key ${backup.fingerprint} from ${backup.publicPath} cannot be used: it expired at 2026-03-01T00:00:00Z`,
    )
  })

  it('revoked - KEY_UNUSABLE', async () => {
    const failure = await failureOf(readRecipients([await revokedCopy(escrow, 'revoked.asc')], now))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('it is revoked') })
  })

  it('made in the future - KEY_UNUSABLE points at the clock', async () => {
    const failure = await failureOf(readRecipients([backup.publicPath], new Date('2024-01-01')))
    expect(failure.message).toContain('it was made at 2025-03-01T00:00:00Z, which is in the future')
  })

  it('only for signing - KEY_UNUSABLE', async () => {
    const { publicPath } = await signingPair('sign-only')
    const failure = await failureOf(readRecipients([publicPath], now))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('it can only sign') })
  })

  it('its encryption subkey expired, the key itself did not - KEY_UNUSABLE names the subkey', async () => {
    const pair = await generateKey({
      userIDs: [{ name: 's' }],
      subkeys: [{ keyExpirationTime: 86_400 }],
      date: keysMadeAt,
      format: 'object',
    })
    const path = await keys.file('old-subkey.asc', pair.publicKey.armor())
    const keyId = pair.publicKey.subkeys[0]?.getKeyID().toHex().toUpperCase()
    const failure = await failureOf(readRecipients([path], now))
    expect(failure.message).toContain(`its encryption subkey ${keyId} expired at 2025-03-02T00:00:00Z`)
    const inTime = await readRecipients([path], keysMadeAt)
    expect(inTime.expiries[0]?.expiresAt).toEqual(new Date('2025-03-02T00:00:00Z'))
    expect(() => assertRecipientsUsable(inTime, now)).toThrow('it expired at 2025-03-02T00:00:00Z')
    const privatePath = await keys.file('old-subkey.key.asc', pair.privateKey.armor())
    const { expiries } = await readPrivateKeys([privatePath], undefined, now)
    expect(expiries[0]?.expiresAt).toEqual(new Date('2025-03-02T00:00:00Z'))
  })

  it('two encryption subkeys, both expired - KEY_UNUSABLE names the newer one', async () => {
    const pair = await generateKey({
      userIDs: [{ name: 's' }],
      subkeys: [{ keyExpirationTime: 86_400 }, { keyExpirationTime: 86_400, date: new Date('2025-03-02') }],
      date: keysMadeAt,
      format: 'object',
    })
    const path = await keys.file('old-subkeys.asc', pair.publicKey.armor())
    const newer = pair.publicKey.subkeys[1]?.getKeyID().toHex().toUpperCase()
    expect((await failureOf(readRecipients([path], now))).message).toContain(
      `its encryption subkey ${newer} expired at 2025-03-03T00:00:00Z`,
    )
  })

  it('its encryption subkey revoked - KEY_UNUSABLE names the subkey', async () => {
    const pair = await generateKey({ userIDs: [{ name: 's' }], date: keysMadeAt, format: 'object' })
    const [subkey] = pair.privateKey.subkeys
    if (subkey === undefined) throw new Error('no subkey')
    pair.privateKey.subkeys = [await subkey.revoke(pair.privateKey.keyPacket as never, undefined, keysMadeAt)]
    const path = await keys.file('revoked-subkey.asc', pair.privateKey.toPublic().armor())
    const failure = await failureOf(readRecipients([path], now))
    expect(failure.message).toMatch(/its encryption subkey [0-9A-F]{16}: Subkey is revoked/)
  })

  it('two encryption subkeys, the newer one expires first - usable until the last of them ends', async () => {
    const pair = await generateKey({
      userIDs: [{ name: 's' }],
      subkeys: [{ keyExpirationTime: 200 * 86_400 }, { keyExpirationTime: 100 * 86_400, date: new Date('2025-03-02') }],
      date: keysMadeAt,
      format: 'object',
    })
    const recipients = await readRecipients([await keys.file('two-subkeys.asc', pair.publicKey.armor())], now)
    expect(recipients.expiries[0]?.expiresAt).toEqual(new Date('2025-09-17T00:00:00Z'))
    // Between the two ends the older one serves.
    await encryptBytes(Buffer.from('x'), recipients, new Date('2025-08-01'))
  })

  it('version 6 - KEY_UNUSABLE, because GnuPG cannot read it', async () => {
    const pair = await generateKey({ userIDs: [{ name: 'six' }], date: keysMadeAt, config: { v6Keys: true } })
    const failure = await failureOf(readRecipients([await keys.file('v6.asc', pair.publicKey)], now))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('version 6 key') })
  })

  it('an algorithm that GnuPG does not know - KEY_UNUSABLE', async () => {
    const pair = await generateKey({ userIDs: [{ name: 'x' }], type: 'curve25519', date: keysMadeAt })
    const failure = await failureOf(readRecipients([await keys.file('x25519.asc', pair.publicKey)], now))
    expect(failure.message).toContain('its algorithm x25519 cannot be read by GnuPG')
  })

  it('RSA of 1024 bits - KEY_UNUSABLE with OpenPGP.js’s reason', async () => {
    const config = { minRSABits: 1024 }
    const pair = await generateKey({ userIDs: [{ name: 'w' }], type: 'rsa', rsaBits: 1024, date: keysMadeAt, config })
    const failure = await failureOf(readRecipients([await keys.file('weak.asc', pair.publicKey)], now))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('2047 bits') })
  })

  it('SEIPD version 2 accepted and nothing else - KEY_UNUSABLE', async () => {
    const { privateKey } = await generateKey({
      userIDs: [{ name: 'two' }],
      date: keysMadeAt,
      format: 'object',
      config: { nonDeterministicSignaturesViaNotation: false },
    })
    const { user, selfCertification } = await privateKey.getPrimaryUser(keysMadeAt)
    selfCertification.features = Uint8Array.of(0x08)
    // Its type leaves out the last two parameters.
    const signIt = selfCertification.sign.bind(selfCertification) as (...args: unknown[]) => Promise<void>
    const { keyPacket } = privateKey
    await signIt(keyPacket, { userID: user.userID, key: keyPacket }, keysMadeAt, false, config)
    const path = await keys.file('v2-only.asc', privateKey.toPublic().armor())
    const failure = await failureOf(readRecipients([path], now))
    expect(failure.message).toContain('it accepts version 2 of encrypted data only')
  })

  it('SEIPD version 2 preferred, version 1 accepted - taken, and version 1 written', async () => {
    const config = { aeadProtect: true }
    const pair = await generateKey({ userIDs: [{ name: 'aead' }], date: keysMadeAt, config })
    const recipients = await readRecipients([await keys.file('aead.asc', pair.publicKey)], now)
    const encrypted = Buffer.from(await encryptBytes(Buffer.from('x'), recipients, now))
    const privateKeys = await readPrivateKeys([await keys.file('aead.key.asc', pair.privateKey)], undefined, now)
    expect(Buffer.from(await decryptBytes(encrypted, privateKeys, 'it')).toString()).toBe('x')
  })
})

describe('private keys', () => {
  it('locked, with the passphrase - unlocked, asked for it only then', async () => {
    const locked = await keys.make('locked', { passphrase: 'correct horse' })
    let asked = 0
    const passphrase = (): string => {
      asked += 1
      return 'correct horse\n'
    }
    await readPrivateKeys([backup.privatePath], passphrase, now)
    expect(asked).toBe(0)
    const privateKeys = await readPrivateKeys([backup.privatePath, locked.privatePath], passphrase, now)
    expect(privateKeys.fingerprints).toEqual([backup.fingerprint, locked.fingerprint])
    expect(privateKeys.keys[1]?.key.isDecrypted()).toBe(true)
    expect(asked).toBeGreaterThan(0)
  })

  it('wrong passphrase - PASSPHRASE_WRONG names the file, not the passphrase', async () => {
    const { privatePath } = await keys.make('locked-too', { passphrase: 'correct' })
    const failure = await failureOf(readPrivateKeys([privatePath], () => 'hunter2', now))
    expect(failure.code).toBe('PASSPHRASE_WRONG')
    expect(failure.message).toContain(privatePath)
    expect(JSON.stringify(failure)).not.toContain('hunter2')
    expect((await failureOf(readPrivateKeys([privatePath], () => '', now))).code).toBe('PASSPHRASE_WRONG')
  })

  it('locked in an old way that OpenPGP.js refuses - KEY_UNREADABLE with its reason, the passphrase is not to blame', async () => {
    const { privateKey } = await keys.make('locked-oddly', { passphrase: 'correct' })
    const bytes = Buffer.from((await readPrivateKey({ armoredKey: privateKey })).write())
    // Protected with a SHA-1, which 0xff would make a sum of two bytes; by AES-256, iterated and salted, with SHA-256.
    const protection = Buffer.from([0xfe, 0x09, 0x03, 0x08])
    expect(bytes.includes(protection)).toBe(true)
    for (let at = bytes.indexOf(protection); at !== -1; at = bytes.indexOf(protection)) bytes[at] = 0xff
    const failure = await failureOf(readPrivateKeys([await keys.file('odd.gpg', bytes)], () => 'correct', now))
    expect(failure).toMatchObject({ code: 'KEY_UNREADABLE', message: expect.stringContaining('two-byte hash') })
  })

  it('locked, and no passphrase configured - KEY_NEEDED', async () => {
    const { privatePath } = await keys.make('locked-again', { passphrase: 'correct' })
    const failure = await failureOf(readPrivateKeys([privatePath], undefined, now))
    expect(failure).toMatchObject({ code: 'KEY_NEEDED', message: expect.stringContaining('encryption.passphraseFile') })
  })

  it('a public key by mistake - KEY_UNREADABLE says so', async () => {
    const failure = await failureOf(readPrivateKeys([backup.publicPath], undefined, now))
    expect(failure).toMatchObject({ code: 'KEY_UNREADABLE', message: expect.stringContaining('it is a public key') })
  })

  it('expired, or revoked as superseded - still opens what was encrypted before', async () => {
    const encrypted = await encryptBytes(Buffer.from('old rows'), backup.recipients, now)
    const late = await readPrivateKeys([backup.privatePath], undefined, new Date('2030-01-01'))
    expect(Buffer.from(await decryptBytes(encrypted, late, 'it')).toString()).toBe('old rows')
    expect(late.expiries).toEqual([{ fingerprint: backup.fingerprint, expiresAt: new Date('2026-03-01T00:00:00Z') }])

    const { privateKey } = await revokeKey({
      key: await readPrivateKey({ armoredKey: backup.privateKey }),
      reasonForRevocation: { flag: enums.reasonForRevocation.keySuperseded },
      date: now,
    })
    const revoked = await readPrivateKeys([await keys.file('revoked.key.asc', privateKey)], undefined, now)
    expect(Buffer.from(await decryptBytes(encrypted, revoked, 'it')).toString()).toBe('old rows')
  })

  it('only for signing - KEY_UNUSABLE', async () => {
    const { privatePath } = await signingPair('sign-only-too')
    const failure = await failureOf(readPrivateKeys([privatePath], undefined, now))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('no secret part') })
  })

  it('public half exchanged for another key’s - KEY_UNREADABLE', async () => {
    const [own, foreign] = await Promise.all(
      [backup, escrow].map(({ privateKey }) => readPrivateKey({ armoredKey: privateKey })),
    )
    if (own === undefined || foreign === undefined) throw new Error('no keys')
    const packet = own.keyPacket as unknown as { publicParams: unknown }
    packet.publicParams = (foreign.keyPacket as unknown as { publicParams: unknown }).publicParams
    const failure = await failureOf(readPrivateKeys([await keys.file('mixed.asc', own.armor())], undefined, now))
    expect(failure.code).toBe('KEY_UNREADABLE')
  })

  it('locked in the newer way, with Argon2 and AEAD - opened too', async () => {
    const unlocked = await readPrivateKey({ armoredKey: escrow.privateKey })
    const locked = await encryptKey({
      privateKey: unlocked,
      passphrase: 'x',
      config: { aeadProtect: true, s2kType: enums.s2k.argon2 },
    })
    const opened = await readPrivateKeys([await keys.file('argon.asc', locked.armor())], () => 'x', now)
    expect(opened.fingerprints).toEqual([escrow.fingerprint])
  })
})

describe('the signing key', () => {
  it('valid - read, with its expiry', async () => {
    const signing = await keys.make('signing', { expiresAfterMs: 365 * day })
    const key = await readSigningKey(signing.privatePath, undefined, now)
    expect(key.fingerprint).toBe(signing.fingerprint)
    expect(key.expiresAt).toEqual(new Date('2026-03-01T00:00:00Z'))
    await assertSigningKeyUsable(key, now)
    expect((await failureOf(assertSigningKeyUsable(key, new Date('2027-01-01')))).code).toBe('KEY_UNUSABLE')
  })

  it('expired - KEY_UNUSABLE', async () => {
    const failure = await failureOf(readSigningKey(backup.privatePath, undefined, new Date('2027-01-01')))
    expect(failure.code).toBe('KEY_UNUSABLE')
  })

  it('several in the file - KEY_UNREADABLE', async () => {
    const path = await keys.file('several.asc', backup.privateKey + escrow.privateKey)
    const failure = await failureOf(readSigningKey(path, undefined, now))
    expect(failure).toMatchObject({ code: 'KEY_UNREADABLE', message: expect.stringContaining('several keys') })
  })

  it('public, locked, wrong passphrase - the same errors as for private keys', async () => {
    const locked = await keys.make('locked-signer', { passphrase: 'right' })
    expect((await failureOf(readSigningKey(locked.publicPath, undefined, now))).code).toBe('KEY_UNREADABLE')
    expect((await failureOf(readSigningKey(locked.privatePath, undefined, now))).code).toBe('KEY_NEEDED')
    expect((await failureOf(readSigningKey(locked.privatePath, () => 'no', now))).code).toBe('PASSPHRASE_WRONG')
    expect((await readSigningKey(locked.privatePath, () => 'right', now)).fingerprint).toBe(locked.fingerprint)
  })
})

describe('trusted signers', () => {
  it('expired or not - read; not a key - KEY_UNREADABLE', async () => {
    const signers = await readTrustedSigners([backup.publicPath, escrow.publicPath], new Date('2030-01-01'))
    expect(signers.fingerprints).toEqual([backup.fingerprint, escrow.fingerprint])
    const path = await keys.file('no-signer', 'nothing')
    expect((await failureOf(readTrustedSigners([path], now))).code).toBe('KEY_UNREADABLE')
  })
})

async function signingPair(name: string): Promise<{ publicPath: string; privatePath: string }> {
  const pair = await generateKeyPair({ name, kind: 'ecc', use: 'signing', now: keysMadeAt })
  const publicPath = await keys.file(`${name}.pub.asc`, pair.publicKey)
  return { publicPath, privatePath: await keys.file(`${name}.key.asc`, pair.privateKey) }
}

async function revokedCopy(made: MadeKeys, name: string): Promise<string> {
  const { publicKey } = await revokeKey({
    key: await readKey({ armoredKey: made.publicKey }),
    revocationCertificate: made.revocationCertificate,
    date: now,
  })
  return await keys.file(name, publicKey)
}
