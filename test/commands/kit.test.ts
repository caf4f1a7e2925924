import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { type CliFolder, cliFolder } from './cli.ts'

let folder: CliFolder
let escrow: Awaited<ReturnType<typeof generateKeyPair>>

beforeAll(async () => {
  folder = await cliFolder(['shop'])
  const madeAt = new Date('2024-01-01')
  escrow = await generateKeyPair({
    name: 'escrow',
    kind: 'ecc',
    use: 'backup',
    expiresAfterMs: 86_400_000,
    now: madeAt,
  })
  const signing = await generateKeyPair({ name: 'signing', kind: 'ecc', use: 'signing', now: madeAt })
  await folder.write('escrow.asc', escrow.publicKey)
  await folder.write('signing.asc', signing.publicKey)
  await folder.write('secret', 'hunter2')
})
afterAll(() => folder[Symbol.asyncDispose]())

describe('kit', () => {
  it('of the present configuration - store, every fingerprint, the commands; no secret, no store asked', async () => {
    await folder.configure({
      store: {
        url: 's3://backups/prod',
        endpoint: 'http://127.0.0.1:9',
        provider: 'minio',
        accessKeyId: 'AKIAEXAMPLE',
        secretAccessKeyFile: 'secret',
      },
      encryption: {
        recipients: ['pub.asc', 'escrow.asc'],
        privateKeyFile: 'key.asc',
        passphraseFile: 'secret',
        trustedSigners: ['signing.asc'],
      },
      servers: [{ name: 'main', url: 'postgres://backup:hunter2@db/postgres', databases: ['shop'] }],
    })
    const { code, stdout, stderr } = await folder.run(['kit'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^ {4}store +s3:\/\/backups\/prod$/m)
    expect(stdout).toContain('--store s3://backups/prod --endpoint http://127.0.0.1:9')
    expect(stdout).toContain('pgproof restore latest main/DATABASE "$@" --key key.asc')
    const { document } = await folder.json(['kit'])
    const keys = [...(document['recipients'] ?? []), ...(document['trustedSigners'] ?? [])]
    expect(keys).toHaveLength(3)
    // An expired one opens what was encrypted to it before.
    expect(keys.map((key) => String(key['fingerprint']))).toContain(escrow.fingerprint)
    for (const key of keys) expect(stdout).toContain(String(key['fingerprint']))
    expect(stdout + JSON.stringify(document)).not.toMatch(/hunter2|AKIAEXAMPLE|PRIVATE KEY/)
  })

  it('one recipient - a warning of what it means', async () => {
    await folder.configure({})
    const { code, stderr } = await folder.run(['kit'])
    expect(code).toBe(0)
    expect(stderr).toMatch(/^warning: only one recipient: if its private key is lost, so is every backup/)
  })

  it('a broken configuration, or a recipient that cannot be read - exit 2, 13', async () => {
    await folder.configure({ encryption: {} })
    expect((await folder.run(['kit'])).code).toBe(2)
    await folder.configure({ encryption: { recipients: ['secret'] } })
    expect(await folder.run(['kit'])).toMatchObject({ code: 13, stdout: '' })
  })
})
