import { hostname } from 'node:os'
import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { holdLeaseMs } from '../../src/domain/hold.ts'
import { PgproofError } from '../../src/errors.ts'
import { createLog } from '../../src/log.ts'
import { holdKey } from '../../src/storage/object-keys.ts'
import { type NamedStore, StoreSet } from '../../src/storage/store-set.ts'
import { holdBackups } from '../../src/stored/hold-backup.ts'
import { StoreHolds } from '../../src/stored/read-holds.ts'
import { waitFor } from '../commands/cli.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { namedStore } from '../support/store-sets.ts'

const never = new AbortController().signal
const minute = 60_000
const folder = 'backups/main/app/20261120T020000Z-4f7k/'
const roles = 'roles/main/20261119T020000Z-4f7k/'

/** Goes on only when it is told to. */
function clockByHand(): Clock & { pass(ms: number): Promise<void> } {
  let now = Date.parse('2026-11-20T12:00:00Z')
  const asleep = new Set<{ readonly at: number; wake(): void }>()
  return {
    now: () => new Date(now),
    monotonicMs: () => now,
    sleep: (ms, signal) =>
      new Promise((wake, reject) => {
        const sleeper = { at: now + ms, wake }
        asleep.add(sleeper)
        signal?.addEventListener('abort', () => asleep.delete(sleeper) && reject(signal.reason), { once: true })
      }),
    async pass(ms) {
      const end = now + ms
      for (;;) {
        // What woke up before may have lain down again.
        await new Promise((done) => setImmediate(done))
        const [next] = [...asleep].toSorted((one, other) => one.at - other.at)
        if (next === undefined || next.at > end) break
        now = next.at
        asleep.delete(next)
        next.wake()
      }
      now = end
    },
  }
}

type Scene = {
  readonly clock: ReturnType<typeof clockByHand>
  readonly store: MemoryStore
  readonly lines: { level: string; msg: string }[]
  readonly parts: Parameters<typeof holdBackups>[2]
  holds(store?: MemoryStore): string[]
  /** What a prune of another process would be told. */
  inForce(): Promise<ReadonlyMap<string, string>>
  sweep(): Promise<void>
}

function scene(changes: Partial<NamedStore> = {}, others: readonly NamedStore[] = []): Scene {
  const clock = clockByHand()
  const store = new MemoryStore(clock)
  const lines: { level: string; msg: string }[] = []
  const log = createLog({ level: 'debug', format: 'json' }, (line) => lines.push(JSON.parse(line)))
  const named = { ...namedStore(store), ...changes }
  const stores = new StoreSet([named, ...others], { clock, log })
  const holds = (of = store): string[] => of.keys().filter((key) => key.startsWith('holds/'))
  const reader = (): StoreHolds => new StoreHolds(named, { clock, log })
  return {
    ...{ clock, store, lines, holds },
    parts: { stores, clock, log },
    inForce: () => reader().inForce(never),
    sweep: () => reader().sweep(never),
  }
}

const copies = (...names: string[]) => names.map((store) => ({ store }))
const backup = { folder, copies: copies('store', 'second') }
const rolesBackup = { folder: roles, copies: copies('store') }

const refuse =
  (operation: string, code: 'STORE_DENIED' | 'STORE_READ_ONLY' | 'STORE_UNREACHABLE') =>
  (asked: string, key: string): void => {
    if (asked !== operation || !key.startsWith('holds/')) return
    if (code === 'STORE_DENIED') throw new PgproofError(code, { operation, reason: 'no' })
    if (code === 'STORE_READ_ONLY') throw new PgproofError(code, { reason: 'no' })
    throw new PgproofError(code, { store: 'memory', reason: 'gone' })
  }

