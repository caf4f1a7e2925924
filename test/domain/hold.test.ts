import { describe, expect, it } from 'vitest'
import { decodeHold, encodeHold, hasRunOut, holdLeaseMs, holdReason, saysRunOut } from '../../src/domain/hold.ts'

const now = new Date('2026-11-20T02:00:00Z')
const later = (ms: number): Date => new Date(now.getTime() + ms)
const minuteMs = 60_000

describe('a hold', () => {
  it('written and read - the same; it counts for half an hour', () => {
    const bytes = encodeHold({ by: 'drill', host: 'db2', since: later(-minuteMs), now, folders: ['main/app/x/'] })
    expect(Buffer.from(bytes).toString()).toMatch(/^\{\n {2}"format": 1,\n.*\}\n$/s)
    expect(decodeHold(bytes, 'hold')).toEqual({
      format: 1,
      by: 'drill',
      host: 'db2',
      since: '2026-11-20T01:59:00.000Z',
      until: '2026-11-20T02:30:00.000Z',
      folders: ['main/app/x/'],
    })
  })

  it.each([
    ['büro server/2\n', 'b-ro-server-2-'],
    ['', 'unknown'],
    ['x'.repeat(300), 'x'.repeat(255)],
    ['fe80::1', 'fe80::1'],
  ])('a host named %j - %j, which every reader takes', (host, written) => {
    const bytes = encodeHold({ by: 'restore', host, since: now, now, folders: ['f/'] })
    expect(decodeHold(bytes, 'hold').host).toBe(written)
  })

  it('of a newer pgproof, with more in it - read; without a folder, or no hold at all - STORE_FORMAT_INVALID', () => {
    const hold = { format: 9, by: 'new purpose', host: 'h', since: now.toISOString(), until: now.toISOString() }
    const read = (document: object) => decodeHold(Buffer.from(JSON.stringify(document)), 'hold')
    expect(read({ ...hold, folders: ['f/'], more: 1 }).by).toBe('new purpose')
    for (const wrong of [
      { ...hold, folders: [] },
      { ...hold, folders: ['f/'], format: 0 },
      { ...hold, folders: ['f/'], by: 'A' },
      { ...hold, folders: ['f/'], by: '-a' },
      { ...hold, folders: ['f/'], by: 'a!' },
      { ...hold, folders: ['f/'], host: 'a b' },
      { ...hold, folders: ['f/'], host: 'h ' },
      { ...hold, folders: ['f/'], until: 'soon' },
    ])
      expect(() => read(wrong)).toThrow(expect.objectContaining({ code: 'STORE_FORMAT_INVALID' }))
  })

  it('by the clock of the store - over once lease and five minutes are past, not at that very moment', () => {
    const end = holdLeaseMs + 5 * minuteMs
    expect(hasRunOut(now, later(end))).toBe(false)
    expect(hasRunOut(now, later(end + 1))).toBe(true)
  })

  it('by what it says - over five minutes after its end; a date more than a day ahead says nothing', () => {
    const says = (aheadMs: number): boolean => saysRunOut({ until: later(aheadMs).toISOString() }, now)
    expect([says(-5 * minuteMs), says(-5 * minuteMs - 1)]).toEqual([false, true])
    expect([says(24 * 60 * minuteMs), says(24 * 60 * minuteMs + 1)]).toEqual([false, true])
  })

  it('its reason - rounded up to the minute at which it is over; with the day where it is another one', () => {
    const hold = { by: 'restore', host: 'db2', since: now.toISOString() }
    expect(holdReason({ ...hold, until: later(30 * minuteMs).toISOString() })).toBe(
      'a restore on db2 reads it since 2026-11-20 02:00 UTC; if it was killed, until 02:35 UTC',
    )
    expect(holdReason({ ...hold, until: later(30 * minuteMs + 1).toISOString() })).toContain('until 02:36 UTC')
    expect(holdReason({ ...hold, until: later(23 * 60 * minuteMs).toISOString() })).toContain(
      'until 2026-11-21 01:05 UTC',
    )
  })
})
