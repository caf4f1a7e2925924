import { randomBytes } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { armor, enums, unarmor } from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decryptBytes } from '../../src/encryption/decrypt.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { readPrivateKeys, readRecipients, readSigningKey } from '../../src/encryption/keys.ts'
import { type Gpg, startGpg } from '../support/gpg.ts'
import { failureOf } from './made-keys.ts'

// What somebody has who made their keys with GnuPG, as it comes out of `gpg --export…`.
const now = (): Date => new Date()
const data = randomBytes(70_000)
const passphrase = 'correct horse'
let gpg: Gpg

beforeAll(async () => {
  gpg = await startGpg()
})
afterAll(async () => gpg[Symbol.asyncDispose]())

/** A key that certifies, with a subkey that encrypts. */
async function makeKey(name: string, primary: string, subkey: string, locked = true): Promise<string> {
  const options = { passphrase: locked ? passphrase : '' }
  const fingerprint = await gpg.generateKey(name, primary, 'cert,sign', options)
  await gpg.run(['--quick-add-key', fingerprint, subkey, 'encr'], options)
  return fingerprint
}

async function exported(args: readonly string[], name: string): Promise<string> {
  return await gpg.file(name, (await gpg.run(args, { passphrase })).stdout)
}

describe('a key pair of gpg as recipient, and its export as private key', () => {
  it.each([
    ['RSA 3072', 'rsa3072', 'rsa3072', true],
    ['RSA 4096, no passphrase', 'rsa4096', 'rsa4096', false],
    ['Curve25519', 'ed25519', 'cv25519', true],
    ['NIST P-256', 'nistp256', 'nistp256', true],
    ['NIST P-521', 'nistp521', 'nistp521', true],
  ])(
    '%s - what we encrypt opens with the armored and with the binary export',
    async (name, primary, subkey, locked) => {
      const fingerprint = await makeKey(name, primary, subkey, locked)
      const recipients = await readRecipients([await exported(['--export', fingerprint], 'public.gpg')], now())
      expect(recipients.fingerprints).toEqual([fingerprint])
      const encrypted = await encryptBytes(data, recipients, now())
      for (const form of [['--armor'], []]) {
        const path = await exported([...form, '--export-secret-keys', fingerprint], 'private.gpg')
        const keys = await readPrivateKeys([path], () => passphrase, now())
        expect(Buffer.from(await decryptBytes(encrypted, keys, 'it')).equals(data)).toBe(true)
      }
    },
  )

  it.each([
    ['AES-256, SHA-512, iterated most', ['AES256', 'SHA512', '3', '65011712']],
    ['AES-128, SHA-1, iterated least', ['AES', 'SHA1', '3', '1024']],
    ['AES-192, salted only', ['AES192', 'SHA256', '1', '65536']],
  ])(
    'protected with %s - opens, and not with another passphrase',
    async (_what, [cipher = '', digest = '', mode = '', count = '']) => {
      const fingerprint = await makeKey(`s2k ${mode} ${cipher}`, 'ed25519', 'cv25519')
      const s2k = ['--s2k-cipher-algo', cipher, '--s2k-digest-algo', digest, '--s2k-mode', mode, '--s2k-count', count]
      const path = await exported([...s2k, '--export-secret-keys', fingerprint], 'protected.gpg')
      expect((await readPrivateKeys([path], () => passphrase, now())).fingerprints).toEqual([fingerprint])
      expect((await failureOf(readPrivateKeys([path], () => 'wrong', now()))).code).toBe('PASSPHRASE_WRONG')
    },
  )

  it('several private keys in one export, binary - each opens its own', async () => {
    const owners = [
      await makeKey('one of two', 'ed25519', 'cv25519'),
      await makeKey('two of two', 'nistp256', 'nistp256'),
    ]
    const path = await exported(['--export-secret-keys', ...owners], 'both.gpg')
    const keys = await readPrivateKeys([path], () => passphrase, now())
    expect([...keys.fingerprints].toSorted()).toEqual(owners.toSorted())
    for (const owner of owners) {
      const recipients = await readRecipients([await exported(['--export', owner], 'one.gpg')], now())
      const opened = await decryptBytes(await encryptBytes(data, recipients, now()), keys, 'it')
      expect(Buffer.from(opened).equals(data)).toBe(true)
    }
  })
})