describe('a hold', () => {
  it('of a backup and its roles - one object in each store that has a copy, saying who, where and since when; then gone', async () => {
    const second = new MemoryStore()
    const third = new MemoryStore()
    const { store, parts, holds, clock } = scene({}, [namedStore(second, 'second'), namedStore(third, 'third')])
    {
      await using _hold = await holdBackups([backup, rolesBackup], { by: 'restore' }, parts, never)
      expect([holds().length, holds(second).length, holds(third).length]).toEqual([1, 1, 0])
      expect(JSON.parse(store.text(holds()[0] ?? ''))).toEqual({
        format: 1,
        by: 'restore',
        host: hostname(),
        since: clock.now().toISOString(),
        until: new Date(clock.now().getTime() + holdLeaseMs).toISOString(),
        folders: [folder, roles],
      })
      expect(JSON.parse(second.text(holds(second)[0] ?? ''))).toMatchObject({ folders: [folder] })
    }
    expect([...store.keys(), ...second.keys()]).toEqual([])
  })

  it('of one copy - only in the store that is read', async () => {
    const second = new MemoryStore()
    const { parts, holds } = scene({}, [namedStore(second, 'second')])
    await using _hold = await holdBackups([backup], { by: 'drill', from: ['second'] }, parts, never)
    expect([holds().length, holds(second).length]).toEqual([0, 1])
  })

  it('what reads fails - removed', async () => {
    const { parts, store } = scene()
    const reading = async (): Promise<void> => {
      await using _hold = await holdBackups([backup], { by: 'restore' }, parts, never)
      throw new Error('restoring failed')
    }
    await expect(reading()).rejects.toThrow('restoring failed')
    expect(store.keys()).toEqual([])
  })

  it('what reads is cancelled - removed, although the signal is aborted', async () => {
    const { parts, store } = scene()
    const controller = new AbortController()
    {
      await using _hold = await holdBackups([backup], { by: 'restore' }, parts, controller.signal)
      controller.abort(new PgproofError('CANCELLED'))
    }
    expect(store.keys()).toEqual([])
  })

  it('cancelled while it is written - CANCELLED, and nothing is left', async () => {
    const { parts, store } = scene()
    const controller = new AbortController()
    const { put } = store
    store.put = async (key, body, options) => {
      await put.call(store, key, body, options)
      controller.abort(new PgproofError('CANCELLED'))
      options.signal.throwIfAborted()
    }
    const holding = holdBackups([backup], { by: 'restore' }, parts, controller.signal)
    await expect(holding).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(store.keys()).toEqual([])
  })
})

describe('a hold of a restore that takes ten hours', () => {
  it('is in force all the time, never by more than two objects nor by one that goes at that moment; then gone', async () => {
    const { parts, store, holds, clock, inForce } = scene()
    {
      await using _hold = await holdBackups([backup], { by: 'restore' }, parts, never)
      let seen: string[] = []
      for (let passed = 0; passed < 600; passed += 5) {
        await clock.pass(5 * minute)
        await waitFor('the old hold to be removed', () => holds().length <= 2)
        // Whoever listed a moment ago finds one of those that he saw.
        expect(seen.length === 0 || seen.some((key) => holds().includes(key))).toBe(true)
        seen = holds()
        // The end that is told is put off with each renewal: always ahead, by the lease and a little more at most.
        const reason = String((await inForce()).get(folder))
        const until = new RegExp(
          `^a restore on ${hostname()} reads it since 2026-11-20 12:00 UTC; if it was killed, until (.+) UTC$`,
        )
        const end = Date.parse(`${(until.exec(reason)?.[1] ?? '').replace(/^(?=\d\d:)/, '2026-11-20 ')}Z`)
        expect(end).toBeGreaterThan(clock.now().getTime())
        expect(end).toBeLessThanOrEqual(clock.now().getTime() + holdLeaseMs + 6 * minute)
      }
      const written = store.calls.filter((call) => call.startsWith('put '))
      expect(written.length).toBeGreaterThan(40)
      expect(new Set(written).size).toBe(written.length)
    }
    expect(store.keys()).toEqual([])
    const before = store.calls.length
    await clock.pass(60 * minute)
    expect(store.calls.length).toBe(before)
  })

  it.each([
    ['the store is down', 'STORE_UNREACHABLE'],
    ['denied, as with a token that comes late,', 'STORE_DENIED'],
  ] as const)(
    '%s for a quarter of an hour - said once, in force all the time, and renewed afterwards',
    async (_, code) => {
      const { parts, store, holds, clock, inForce, lines } = scene()
      await using _hold = await holdBackups([backup], { by: 'restore' }, parts, never)
      await clock.pass(15 * minute)
      store.before = refuse('put', code)
      const before = holds()
      for (let passed = 0; passed < 15; passed += 1) {
        await clock.pass(minute)
        expect((await inForce()).size).toBe(1)
      }
      expect(holds()).toEqual(before)
      store.before = () => {}
      await clock.pass(2 * minute)
      expect(holds()).not.toEqual(before)
      expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
      await clock.pass(30 * minute)
      expect((await inForce()).size).toBe(1)
    },
  )

  it('the reader stands still - out of force after the lease and five minutes, and the next prune removes it', async () => {
    const { store, clock, holds, inForce, sweep, parts } = scene()
    const stopped = { ...clock, sleep: () => new Promise<void>(() => {}) }
    await holdBackups([backup], { by: 'restore' }, { ...parts, clock: stopped }, never)
    await clock.pass(34 * minute)
    expect((await inForce()).size).toBe(1)
    await sweep()
    expect(holds()).toHaveLength(1)
    await clock.pass(2 * minute)
    expect((await inForce()).size).toBe(0)
    await sweep()
    expect(store.keys()).toEqual([])
  })
})

