import { readKey, readPrivateKey, reformatKey, revokeKey } from 'openpgp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair, type KeyPair } from '../../src/encryption/generate.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { targetName } from '../support/restoring.ts'
import { type CliFolder, cliFolder } from './cli.ts'

// A backup of yesterday, so to speak, encrypted to the key in escrow as well, of which something is wrong today.
const hourMs = 3_600_000
let shop: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder
let escrow: KeyPair
let label = ''
const madeAt = new Date(Date.now() - 24 * hourMs)

beforeAll(async () => {
  shop = await testDatabase('template1')
  await query(shop.url, 'CREATE TABLE sold (id int); INSERT INTO sold SELECT generate_series(1, 500)')
  escrow = await generateKeyPair({ name: 'escrow', kind: 'ecc', use: 'backup', now: madeAt })
  folder = await cliFolder([shop.name], {
    encryption: { recipients: ['pub.asc', 'escrow.asc'], privateKeyFile: 'key.asc' },
  })
  await folder.write('escrow.asc', escrow.publicKey)
  const { document } = await folder.json(['backup'])
  label = String(document['runs']?.[0]?.['label'])
})
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

/** The very same key, with another signature that ended an hour after it was made. */
async function expired(): Promise<string> {
  const { publicKey } = await reformatKey({
    privateKey: await readPrivateKey({ armoredKey: escrow.privateKey }),
    userIDs: [{ name: 'escrow' }],
    keyExpirationTime: 3600,
    date: madeAt,
  })
  return publicKey
}

async function revoked(): Promise<string> {
  const key = await readKey({ armoredKey: escrow.publicKey })
  return (await revokeKey({ key, revocationCertificate: escrow.revocationCertificate })).publicKey
}

async function ofTomorrow(): Promise<string> {
  const now = new Date(Date.now() + 24 * hourMs)
  return escrow.publicKey + (await generateKeyPair({ name: 'next', kind: 'ecc', use: 'backup', now })).publicKey
}

const all = /^2 of 2 keys found in dump and evidence$/
const oneLess = /^1 of 2 keys found in dump and evidence; could not be checked, /

describe.each([
  ['expired', expired, 'it expired at', all],
  ['revoked', revoked, 'it is revoked', all],
  ['not yet valid', ofTomorrow, 'in the future', all],
  ['damaged', async () => escrow.publicKey.slice(0, -100), 'its armor has no end', oneLess],
])('a recipient that is %s', (what, change, reason, found) => {
  beforeAll(async () => {
    await folder.write('escrow.asc', await change())
  })

  it('nothing is encrypted to it - no backup, no drill, no guard', async () => {
    const guard = ['guard', `main/${shop.name}`, '--', 'true']
    for (const args of [['backup'], ['drill'], guard]) {
      expect(await folder.run(args)).toMatchObject({ code: 13, stderr: expect.stringContaining(reason) })
    }
  })

  it('verify, show, restore - the last backup is as good as before', async () => {
    await using target = targetName(testUrl())
    const verified = await folder.json(['verify', label])
    expect(verified.code).toBe(0)
    expect(verified.document).toMatchObject({
      verdict: 'passed',
      checks: expect.arrayContaining([
        expect.objectContaining({ name: 'recipients', detail: expect.stringMatching(found) }),
      ]),
    })
    expect(verified.stderr.includes('cannot be checked')).toBe(what === 'damaged')
    expect((await folder.run(['show', label])).stdout).toMatch(/^ {2}public\.sold +500 /m)
    const restored = await folder.run(['restore', 'latest', '--to', target.url, '--create', '--verify'])
    expect(restored).toMatchObject({ code: 0 })
    expect(await query(target.url, 'SELECT count(*)::int AS rows FROM sold')).toEqual([{ rows: 500 }])
  })
})
