import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { type Log, silentLog } from '../../src/log.ts'
import { StoreSet } from '../../src/storage/store-set.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { SilentStore } from '../support/silent-store.ts'
import { namedStore } from '../support/store-sets.ts'

const { signal } = new AbortController()
const key = 'backups/main/app/20261120T020000Z-4f7k/RECOVERY.md'
const body = Buffer.from('how to restore')
const tooSlow = 'it gave no answer within 0.05 s, and is not waited for'

/** `a` answers and is required; `b` never does. Nobody waits for it for more than 50 ms. */
function withSilent({ isRequired = false } = {}) {
  const [a, b] = [new MemoryStore(), new SilentStore()]
  const warnings: string[] = []
  const warn = (fields: object, message: string): void => {
    const { store, reason } = fields as { store?: string; reason?: string }
    warnings.push(`${store}: ${message}: ${reason}`)
  }
  const stores = new StoreSet([namedStore(a, 'a'), namedStore(b, 'b', isRequired)], {
    clock: systemClock,
    log: { ...silentLog, warn } as Log,
    optionalMs: 50,
    assertMarked: async ({ reader }, until) => {
      await reader.head('pgproof.json', { signal: until })
    },
  })
  return { a, b, stores, warnings }
}

describe('an optional store that never answers', () => {
  it('a small object - is in the other one, and the warning says how long was waited', async () => {
    const { a, stores, warnings } = withSilent()
    expect(await stores.put(key, body, { signal })).toEqual(['a'])
    expect(a.text(key)).toBe('how to restore')
    expect(warnings).toEqual([`b: no copy of ${key}: the store failed at a write: ${tooSlow}`])
  })

  it('the begin of a backup - goes on without it, and nothing more is asked of it', async () => {
    const { b, stores, warnings } = withSilent()
    const writing = await stores.begin(signal)
    expect(writing.live.map(({ name }) => name)).toEqual(['a'])
    expect(writing.lost.get('b')).toMatchObject({
      code: 'STORE_FAILED',
      message: `the store failed at a write: ${tooSlow}`,
    })
    expect(warnings).toHaveLength(1)
    await writing.put(key, body, { signal })
    await writing.putInTurn(`${key}.2`, body, { signal })
    expect(b.calls).toEqual(['head pgproof.json'])
  })

  it('it falls silent after the begin - the next small object loses it, and the backup is whole elsewhere', async () => {
    const { a, b, stores } = withSilent()
    Object.assign(b, { head: async () => undefined })
    const writing = await stores.begin(signal)
    expect(writing.live).toHaveLength(2)
    await writing.putInTurn(key, body, { signal })
    expect(writing.live.map(({ name }) => name)).toEqual(['a'])
    expect(a.keys()).toEqual([key])
    expect(b.calls).toEqual([`put ${key}`])
  })

  it('the run is cancelled meanwhile - throws why, not that the store is slow', async () => {
    const { stores, warnings } = withSilent()
    const run = new AbortController()
    const begun = stores.begin(run.signal)
    run.abort(new PgproofError('CANCELLED', { what: 'the backup' }))
    await expect(begun).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(warnings).toEqual([])
  })
})

describe('a required store that never answers', () => {
  it('is waited for, until the run ends', async () => {
    const { stores } = withSilent({ isRequired: true })
    const run = new AbortController()
    const ends: string[] = []
    const begun = stores.begin(run.signal).catch((error: PgproofError) => void ends.push(error.code))
    const { promise, resolve } = Promise.withResolvers<void>()
    // Well after an optional one would have been given up.
    AbortSignal.timeout(200).addEventListener('abort', () => resolve())
    await promise
    expect(ends).toEqual([])
    run.abort(new PgproofError('CANCELLED', { what: 'the backup' }))
    await begun
    expect(ends).toEqual(['CANCELLED'])
  })
})
