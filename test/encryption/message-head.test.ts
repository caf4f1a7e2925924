import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { type Recipients, readRecipients } from '../../src/encryption/keys.ts'
import { assertRecipientsInMessage, readRecipientKeyIds } from '../../src/encryption/message-head.ts'
import { wholeBytes } from '../../src/encryption/whole-bytes.ts'
import { PgproofError } from '../../src/errors.ts'
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
  it('read from its head - the key ids of the encryption subkeys, the rest not asked for', async () => {
    let asked = 0
    let isClosed = false
    async function* pieces(): AsyncGenerator<Uint8Array> {
      try {
        for (let start = 0; start < message.length; start += 1000) {
          asked += 1
          yield message.subarray(start, start + 1000)
        }
      } finally {
        isClosed = true
      }
    }
    expect(await readRecipientKeyIds(pieces(), 'dump.pgp')).toEqual([subkeyIdOf(backup), subkeyIdOf(escrow)])
    expect({ asked, isClosed }).toEqual({ asked: 1, isClosed: true })
  })

  it.each([
    ['too few bytes', () => message.subarray(0, 150), 'it is cut short'],
    ['no message', () => Buffer.from('PGDMP'), 'it is not an OpenPGP message'],
    ['nothing', () => new Uint8Array(), 'it is empty'],
  ])('%s - DECRYPTION_FAILED', async (_name, head, reason) => {
    const failure = await failureOf(readRecipientKeyIds(wholeBytes(head()), 'dump.pgp'))
    expect(failure).toMatchObject({ code: 'DECRYPTION_FAILED', message: `cannot decrypt dump.pgp: ${reason}` })
  })
})

it('the store fails while the recipients are read - its own error, and not that nothing can be decrypted', async () => {
  async function* source(): AsyncGenerator<Uint8Array> {
    yield message.subarray(0, 50)
    throw new PgproofError('STORE_UNREACHABLE', { store: 's3://backups', reason: 'no route' })
  }
  expect(await failureOf(readRecipientKeyIds(source(), 'dump.pgp'))).toMatchObject({ code: 'STORE_UNREACHABLE' })
})

describe('recipients of a message and of its manifest', () => {
  const place = { what: 'dump.pgp', label: 'it', madeAt: now }
  const check = async (
    bytes: Uint8Array,
    fingerprints: readonly string[],
    recipients: Recipients,
  ): Promise<readonly string[]> => {
    const keyIds = await readRecipientKeyIds(wholeBytes(bytes), 'dump.pgp')
    return assertRecipientsInMessage(keyIds, fingerprints, recipients.keys, place).unchecked
  }

  it('the same - nobody is left unchecked', async () => {
    expect(await check(message, both.fingerprints, both)).toEqual([])
  })

  it('known by the private key alone - checked as well', async () => {
    const keyIds = await readRecipientKeyIds(wholeBytes(message), 'dump.pgp')
    const known = [...backup.privateKeys.keys, ...escrow.recipients.keys]
    expect(assertRecipientsInMessage(keyIds, both.fingerprints, known, place)).toEqual({ unchecked: [] })
  })

  it('one recipient no longer configured - returned as unchecked, its place is counted', async () => {
    expect(await check(message, both.fingerprints, backup.recipients)).toEqual([escrow.fingerprint])
    const replaced = await keys.make('replaced')
    expect(await check(message, both.fingerprints, replaced.recipients)).toEqual(both.fingerprints)
  })

  it.each([
    ['after the message - cannot be checked', '2025-07-01', true],
    ['before it - RECIPIENT_MISSING', '2025-05-01', false],
  ])('a key whose new subkey alone is known, made %s', async (_, day, isUnchecked) => {
    const [whole] = escrow.privateKeys.keys
    if (whole === undefined) throw new Error('no key')
    const renewed = await whole.key.addSubkey({ date: new Date(day) })
    renewed.subkeys.shift()
    const known = [...backup.recipients.keys, { key: renewed.toPublic(), fingerprint: escrow.fingerprint }]
    const checked = (async () => {
      const keyIds = await readRecipientKeyIds(wholeBytes(message), 'dump.pgp')
      return assertRecipientsInMessage(keyIds, both.fingerprints, known, place)
    })()
    if (isUnchecked) expect(await checked).toEqual({ unchecked: [escrow.fingerprint] })
    else expect(await failureOf(checked)).toMatchObject({ code: 'RECIPIENT_MISSING' })
  })

  it('hidden recipients - nobody can be checked', () => {
    const hidden = ['0'.repeat(16), '0'.repeat(16)]
    expect(assertRecipientsInMessage(hidden, both.fingerprints, both.keys, place).unchecked).toEqual(both.fingerprints)
  })

  it('one that the manifest names is missing in the message - RECIPIENT_MISSING names it', async () => {
    const forOne = await encryptBytes(Buffer.alloc(10), backup.recipients, now)
    const named = {
      code: 'RECIPIENT_MISSING',
      message: `dump.pgp is not encrypted to ${escrow.fingerprint}, though its manifest says so`,
    }
    expect(await failureOf(check(forOne, both.fingerprints, both))).toMatchObject(named)
    // Its key is not known here, but somebody is missing, and everybody else is there.
    expect(await failureOf(check(forOne, both.fingerprints, backup.recipients))).toMatchObject(named)
    const third = await keys.make('third')
    const failure = await failureOf(check(message, [...both.fingerprints, third.fingerprint], backup.recipients))
    expect(failure.message).toContain(`one of ${escrow.fingerprint}, ${third.fingerprint}`)
  })

  it('one in the message that the manifest does not name - VERIFY_FAILED', async () => {
    const known = await failureOf(check(message, [backup.fingerprint], both))
    expect(known).toMatchObject({
      code: 'VERIFY_FAILED',
      message: `verification of it failed at "recipients": dump.pgp is also encrypted to ${escrow.fingerprint}`,
    })
    const unknown = await failureOf(check(message, [backup.fingerprint], backup.recipients))
    expect(unknown.message).toContain('dump.pgp is encrypted to 2 keys, not 1')
  })
})
