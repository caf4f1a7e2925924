import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decryptBytes } from '../../src/encryption/decrypt.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { readPrivateKeys, readRecipients } from '../../src/encryption/keys.ts'
import { type Gpg, startGpg } from '../support/gpg.ts'
import { failureOf, keysMadeAt } from './made-keys.ts'

// gpg goes by the system's time, so its keys are made and used at it, as it passes.
const now = (): Date => new Date()
const data = randomBytes(900_000)
let gpg: Gpg

beforeAll(async () => {
  gpg = await startGpg()
})
afterAll(async () => gpg[Symbol.asyncDispose]())

async function publicKeyOf(fingerprint: string, name: string, form: 'armored' | 'binary' = 'armored'): Promise<string> {
  const { stdout } = await gpg.run([...(form === 'armored' ? ['--armor'] : []), '--export', fingerprint])
  return await gpg.file(name, stdout)
}

async function privateKeyOf(
  fingerprint: string,
  name: string,
  passphrase = '',
  how = '--export-secret-keys',
): Promise<string> {
  const { stdout } = await gpg.run(['--armor', how, fingerprint], { passphrase })
  return await gpg.file(name, stdout)
}

describe('our keys in gpg', () => {
  it.each([
    ['ecc', undefined],
    ['ecc', 'correct horse'],
    ['rsa', undefined],
    ['rsa', 'correct horse'],
  ] as const)(
    '%s, passphrase %s - imported, decrypts what we encrypted and what gpg encrypted',
    async (kind, passphrase) => {
      const name = `${kind} ${passphrase ?? 'unlocked'}`
      const pair = await generateKeyPair({
        name,
        email: 'b@example.com',
        kind,
        use: 'backup',
        passphrase,
        now: keysMadeAt,
      })
      await gpg.run(['--import'], { input: pair.privateKey, passphrase: passphrase ?? '' })
      const listed = (await gpg.run(['--with-colons', '--list-keys', pair.fingerprint])).stdout.toString()
      expect(listed).toContain(`${name} <b@example.com>`)

      const recipients = await readRecipients([await gpg.file('own.pub', pair.publicKey)], now())
      const ours = await encryptBytes(data, recipients, now())
      const opened = await gpg.run(['--decrypt'], { input: ours, passphrase: passphrase ?? '' })
      expect(opened.stdout.equals(data)).toBe(true)

      const theirs = await gpg.run(['--encrypt', '--compress-algo', 'none', '-r', pair.fingerprint], { input: data })
      const keyFile = await gpg.file('own.key', pair.privateKey)
      const privateKeys = await readPrivateKeys([keyFile], () => passphrase ?? '', now())
      expect(Buffer.from(await decryptBytes(theirs.stdout, privateKeys, 'it')).equals(data)).toBe(true)
    },
  )

  it('revoked by its certificate in gpg - gpg takes the certificate, we refuse the key', async () => {
    const pair = await generateKeyPair({ name: 'to be revoked', kind: 'ecc', use: 'backup', now: keysMadeAt })
    await gpg.import(pair.publicKey)
    await gpg.import(pair.revocationCertificate)
    const path = await publicKeyOf(pair.fingerprint, 'revoked.pub')
    const failure = await failureOf(readRecipients([path], now()))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('it is revoked') })
  })
})