describe('what gpg has and no other program can open', () => {
  it('a file of gpg-agent - KEY_UNREADABLE that says what it is and how to export', async () => {
    await makeKey('in the agent', 'ed25519', 'cv25519')
    const folder = join(gpg.folder, 'private-keys-v1.d')
    const names = await readdir(folder)
    expect(names.length).toBeGreaterThan(1)
    for (const name of names) {
      const failure = await failureOf(readPrivateKeys([join(folder, name)], () => passphrase, now()))
      expect(failure).toMatchObject({
        code: 'KEY_UNREADABLE',
        message: expect.stringContaining('it is a file of gpg-agent'),
        hint: expect.stringContaining('gpg --export-secret-keys --armor FINGERPRINT > backup.key.asc'),
      })
    }
  })

  it('the keybox - KEY_UNREADABLE that says so', async () => {
    const failure = await failureOf(readPrivateKeys([join(gpg.folder, 'pubring.kbx')], undefined, now()))
    expect(failure).toMatchObject({ code: 'KEY_UNREADABLE', message: expect.stringContaining('it is a keybox') })
  })

  it('a key on a smart card - KEY_UNUSABLE that says so, armored and binary', async () => {
    const bytes = Buffer.from((await unarmor((await stubs('on a card', ['--armor'])).toString())).data as Uint8Array)
    // Mode 1 of GnuPG's own protection is a stub; mode 2 says that a card has the secret part.
    const stub = Buffer.from('GNU\u0001', 'latin1')
    expect(bytes.includes(stub)).toBe(true)
    for (let at = bytes.indexOf(stub); at !== -1; at = bytes.indexOf(stub)) bytes[at + 3] = 2
    for (const contents of [bytes, armor(enums.armor.privateKey, bytes)]) {
      const failure = await failureOf(readPrivateKeys([await gpg.file('card', contents)], () => passphrase, now()))
      expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('on a smart card') })
    }
  })

  it('a key of a curve of Brainpool - KEY_UNUSABLE that names the curve, public and private', async () => {
    const fingerprint = await makeKey('brainpool', 'brainpoolP256r1', 'brainpoolP256r1')
    const publicKey = await exported(['--export', fingerprint], 'bp.gpg')
    const privateKey = await exported(['--export-secret-keys', fingerprint], 'bp-key.gpg')
    for (const read of [
      () => readRecipients([publicKey], now()),
      () => readPrivateKeys([privateKey], () => passphrase, now()),
    ])
      expect(await failureOf(read())).toMatchObject({
        code: 'KEY_UNUSABLE',
        message: expect.stringContaining('its curve brainpoolP256r1 is not supported'),
      })
  })

  it('stubs in place of what signs - KEY_UNUSABLE as a signing key', async () => {
    const fingerprint = await makeKey('signs elsewhere', 'ed25519', 'cv25519')
    const path = await exported(['--export-secret-subkeys', fingerprint], 'decrypts-only.gpg')
    expect((await readPrivateKeys([path], () => passphrase, now())).fingerprints).toEqual([fingerprint])
    expect(await failureOf(readSigningKey(path, () => passphrase, now()))).toMatchObject({
      code: 'KEY_UNUSABLE',
      message: expect.stringContaining('it holds no secret part that signs'),
    })
  })

  it('a key that only certifies - KEY_UNUSABLE as a signing key', async () => {
    const fingerprint = await gpg.generateKey('certifies only', 'ed25519', 'cert', { passphrase })
    const path = await exported(['--export-secret-keys', fingerprint], 'certifies.gpg')
    expect(await failureOf(readSigningKey(path, () => passphrase, now()))).toMatchObject({
      code: 'KEY_UNUSABLE',
      message: expect.stringMatching(/cannot be used: .*signing key/i),
    })
  })

  it('stubs only, where another machine has the secret - KEY_UNUSABLE with the command that exports it', async () => {
    const failure = await failureOf(
      readPrivateKeys([await gpg.file('stub', await stubs('elsewhere'))], () => passphrase, now()),
    )
    expect(failure).toMatchObject({
      code: 'KEY_UNUSABLE',
      message: expect.stringMatching(/gpg --export-secret-keys --armor [0-9A-F]{40} > backup\.key\.asc/),
    })
  })
})

/** The export of a key of which only a subkey that signs is on this machine; gpg puts stubs in place of the others. */
async function stubs(name: string, form: readonly string[] = []): Promise<Buffer> {
  const fingerprint = await gpg.generateKey(name, 'ed25519', 'cert', { passphrase })
  await gpg.run(['--quick-add-key', fingerprint, 'ed25519', 'sign'], { passphrase })
  await gpg.run(['--quick-add-key', fingerprint, 'cv25519', 'encr'], { passphrase })
  const { stdout } = await gpg.run(['--with-colons', '--with-keygrip', '--list-keys', fingerprint])
  const grips = [...stdout.toString().matchAll(/^grp:+([0-9A-F]{40}):/gm)].map(([, grip]) => grip)
  await rm(join(gpg.folder, 'private-keys-v1.d', `${grips[2]}.key`))
  return (await gpg.run([...form, '--export-secret-subkeys', fingerprint], { passphrase })).stdout
}