describe('a store that does not take a hold', () => {
  it.each(['STORE_DENIED', 'STORE_READ_ONLY'] as const)(
    '%s - the reading goes on, nobody is bothered, and it is not tried again',
    async (code) => {
      const { store, parts, clock, lines } = scene()
      store.before = refuse('put', code)
      await using _hold = await holdBackups([backup], { by: 'restore' }, parts, never)
      await clock.pass(60 * minute)
      expect(store.calls).toHaveLength(1)
      expect(lines.map(({ level }) => level)).toEqual(['debug'])
    },
  )

  it('down - the reading goes on with one warning, and the hold is there when the store is back', async () => {
    const { store, parts, clock, lines, holds } = scene()
    store.before = refuse('put', 'STORE_UNREACHABLE')
    await using _hold = await holdBackups([backup], { by: 'restore' }, parts, never)
    await clock.pass(5 * minute)
    expect(lines.map(({ level, msg }) => `${level} ${msg}`)).toEqual([
      'warn a prune is not told that a backup is being read',
    ])
    store.before = () => {}
    await clock.pass(minute)
    expect(holds()).toHaveLength(1)
  })
})

describe('rights of their own', () => {
  it('a pruner - removes the hold, which the writer may not', async () => {
    const { store, parts } = scene({ pruner: new MemoryStore() })
    const allowed = new Map(store.objects)
    const [named] = parts.stores.named
    if (named === undefined) throw new Error('there is a store')
    const pruner = named.pruner as MemoryStore
    Object.assign(pruner, { objects: store.objects })
    store.before = refuse('delete', 'STORE_DENIED')
    {
      await using _hold = await holdBackups([backup], { by: 'restore' }, parts, never)
      expect(store.objects.size).toBe(1)
    }
    expect(store.objects).toEqual(allowed)
    expect(store.calls.filter((call) => call.startsWith('delete'))).toEqual([])
  })

  it('a pruner without rights here - the writer removes it', async () => {
    const pruner = new MemoryStore()
    const { store, parts } = scene({ pruner })
    pruner.before = refuse('delete', 'STORE_DENIED')
    {
      await using _hold = await holdBackups([backup], { by: 'restore' }, parts, never)
    }
    expect(store.keys()).toEqual([])
  })

  it('a writer that may only add - renewed all the same; what is left ends with its lease, and a prune removes it', async () => {
    const { store, parts, clock, holds, inForce, sweep } = scene()
    store.before = refuse('delete', 'STORE_DENIED')
    {
      await using _hold = await holdBackups([backup], { by: 'restore' }, parts, never)
      await clock.pass(45 * minute)
      expect((await inForce()).size).toBe(1)
    }
    expect(holds()).toHaveLength(5)
    // Each was tried once.
    expect(store.calls.filter((call) => call.startsWith('delete'))).toHaveLength(5)
    await clock.pass(36 * minute)
    expect((await inForce()).size).toBe(0)
    await sweep()
    expect(holds()).toHaveLength(5)
    store.before = () => {}
    await sweep()
    expect(store.keys()).toEqual([])
  })
})