describe('gpg’s keys and ours', () => {
  it.each([
    ['future-default', 'default', ''],
    ['future-default', 'default', 'correct horse'],
    ['rsa3072', 'default', ''],
    ['rsa2048', 'default', 'correct horse'],
  ])('%s with %s subkeys, passphrase "%s" - both ways', async (algorithm, use, passphrase) => {
    const user = `gpg ${algorithm} ${passphrase}`
    const fingerprint = await gpg.generateKey(user, algorithm, use, { passphrase })
    // RSA by quick generation has no subkey yet.
    if (algorithm.startsWith('rsa')) await gpg.run(['--quick-add-key', fingerprint, algorithm, 'encr'], { passphrase })
    for (const form of ['armored', 'binary'] as const) {
      const recipients = await readRecipients([await publicKeyOf(fingerprint, `${form}.pub`, form)], now())
      expect(recipients.fingerprints).toEqual([fingerprint])
      const ours = await encryptBytes(data, recipients, now())
      expect((await gpg.run(['--decrypt'], { input: ours, passphrase })).stdout.equals(data)).toBe(true)
    }
    const path = await privateKeyOf(fingerprint, 'private.asc', passphrase)
    const privateKeys = await readPrivateKeys([path], () => passphrase, now())
    const theirs = await gpg.run(['--encrypt', '--compress-algo', 'none', '-r', fingerprint], { input: data })
    expect(Buffer.from(await decryptBytes(theirs.stdout, privateKeys, 'it')).equals(data)).toBe(true)
  })

  it('a key whose primary part is kept elsewhere (subkeys only, locked) - opens', async () => {
    const passphrase = 'offline'
    const fingerprint = await gpg.generateKey('offline primary', 'ed25519', 'cert', { passphrase })
    await gpg.run(['--quick-add-key', fingerprint, 'cv25519', 'encr'], { passphrase })
    const path = await privateKeyOf(fingerprint, 'subkeys.asc', passphrase, '--export-secret-subkeys')
    const privateKeys = await readPrivateKeys([path], () => passphrase, now())
    const recipients = await readRecipients([await publicKeyOf(fingerprint, 'offline.pub')], now())
    const ours = await encryptBytes(data, recipients, now())
    expect(Buffer.from(await decryptBytes(ours, privateKeys, 'it')).equals(data)).toBe(true)
    expect((await failureOf(readPrivateKeys([path], () => 'wrong', now()))).code).toBe('PASSPHRASE_WRONG')
  })

  it('several keys in one export - all are recipients, and each of their owners opens it', async () => {
    const owners = [
      await gpg.generateKey('first owner', 'future-default', 'default'),
      await gpg.generateKey('second owner', 'future-default', 'default'),
    ]
    const { stdout } = await gpg.run(['--armor', '--export', ...owners])
    const recipients = await readRecipients([await gpg.file('owners.asc', stdout)], now())
    expect([...recipients.fingerprints].sort()).toEqual([...owners].sort())
    const encrypted = await gpg.file('for-owners.pgp', await encryptBytes(data, recipients, now()))
    for (const owner of owners) {
      await using alone = await startGpg()
      await alone.import((await gpg.run(['--armor', '--export-secret-keys', owner])).stdout)
      expect((await alone.run(['--decrypt', encrypted])).stdout.equals(data)).toBe(true)
    }
  })

  it('a new encryption subkey - used from then on, the old one opens what was before', async () => {
    const fingerprint = await gpg.generateKey('rotated', 'future-default', 'default', { fakedTime: '20250101T000000' })
    const before = await encryptBytes(
      data,
      await readRecipients([await publicKeyOf(fingerprint, 'r1.pub')], now()),
      now(),
    )
    await gpg.run(['--quick-add-key', fingerprint, 'cv25519', 'encr'], { fakedTime: '20250301T000000' })
    const after = await encryptBytes(
      data,
      await readRecipients([await publicKeyOf(fingerprint, 'r2.pub')], now()),
      now(),
    )
    const keyIds = async (bytes: Uint8Array): Promise<string | undefined> =>
      /keyid ([0-9A-F]{16})/.exec((await gpg.run(['--list-packets'], { input: bytes })).stdout.toString())?.[1]
    expect(await keyIds(before)).not.toBe(await keyIds(after))
    const privateKeys = await readPrivateKeys([await privateKeyOf(fingerprint, 'r.key')], undefined, now())
    for (const bytes of [before, after])
      expect(Buffer.from(await decryptBytes(bytes, privateKeys, 'it')).equals(data)).toBe(true)
  })

  it('expired, and extended afterwards - refused, then taken', async () => {
    const options = { fakedTime: '20250101T000000', expires: '30d' }
    const fingerprint = await gpg.generateKey('extended', 'future-default', 'default', options)
    const expired = await publicKeyOf(fingerprint, 'expired.pub')
    const failure = await failureOf(readRecipients([expired], now()))
    expect(failure).toMatchObject({
      code: 'KEY_UNUSABLE',
      message: expect.stringContaining('it expired at 2025-01-31T00:00:00Z'),
    })
    await gpg.run(['--quick-set-expire', fingerprint, '0'], { fakedTime: '20250301T000000' })
    const recipients = await readRecipients([await publicKeyOf(fingerprint, 'extended.pub')], now())
    const ours = await encryptBytes(data, recipients, now())
    expect((await gpg.run(['--decrypt'], { input: ours })).stdout.equals(data)).toBe(true)
  })

  it('revoked by gpg - KEY_UNUSABLE', async () => {
    const fingerprint = await gpg.generateKey('revoked', 'future-default', 'default')
    await gpg.import(await certificateOf(fingerprint))
    const failure = await failureOf(readRecipients([await publicKeyOf(fingerprint, 'revoked.pub')], now()))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('it is revoked') })
  })

  it('only for signing - KEY_UNUSABLE', async () => {
    const fingerprint = await gpg.generateKey('signer', 'ed25519', 'sign')
    const failure = await failureOf(readRecipients([await publicKeyOf(fingerprint, 'signer.pub')], now()))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('it can only sign') })
  })
})

