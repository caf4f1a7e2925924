import { createMessage, enums, readKey, readPrivateKey, revokeKey, sign } from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSigningKey, readTrustedSigners, type SigningKey, type TrustedSigners } from '../../src/encryption/keys.ts'
import { signDetached, verifyDetached } from '../../src/encryption/sign.ts'
import { type Gpg, startGpg } from '../support/gpg.ts'
import { failureOf, type KeyFolder, type MadeKeys, now, openKeyFolder } from './made-keys.ts'

const manifest = Buffer.from('{\n  "format": 1,\n  "label": "20250601T020000Z-4f7k"\n}\n')
const expiresAfterMs = 365 * 86_400_000
const afterExpiry = new Date('2026-06-01T00:00:00Z')
let gpg: Gpg
let keys: KeyFolder
let made: MadeKeys
let signer: SigningKey
let trusted: TrustedSigners

beforeAll(async () => {
  gpg = await startGpg()
  keys = await openKeyFolder()
  made = await keys.make('signer', { expiresAfterMs })
  signer = await readSigningKey(made.privatePath, undefined, now)
  trusted = await readTrustedSigners([made.publicPath], now)
})
afterAll(async () => {
  await keys[Symbol.asyncDispose]()
  await gpg[Symbol.asyncDispose]()
})

const verified = (
  signature: Uint8Array,
  bytes: Uint8Array = manifest,
  signers = trusted,
): Promise<{ fingerprint: string }> => verifyDetached(bytes, signature, signers, 'it')

const invalid = async (signature: Uint8Array, bytes?: Uint8Array, signers?: TrustedSigners): Promise<string> => {
  const failure = await failureOf(verified(signature, bytes, signers))
  expect(failure.code).toBe('SIGNATURE_INVALID')
  expect(failure.message).toMatch(/^the signature of it is not valid: /)
  return failure.message
}

describe('our signature', () => {
  it('armored text, verified by gpg --verify on the files', async () => {
    const signature = await signDetached(manifest, signer, now)
    expect(Buffer.from(signature).toString()).toMatch(
      /^-----BEGIN PGP SIGNATURE-----\n[\s\S]*-----END PGP SIGNATURE-----\n$/,
    )
    await gpg.import(made.publicKey)
    const signed = await gpg.file('manifest.json', manifest)
    const path = await gpg.file('manifest.json.sig', signature)
    const { stderr } = await gpg.run(['--status-fd', '2', '--verify', path, signed])
    expect(stderr).toMatch(new RegExp(`VALIDSIG ${made.fingerprint} `))
    await gpg.file('manifest.json', `${manifest} `)
    await expect(gpg.run(['--verify', path, signed])).rejects.toThrow('BAD signature')
  })

  it('verified by us - tells who signed', async () => {
    expect(await verified(await signDetached(manifest, signer, now))).toEqual({ fingerprint: made.fingerprint })
  })

  it('several trusted signers - tells which of them it was', async () => {
    const second = await keys.make('second')
    const both = await readTrustedSigners([second.publicPath, made.publicPath], now)
    expect((await verified(await signDetached(manifest, signer, now), manifest, both)).fingerprint).toBe(
      made.fingerprint,
    )
  })

  it('by a locked RSA key - verified by gpg and by us', async () => {
    const rsa = await keys.make('rsa', { kind: 'rsa', passphrase: 'correct horse' })
    const rsaSigner = await readSigningKey(rsa.privatePath, () => 'correct horse', now)
    const signature = await signDetached(manifest, rsaSigner, now)
    await gpg.import(rsa.publicKey)
    const [signed, path] = [await gpg.file('m.json', manifest), await gpg.file('m.json.sig', signature)]
    await gpg.run(['--verify', path, signed])
    expect(await verified(signature, manifest, await readTrustedSigners([rsa.publicPath], now))).toEqual({
      fingerprint: rsa.fingerprint,
    })
  })

  it('by a key that has expired meanwhile - KEY_UNUSABLE instead of a signature', async () => {
    expect((await failureOf(signDetached(manifest, signer, afterExpiry))).code).toBe('KEY_UNUSABLE')
  })
})

describe('a signature of gpg', () => {
  it('armored or binary, by a primary key or a signing subkey - verified', async () => {
    const fingerprint = await gpg.generateKey('gpg signer', 'ed25519', 'cert')
    await gpg.run(['--quick-add-key', fingerprint, 'ed25519', 'sign'])
    const signers = await readTrustedSigners(
      [await gpg.file('s.pub', (await gpg.run(['--export', fingerprint])).stdout)],
      now,
    )
    for (const armor of [['--armor'], []]) {
      const { stdout } = await gpg.run([...armor, '-u', fingerprint, '--detach-sign'], { input: manifest })
      expect(await verified(stdout, manifest, signers)).toEqual({ fingerprint })
    }
  })

  it('from before gpg extended the key’s validity, which replaces its self-signature - still verified', async () => {
    const options = { fakedTime: '20250101T000000', expires: '90d' }
    const fingerprint = await gpg.generateKey('extended signer', 'ed25519', 'sign', options)
    const early = await gpg.run(['--armor', '-u', fingerprint, '--detach-sign'], {
      input: manifest,
      fakedTime: '20250115T000000',
    })
    await gpg.run(['--quick-set-expire', fingerprint, '10y'], { fakedTime: '20250301T000000' })
    const exported = await gpg.file('extended.pub', (await gpg.run(['--export', fingerprint])).stdout)
    const signers = await readTrustedSigners([exported], now)
    expect(await verified(early.stdout, manifest, signers)).toEqual({ fingerprint })
    expect(await invalid(early.stdout, Buffer.from('other'), signers)).toContain('digest')
  })

  it('as text, where line ends may change - SIGNATURE_INVALID', async () => {
    const fingerprint = await gpg.generateKey('text signer', 'ed25519', 'sign')
    const { stdout } = await gpg.run(['--textmode', '-u', fingerprint, '--detach-sign'], { input: manifest })
    const signers = await readTrustedSigners(
      [await gpg.file('t.pub', (await gpg.run(['--export', fingerprint])).stdout)],
      now,
    )
    expect(await invalid(stdout, manifest, signers)).toContain('binary data')
  })
})

