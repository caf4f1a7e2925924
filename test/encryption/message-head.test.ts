import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { type Recipients, readRecipients } from '../../src/encryption/keys.ts'
import { assertRecipientsInMessage, messageHeadBytes, readRecipientKeyIds } from '../../src/encryption/message-head.ts'
import { failureOf, type KeyFolder, type MadeKeys, now, openKeyFolder } from './made-keys.ts'

let keys: KeyFolder
let backup: MadeKeys
let escrow: MadeKeys
let both: Recipients
let message: Uint8Array

beforeAll(async () => {
  keys = await openKeyFolder()
  backup = await keys.make('backup')
  escrow = await keys.make('escrow')
  both = await readRecipients([backup.publicPath, escrow.publicPath], now)
  message = await encryptBytes(Buffer.alloc(100_000), both, now)
})
afterAll(async () => keys[Symbol.asyncDispose]())

const subkeyIdOf = (made: MadeKeys): string | undefined =>
  made.recipients.keys[0]?.key.subkeys[0]?.getKeyID().toHex().toUpperCase()

describe('the recipients of a message', () => {
  it('read from its first bytes - the key ids of the encryption subkeys', async () => {
    const keyIds = await readRecipientKeyIds(message.subarray(0, messageHeadBytes), 'dump.pgp')
    expect(keyIds).toEqual([subkeyIdOf(backup), subkeyIdOf(escrow)])
  })

  it.each([
    ['too few bytes', () => message.subarray(0, 150), 'it is cut short'],
    ['no message', () => Buffer.from('PGDMP'), 'it is not an OpenPGP message'],
    ['nothing', () => new Uint8Array(), 'it is empty'],
  ])('%s - DECRYPTION_FAILED', async (_name, head, reason) => {
    const failure = await failureOf(readRecipientKeyIds(head(), 'dump.pgp'))
    expect(failure).toMatchObject({ code: 'DECRYPTION_FAILED', message: `cannot decrypt dump.pgp: ${reason}` })
  })
})

describe('recipients of a message and of its manifest', () => {
  const check = async (
    bytes: Uint8Array,
    fingerprints: readonly string[],
    recipients: Recipients,
  ): Promise<{ code: unknown; message: string }> =>
    failureOf(
      (async () => {
        const keyIds = await readRecipientKeyIds(bytes.subarray(0, messageHeadBytes), 'it')
        assertRecipientsInMessage(keyIds, fingerprints, recipients, 'it')
      })(),
    )

  it('the same - nothing is thrown', async () => {
    expect((await check(message, both.fingerprints, both)).code).toBe('none')
  })

  it('one recipient no longer configured - nothing is thrown, its place is counted', async () => {
    expect((await check(message, both.fingerprints, backup.recipients)).code).toBe('none')
    const replaced = await keys.make('replaced')
    expect((await check(message, both.fingerprints, replaced.recipients)).code).toBe('none')
  })

  it('one that the manifest names is missing in the message - VERIFY_FAILED names it', async () => {
    const forOne = await encryptBytes(Buffer.alloc(10), backup.recipients, now)
    const failure = await check(forOne, both.fingerprints, both)
    expect(failure).toMatchObject({
      code: 'VERIFY_FAILED',
      message: `verification of it failed at "recipients": it is not encrypted to ${escrow.fingerprint}`,
    })
    // Unknown here, but still one too few.
    expect((await check(forOne, both.fingerprints, backup.recipients)).message).toContain(
      'recipients: 1 in it, 2 in the manifest',
    )
  })

  it('one in the message that the manifest does not name - VERIFY_FAILED', async () => {
    expect((await check(message, [backup.fingerprint], both)).message).toContain('does not name its recipient')
    expect((await check(message, [backup.fingerprint], backup.recipients)).message).toContain(
      'recipients: 2 in it, 1 in the manifest',
    )
  })
})
