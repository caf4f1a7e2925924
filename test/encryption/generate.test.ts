import { enums, readKey, readPrivateKey } from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { readRecipients } from '../../src/encryption/keys.ts'
import { type Gpg, startGpg } from '../support/gpg.ts'
import { failureOf, keysMadeAt } from './made-keys.ts'

let gpg: Gpg

beforeAll(async () => {
  gpg = await startGpg()
})
afterAll(async () => gpg[Symbol.asyncDispose]())

const request = { name: 'Backups of main', kind: 'ecc', use: 'backup', now: keysMadeAt } as const

describe('a generated pair', () => {
  it.each([
    ['ecc', 'backup', ['pub:-:256:22', 'sub:-:255:18']],
    ['ecc', 'signing', ['pub:-:256:22']],
    ['rsa', 'backup', ['pub:-:4096:1', 'sub:-:4096:1']],
  ] as const)('%s for %s - gpg shows these algorithms', async (kind, use, expected) => {
    const pair = await generateKeyPair({ ...request, kind, use, email: 'dba@example.com' })
    await gpg.import(pair.publicKey)
    const { stdout } = await gpg.run(['--with-colons', '--list-keys', pair.fingerprint])
    const lines = stdout.toString().split('\n')
    const shown = lines.filter((line) => /^(pub|sub)/.test(line)).map((line) => line.split(':').slice(0, 4).join(':'))
    // gpg may know the curves by one bit more or less.
    expect(shown.map((line) => line.replace(/:25[56]:/, ':25x:'))).toEqual(
      expected.map((line) => line.replace(/:25[56]:/, ':25x:')),
    )
    expect(stdout.toString()).toContain('Backups of main <dba@example.com>')
    expect(pair.fingerprint).toMatch(/^[0-9A-F]{40}$/)
  })

  it('expiry - gpg shows the same day', async () => {
    const pair = await generateKeyPair({ ...request, expiresAfterMs: 730 * 86_400_000 })
    await gpg.import(pair.publicKey)
    const { stdout } = await gpg.run(['--with-colons', '--list-keys', pair.fingerprint])
    const expiry = new Date(keysMadeAt.getTime() + 730 * 86_400_000)
    for (const kind of ['pub', 'sub'])
      expect(stdout.toString()).toMatch(new RegExp(`^${kind}:.*:${expiry.getTime() / 1000}:`, 'm'))
  })

  it('preferences - AES-256 first, and integrity protection of version 1 only', async () => {
    const pair = await generateKeyPair(request)
    const { selfCertification } = await (await readKey({ armoredKey: pair.publicKey })).getPrimaryUser(keysMadeAt)
    expect(selfCertification.preferredSymmetricAlgorithms?.[0]).toBe(enums.symmetric.aes256)
    expect(selfCertification.features?.[0]).toBe(1)
  })

  it('passphrase - the private key is locked by it, with a salted and iterated key', async () => {
    const pair = await generateKeyPair({ ...request, passphrase: 'correct horse' })
    const key = await readPrivateKey({ armoredKey: pair.privateKey })
    expect(key.isDecrypted()).toBe(false)
    const { stdout } = await gpg.run(['--list-packets'], { input: pair.privateKey })
    expect(stdout.toString().match(/iter\+salt S2K, algo: 9, SHA1 protection, hash: \d+/g)).toHaveLength(2)
    expect(pair.privateKey).not.toContain('correct horse')
  })

  it('for signing - cannot become a recipient by mistake', async () => {
    const pair = await generateKeyPair({ ...request, use: 'signing' })
    const failure = await failureOf(readRecipients([await gpg.file('signing.pub', pair.publicKey)], keysMadeAt))
    expect(failure).toMatchObject({ code: 'KEY_UNUSABLE', message: expect.stringContaining('it can only sign') })
  })

  it('public half - holds nothing of the private one', async () => {
    const pair = await generateKeyPair(request)
    expect((await readKey({ armoredKey: pair.publicKey })).isPrivate()).toBe(false)
    for (const text of [pair.publicKey, pair.privateKey, pair.revocationCertificate]) expect(text).not.toContain('\r')
  })
})

describe('what no key can be made of', () => {
  it.each([
    ['an email that is none', { ...request, email: 'nobody' }],
    ['a validity of no time', { ...request, expiresAfterMs: 0 }],
    ['a validity in the past', { ...request, expiresAfterMs: -1000 }],
    ['a validity beyond what a key can state', { ...request, expiresAfterMs: 200 * 365 * 86_400_000 }],
    ['no name', { ...request, name: ' ' }],
    ['a name with an address in it', { ...request, name: 'a <b@example.com>' }],
    ['an empty passphrase', { ...request, passphrase: '' }],
  ])('%s - USAGE_INVALID', async (_name, wrong) => {
    expect((await failureOf(generateKeyPair(wrong))).code).toBe('USAGE_INVALID')
  })
})