describe('the time of a signature', () => {
  it('signer expired since - still valid', async () => {
    const signature = await signDetached(manifest, signer, now)
    const late = await readTrustedSigners([made.publicPath], afterExpiry)
    expect(await verified(signature, manifest, late)).toEqual({ fingerprint: made.fingerprint })
  })

  it('signer already expired when it signed - SIGNATURE_INVALID', async () => {
    expect(await invalid(await signedAt(afterExpiry))).toContain('expired')
  })

  it('made before the key was - SIGNATURE_INVALID', async () => {
    const fingerprint = await gpg.generateKey('late signer', 'ed25519', 'sign', { fakedTime: '20250301T000000' })
    const args = ['--ignore-time-conflict', '-u', fingerprint, '--detach-sign']
    const { stdout } = await gpg.run(args, { input: manifest, fakedTime: '20240101T000000' })
    const exported = await gpg.file('late.pub', (await gpg.run(['--export', fingerprint])).stdout)
    const failure = await invalid(stdout, manifest, await readTrustedSigners([exported], now))
    expect(failure).toContain('newer than the signature')
  })

  it('signer revoked as superseded later - still valid; as compromised - SIGNATURE_INVALID', async () => {
    const signature = await signDetached(manifest, signer, now)
    const revokedFor = async (flag: enums.reasonForRevocation): Promise<TrustedSigners> => {
      const { publicKey } = await revokeKey({
        key: await readPrivateKey({ armoredKey: made.privateKey }),
        reasonForRevocation: { flag },
        date: new Date('2025-09-01'),
      })
      return await readTrustedSigners([await keys.file('revoked-signer.asc', publicKey)], now)
    }
    const superseded = await revokedFor(enums.reasonForRevocation.keySuperseded)
    expect(await verified(signature, manifest, superseded)).toEqual({ fingerprint: made.fingerprint })
    expect(await invalid(signature, manifest, await revokedFor(enums.reasonForRevocation.keyCompromised))).toContain(
      'revoked',
    )
  })

  /** By the same secret key, in a program that does not look at its expiry. */
  async function signedAt(date: Date): Promise<Uint8Array> {
    const key = await readPrivateKey({ armoredKey: made.privateKey })
    key.getSigningKey = async () => key
    const message = await createMessage({ binary: manifest })
    return Buffer.from(await sign({ message, signingKeys: key, detached: true, date }))
  }
})

describe('what is no valid signature', () => {
  it('over other bytes - SIGNATURE_INVALID', async () => {
    const signature = await signDetached(manifest, signer, now)
    const changed = Buffer.from(manifest)
    changed[20] = (changed[20] as number) ^ 1
    await invalid(signature, changed)
    await invalid(signature, manifest.subarray(0, -1))
    await invalid(signature, new Uint8Array())
  })

  it('by somebody else - SIGNATURE_INVALID names the key id', async () => {
    const stranger = await keys.make('stranger')
    const signature = await signDetached(manifest, await readSigningKey(stranger.privatePath, undefined, now), now)
    const keyId = (await readKey({ armoredKey: stranger.publicKey })).getKeyID().toHex()
    expect(await invalid(signature)).toContain(keyId)
    await invalid(signature, manifest, { keys: [], fingerprints: [], expiries: [] })
  })

  it('one byte of it changed - SIGNATURE_INVALID', async () => {
    const binary = (await gpg.run(['--dearmor'], { input: await signDetached(manifest, signer, now) })).stdout
    // Two bytes of header, then the signed part of the signature. What follows says some things twice.
    const signedEnd = 2 + 6 + binary.readUInt16BE(6)
    for (let position = 0; position < binary.length; position += 1) {
      const damaged = Buffer.from(binary)
      damaged[position] = (damaged[position] as number) ^ 0x40
      const { code } = await failureOf(verified(damaged))
      if (position < signedEnd || code !== 'none') expect(code, `byte ${position}`).toBe('SIGNATURE_INVALID')
    }
  })

  it.each([
    ['nothing', ''],
    ['text', 'no signature'],
    ['damaged armor', '-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n'],
    ['a key', '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxjME\n-----END PGP PUBLIC KEY BLOCK-----\n'],
  ])('%s - SIGNATURE_INVALID', async (_name, text) => {
    await invalid(Buffer.from(text))
  })

  it('two signatures at once - SIGNATURE_INVALID', async () => {
    const binary = (await gpg.run(['--dearmor'], { input: await signDetached(manifest, signer, now) })).stdout
    expect(await invalid(Buffer.concat([binary, binary]))).toContain('not exactly one signature')
  })

  it('a message that is signed and holds its own contents - SIGNATURE_INVALID', async () => {
    const fingerprint = await gpg.generateKey('inline signer', 'ed25519', 'sign')
    const { stdout } = await gpg.run(['-u', fingerprint, '--sign'], { input: manifest })
    await invalid(stdout)
  })
})