describe('what gpg says of our messages', () => {
  it('AES-256, integrity protected, not compressed, no file name, whatever the key prefers', async () => {
    const fingerprint = await gpg.generateKey('prefers others', 'future-default', 'default')
    const preferences = 'setpref 3DES SHA1 ZLIB'
    const commands = `${preferences}\nsave\n`
    await gpg.run(['--command-fd', '0', '--edit-key', fingerprint], { input: commands })
    const recipients = await readRecipients([await publicKeyOf(fingerprint, 'prefers.pub')], now())
    const encrypted = await encryptBytes(data, recipients, now())
    const { stdout, stderr } = await gpg.run(['--verbose', '--list-packets'], { input: encrypted })
    expect(stderr).toMatch(/AES256 encrypted data/)
    expect(stdout.toString()).toMatch(
      /:encrypted data packet:[\s\S]*mdc_method: 2[\s\S]*:literal data packet:\n\tmode b .*name=""/,
    )
    expect(stdout.toString()).not.toContain('compressed packet')
    const { stderr: status } = await gpg.run(['--status-fd', '2', '--decrypt'], { input: encrypted })
    expect(status).toMatch(/GOODMDC/)
    expect(status).toMatch(/DECRYPTION_OKAY/)
  })

  it('compressed by gpg - we refuse it and say so', async () => {
    const fingerprint = await gpg.generateKey('compressing', 'future-default', 'default')
    const theirs = await gpg.run(['--encrypt', '--compress-algo', 'zlib', '-r', fingerprint], { input: data })
    const privateKeys = await readPrivateKeys([await privateKeyOf(fingerprint, 'c.key')], undefined, now())
    const failure = await failureOf(decryptBytes(theirs.stdout, privateKeys, 'it'))
    expect(failure).toMatchObject({
      code: 'DECRYPTION_FAILED',
      message: expect.stringContaining('compressed by OpenPGP'),
    })
  })

  it('of a known length, from a file - gpg’s fixed-length packets are read too', async () => {
    const fingerprint = await gpg.generateKey('files', 'future-default', 'default')
    const privateKeys = await readPrivateKeys([await privateKeyOf(fingerprint, 'f.key')], undefined, now())
    for (const length of [0, 100, 300, 9000, 100_000]) {
      const input = await gpg.file('plain', data.subarray(0, length))
      const output = join(gpg.folder, 'plain.pgp')
      const args = ['--compress-algo', 'none', '-r', fingerprint, '--output', output, '--encrypt', input]
      await gpg.run(args)
      const { stdout } = await gpg.run(['--decrypt', output])
      const opened = await decryptBytes(await readFile(output), privateKeys, 'it')
      expect(Buffer.from(opened).equals(stdout), `${length} bytes`).toBe(true)
    }
  })
})

/** gpg writes a certificate with each key and breaks its armor, so that nobody imports it by accident. */
async function certificateOf(fingerprint: string): Promise<string> {
  const text = await readFile(join(gpg.folder, 'openpgp-revocs.d', `${fingerprint}.rev`), 'utf8')
  return text.replace(':-----BEGIN', '-----BEGIN')
}
