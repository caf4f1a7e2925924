import { describe, expect, it } from 'vitest'
import { decodePruneRecord, encodePruneRecord, type PruneRecord } from '../../src/domain/prune-record.ts'

const record: PruneRecord = {
  format: 1,
  label: '20261120T030000Z-4f7k',
  storeId: 'store',
  pgproofVersion: '0.1.0',
  at: '2026-11-20T03:00:00.000Z',
  policies: [
    {
      kind: 'database',
      server: 'main',
      policy: { last: 3, daily: 7, weekly: 4, monthly: 12, yearly: 0, verified: 2 },
      timezone: 'Europe/Berlin',
    },
  ],
  removed: [
    {
      kind: 'database',
      server: 'main',
      database: 'app',
      label: '20261101T020000Z-aaaa',
      manifestSha256: 'a'.repeat(64),
    },
    { kind: 'roles', server: 'main', database: null, label: '20261101T030000Z-bbbb', manifestSha256: 'b'.repeat(64) },
  ],
}
const encoded = (document: unknown): Uint8Array => Buffer.from(JSON.stringify(document))

describe('prune record', () => {
  it('decode of encode - the same record', () => {
    expect(decodePruneRecord(encodePruneRecord(record), 'prunes/x.json')).toEqual(record)
  })

  it('a newer format - STORE_FORMAT_NEWER, never guessed', () => {
    expect(() => decodePruneRecord(encoded({ ...record, format: 2, added: true }), 'prunes/x.json')).toThrow(
      expect.objectContaining({
        code: 'STORE_FORMAT_NEWER',
        message: expect.stringContaining('prunes/x.json has format 2'),
      }),
    )
  })

  it.each([
    ['cut short', Buffer.from(encodePruneRecord(record)).subarray(0, 100)],
    ['an unknown key', encoded({ ...record, extra: 1 })],
    ['no label', encoded({ ...record, label: 'yesterday' })],
    ['a digest that is none', encoded({ ...record, removed: [{ ...record.removed[0], manifestSha256: 'abc' }] })],
    ['an array', encoded([record])],
  ])('%s - STORE_FORMAT_INVALID', (_what, bytes) => {
    expect(() => decodePruneRecord(bytes, 'x')).toThrow(expect.objectContaining({ code: 'STORE_FORMAT_INVALID' }))
  })

  it('encoding what is no record - throws before anything is written', () => {
    expect(() => encodePruneRecord({ ...record, at: 'now' })).toThrow()
  })
})
