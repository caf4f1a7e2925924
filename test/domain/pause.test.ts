import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  covers,
  decodePause,
  encodePause,
  isForgettable,
  isPauseLine,
  isWithin,
  type Pause,
  type PauseDocument,
  pausesInForce,
  pauseText,
  type Resume,
  toPauseLine,
} from '../../src/domain/pause.ts'

const at = (text: string): Date => new Date(text)
const pause = (changes: Partial<Pause> = {}): Pause => ({
  format: 1,
  kind: 'pause',
  label: '20261120T020000Z-4f7k',
  server: 'main',
  database: null,
  jobs: ['backup', 'roles', 'drill'],
  since: '2026-11-20T02:00:00.000Z',
  until: '2026-11-20T06:00:00.000Z',
  reason: 'move to the new rack',
  by: 'ops@db2',
  ...changes,
})
const resume = (changes: Partial<Resume> = {}): Resume => ({
  format: 1,
  kind: 'resume',
  label: '20261120T030000Z-9x2c',
  ends: ['20261120T020000Z-4f7k'],
  at: '2026-11-20T03:00:00.000Z',
  by: 'ops@db2',
  ...changes,
})

describe('pause', () => {
  it('written and read back - the same', () => {
    for (const document of [
      pause(),
      pause({ server: null }),
      pause({ database: 'My shop', jobs: ['drill'] }),
      pause({ until: '2026-12-20T02:00:00.000Z' }),
      resume(),
      resume({ ends: ['20261120T020000Z-4f7k', '20261120T021500Z-8h3m'] }),
    ])
      expect(decodePause(encodePause(document), 'pauses/x.json')).toEqual(document)
  })

  it.each([
    ['is longer than 30 days', { until: '2026-12-20T02:00:00.001Z' }, 'document: it is longer than 30 days'],
    ['ends before it begins', { until: '2026-11-20T01:00:00.000Z' }, 'document: it ends before it begins'],
    ['ends when it begins', { until: '2026-11-20T02:00:00.000Z' }, 'document: it ends before it begins'],
    ['is of a database alone', { server: null, database: 'app' }, 'document: a database without its server'],
    ['is of a server without a name', { server: '' }, 'server: '],
    ['is of no job', { jobs: [] }, 'jobs: '],
    ['is of a job that cannot be paused', { jobs: ['prune'] }, 'jobs.0: '],
    ['has no reason', { reason: '' }, 'reason: not a line of 1 to 200 characters'],
    ['has a reason of two lines', { reason: 'a\nb' }, 'reason: not a line of 1 to 200 characters'],
    ['has a reason that is too long', { reason: 'x'.repeat(201) }, 'reason: not a line of 1 to 200 characters'],
    ['has a field more', { added: true }, 'document: '],
    ['has no label', { label: 'x' }, 'label: not a label'],
    ['is of another kind', { kind: 'rest' }, 'kind: Invalid option: expected one of "pause"|"resume"'],
  ])('one that %s - STORE_FORMAT_INVALID with the reason, it pauses nothing', (_, changes, reason) => {
    const bytes = Buffer.from(JSON.stringify({ ...pause(), ...changes }))
    expect(() => decodePause(bytes, 'pauses/x.json')).toThrow(
      expect.objectContaining({ code: 'STORE_FORMAT_INVALID', message: expect.stringContaining(`: ${reason}`) }),
    )
  })

  it.each([
    ['ends nothing', { ends: [] }],
    ['ends what is no label', { ends: ['x'] }],
    ['has a field of a pause', { until: '2026-11-20T06:00:00.000Z' }],
    ['was asked for by nobody', { by: '' }],
  ])('a resume that %s - STORE_FORMAT_INVALID, and it is not written, either', (_, changes) => {
    const document = { ...resume(), ...changes }
    expect(() => decodePause(Buffer.from(JSON.stringify(document)), 'x')).toThrow(
      expect.objectContaining({ code: 'STORE_FORMAT_INVALID' }),
    )
    expect(() => encodePause(document)).toThrow()
  })

  it('one of a newer format - STORE_FORMAT_NEWER', () => {
    const bytes = Buffer.from(JSON.stringify({ ...pause(), format: 2, kind: 'rest' }))
    expect(() => decodePause(bytes, 'pauses/x.json')).toThrow(expect.objectContaining({ code: 'STORE_FORMAT_NEWER' }))
  })

  it('any bytes - an error of the register, or a document', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          try {
            decodePause(bytes, 'x')
          } catch (error) {
            expect(error).toMatchObject({ code: expect.stringMatching(/^STORE_FORMAT_/) })
          }
        },
      ),
    )
  })

  it('in force from its beginning to its end, unless it is ended, by a clock that is behind as well', () => {
    const inForce = (now: string, ...more: PauseDocument[]) => pausesInForce([pause(), ...more], at(now)).length
    expect(inForce('2026-11-20T05:59:59.999Z')).toBe(1)
    expect(inForce('2026-11-20T06:00Z')).toBe(0)
    expect(inForce('2026-11-20T01:30Z')).toBe(1)
    expect(inForce('2026-11-20T01:00Z')).toBe(1)
    expect(inForce('2026-11-20T00:59:59.999Z')).toBe(0)
    expect(inForce('2026-11-20T04:00Z', resume())).toBe(0)
    expect(inForce('2026-11-20T04:00Z', resume({ ends: ['20261119T020000Z-aaaa'] }))).toBe(1)
  })

  it('of several - the one that ends last comes first', () => {
    const later = pause({ label: '20261120T020100Z-4f7k', until: '2026-11-20T08:00:00.000Z' })
    const ofOneEnd = pause({ label: '20261120T015900Z-4f7k', until: later.until })
    for (const all of [
      [pause(), ofOneEnd, later],
      [later, ofOneEnd, pause()],
    ])
      expect(pausesInForce(all, at('2026-11-20T03:00Z'))).toEqual([later, ofOneEnd, pause()])
  })

  it('covers what it names, and nothing else', () => {
    const place = { server: 'main', database: 'app', job: 'backup' } as const
    expect(covers(pause(), place)).toBe(true)
    expect(covers(pause({ server: null }), place)).toBe(true)
    expect(covers(pause({ database: 'app' }), place)).toBe(true)
    expect(covers(pause({ database: 'other' }), place)).toBe(false)
    expect(covers(pause({ server: 'other' }), place)).toBe(false)
    expect(covers(pause({ jobs: ['drill'] }), place)).toBe(false)
    expect(covers(pause({ database: 'app' }), { server: 'main', database: null, job: 'roles' })).toBe(false)
  })

  it('lies within itself and whatever is wider', () => {
    const scopes = [
      { server: null, database: null },
      { server: 'main', database: null },
      { server: 'main', database: 'app' },
    ]
    for (const [inner, one] of scopes.entries())
      for (const [outer, other] of scopes.entries()) expect(isWithin(one, other)).toBe(inner >= outer)
    expect(isWithin({ server: 'main', database: null }, { server: 'other', database: null })).toBe(false)
  })

  it('forgotten a month after its end; a resume never before what it ends', () => {
    expect(isForgettable(pause(), at('2026-12-20T06:00Z'))).toBe(false)
    expect(isForgettable(pause(), at('2026-12-20T06:00:00.001Z'))).toBe(true)
    expect(isForgettable(resume(), at('2027-01-19T03:00Z'))).toBe(false)
    expect(isForgettable(resume(), at('2027-01-19T03:00:00.001Z'))).toBe(true)
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 * 86_400 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (seconds, share) => {
          const since = at('2026-11-20T02:00:00Z').getTime()
          const until = since + seconds * 1000
          const ended = resume({ at: new Date(since + share * (until - since)).toISOString() })
          const long = pause({ until: new Date(until).toISOString() })
          for (let day = 0; day < 100; day += 1) {
            const now = new Date(since + day * 86_400_000)
            if (isForgettable(ended, now)) expect(isForgettable(long, now)).toBe(true)
          }
        },
      ),
    )
  })

  it('in words - until when, by whom and why', () => {
    expect(pauseText(pause())).toBe('paused until 2026-11-20 06:00 UTC by ops@db2: move to the new rack')
  })

  it('who asked for it, whatever they are called - a line of a document', () => {
    expect(toPauseLine('a\u001b[31m\nb')).toBe('a-[31m-b')
    expect(toPauseLine('')).toBe('unknown')
    expect(toPauseLine('ops@db2'.padEnd(300, 'x'))).toBe('ops@db2'.padEnd(200, 'x'))
    // The 200th character is two of UTF-16.
    expect(toPauseLine(`${'x'.repeat(199)}😀😀`)).toBe(`${'x'.repeat(199)}😀`)
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        expect(isPauseLine(toPauseLine(text))).toBe(true)
      }),
    )
    for (const text of ['', 'a\nb', 'a\u2028b', 'x'.repeat(201)]) expect(isPauseLine(text), text).toBe(false)
  })
})