describe('what a prune makes of', () => {
  const id = '00000000-0000-4000-8000-000000000001'
  const document = (changes: object = {}): string =>
    JSON.stringify({
      ...{ format: 1, by: 'restore', host: 'db2', since: '2026-11-20T11:30:00Z', until: '2026-11-20T12:30:00Z' },
      ...{ folders: [folder], ...changes },
    })
  const told = async (text: string, key = holdKey(id), minutes = 0): Promise<[string[], string[]]> => {
    const { store, clock, inForce, lines } = scene()
    await store.put(key, Buffer.from(text), { signal: never })
    await clock.pass(minutes * minute)
    const held = await inForce()
    return [[...held.values()], lines.map(({ level }) => level)]
  }
  const reason = 'a restore on db2 reads it since 2026-11-20 11:30 UTC; if it was killed, until 12:35 UTC'

  it.each([
    ['a hold of another host', document(), [reason]],
    [
      'one of a newer pgproof',
      document({ format: 7, by: 'rehearsal', more: true }),
      [reason.replace('restore', 'rehearsal')],
    ],
  ])('%s - held', async (_, text, reasons) => {
    expect(await told(text)).toEqual([reasons, []])
  })

  it.each([
    ['cut short', document().slice(0, -5), holdKey(id)],
    ['with a host that is none', document({ host: 'x\u001b[31m' }), holdKey(id)],
    ['of somebody else', 'hello', 'holds/README.txt'],
  ])('an object %s - a warning, and nothing is held', async (_, text, key) => {
    expect(await told(text, key)).toEqual([[], ['warn']])
  })

  it('an object of somebody else that is a year old - not removed; a damaged hold as old - removed', async () => {
    const { store, clock, sweep } = scene()
    await store.put('holds/README.txt', Buffer.from('hello'), { signal: never })
    await store.put(holdKey(id), Buffer.from('{'), { signal: never })
    await clock.pass(365 * 24 * 60 * minute)
    await sweep()
    expect(store.keys()).toEqual(['holds/README.txt'])
  })

  it.each([
    ['behind, and the store tells its clock', '2026-11-20T10:30:00Z', 30, 1],
    ['ahead, and the store does not tell its clock', '2026-11-20T13:30:00Z', 80, 1],
    ['years ahead', '2031-11-20T12:30:00Z', 36, 0],
  ])('a hold by a clock that is %s - as long as it may be meant', async (_, until, minutes, count) => {
    const [held] = await told(document({ until }), holdKey(id), minutes)
    expect(held).toHaveLength(count)
  })

  it('a hold that goes while it is looked at - nothing', async () => {
    const { store, inForce, lines } = scene()
    await store.put(holdKey(id), Buffer.from(document()), { signal: never })
    store.before = (operation, key) => void (operation === 'get' && store.objects.delete(key))
    expect(await inForce()).toEqual(new Map())
    expect(lines).toEqual([])
  })

  it('holds that cannot be listed, or read - throws, so that nothing is removed', async () => {
    for (const operation of ['list', 'get']) {
      const { store, inForce } = scene()
      await store.put(holdKey(id), Buffer.from(document()), { signal: never })
      store.before = refuse(operation, 'STORE_UNREACHABLE')
      await expect(inForce()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    }
  })

  it('two holds of one backup - the reason is the one that is there longer', async () => {
    const { store, inForce } = scene()
    await store.put(holdKey(id), Buffer.from(document({ since: '2026-11-20T11:50:00Z', by: 'drill' })), {
      signal: never,
    })
    await store.put(holdKey(id.replace('1', '2')), Buffer.from(document()), { signal: never })
    expect([...(await inForce()).values()]).toEqual([reason])
  })
})
