import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { StoreConfig } from '../../src/config/config.ts'
import { PgproofError } from '../../src/errors.ts'
import { checkStore } from '../../src/jobs/check-store.ts'
import type { Finding } from '../../src/jobs/findings.ts'
import { silentLog } from '../../src/log.ts'
import type { ObjectStore, WriteOptions } from '../../src/storage/object-store.ts'
import { openStore } from '../../src/storage/open-store.ts'
import { signal as neverAborted } from '../catalog/stored.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { findingsInto, storeConfig } from './store-config.ts'

async function check(
  store: ObjectStore,
  over: Partial<StoreConfig> = {},
  signal = neverAborted,
): Promise<{ findings: Finding[]; problems: string[] }> {
  const findings: Finding[] = []
  const named = { name: 'store', isRequired: true, writer: store, reader: store, pruner: store }
  const settings = storeConfig({ url: store.url, partSizeBytes: 1 << 20, ...over })
  await checkStore(named, settings, { findings: findingsInto(findings), clock: systemClock }, signal)
  const problems = findings.filter(({ result }) => result === 'problem').map(({ message }) => message)
  return { findings, problems }
}

async function withDirectory(work: (store: ObjectStore, folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-check-'))
  const root = join(folder, 'store')
  mkdirSync(root)
  try {
    const parts = { clock: systemClock, log: silentLog }
    await work(await openStore({ url: `file://${root}`, provider: 'generic' }, parts), root)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

describe('check of a store', () => {
  it('a directory - everything works, and not even a folder stays', async () => {
    await withDirectory(async (store, root) => {
      const { findings } = await check(store)
      expect(findings.map(({ result, message }) => `${result}: ${message}`)).toEqual([
        expect.stringMatching(/^ok: a probe of 2 MiB: written at [\d,.]+ MiB\/s, read at [\d,.]+ MiB\/s$/),
        `ok: ${store.url}: writing, listing, refusing a key that is taken, reading, deleting, a stream, a ranged read, ` +
          'removing it and giving up a write work',
      ])
      expect(readdirSync(root)).toEqual([])
    })
  })

  it('a directory that does not exist - said once, and it is not made', async () => {
    await withDirectory(async (store, root) => {
      rmSync(root, { recursive: true })
      await expect(check(store)).rejects.toMatchObject({ code: 'STORE_BUCKET_MISSING' })
      expect(existsSync(root)).toBe(false)
    })
  })

  it('a file where a folder must be - named', async () => {
    await withDirectory(async (store, root) => {
      writeFileSync(join(root, 'checks'), 'in the way')
      expect((await check(store)).problems[0]).toMatch(/^a write by the credentials fails: the store failed at write/)
    })
  })

  it('a directory with `appendOnly` - what writes there can delete and overwrite', async () => {
    await withDirectory(async (store, root) => {
      const { findings, problems } = await check(store, { isAppendOnly: true, pruner: undefined })
      expect(problems).toEqual([
        '`appendOnly` is set, and the credentials for writing can overwrite',
        '`appendOnly` is set, and the credentials for writing can delete',
      ])
      expect(findings.find(({ result }) => result === 'problem')?.hint).toContain('use a bucket, or snapshots')
      expect(readdirSync(root)).toEqual([])
    })
  })

  it.each([
    ['put', 'a write'],
    ['get', 'reading'],
    ['list', 'a listing'],
    ['delete', 'a delete'],
    ['write', 'a stream of 2 MiB'],
    ['read', 'a ranged read'],
    ['head', 'reading'],
  ] as const)('the store refuses to %s - named with what it hinders; the rest is looked at', async (failing, what) => {
    const store = new MemoryStore()
    store.before = (operation, key) => {
      if (operation === failing)
        throw new PgproofError('STORE_DENIED', { operation: `${operation} of ${key}`, reason: 'no' })
    }
    const { problems } = await check(store)
    expect(problems[0]).toContain(`${what} by the credentials fails: the store refused ${failing} of checks/`)
    expect(store.keys()).toHaveLength(failing === 'delete' ? 1 : 0)
    expect(store.unfinished).toEqual([])
  })

  it('the store cannot be reached - said as it is, nothing else is tried', async () => {
    const store = new MemoryStore()
    store.before = () => {
      throw new PgproofError('STORE_UNREACHABLE', { store: store.url, reason: 'no route' })
    }
    await expect(check(store)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect(store.calls.filter((call) => call.startsWith('put'))).toHaveLength(1)
  })

  it('a store that accepts a key that is taken - named', async () => {
    class Careless extends MemoryStore {
      override put(key: string, body: Uint8Array, { signal }: WriteOptions): Promise<void> {
        return super.put(key, body, { signal })
      }
    }
    const store = new Careless()
    expect((await check(store)).problems).toEqual([
      'a write of a key that is taken by the credentials fails: the store accepted it',
    ])
    expect(store.keys()).toEqual([])
  })

  it('one bit of a large object changes - named', async () => {
    const store = new MemoryStore()
    store.before = (operation, key) => {
      if (operation === 'read') store.damage(key)
    }
    expect((await check(store)).problems).toEqual([
      expect.stringMatching(
        /^a ranged read by the credentials fails: what was written came back changed from byte \d+ on$/,
      ),
    ])
    expect(store.keys()).toEqual([])
  })

  it('a stream that broke off becomes an object - named, and it is removed', async () => {
    class Credulous extends MemoryStore {
      override async write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions) {
        async function* swallowing(): AsyncGenerator<Uint8Array> {
          try {
            yield* source
          } catch {}
        }
        return await super.write(key, swallowing(), options)
      }
    }
    const store = new Credulous()
    expect((await check(store)).problems).toEqual([
      'the start of a large write by the credentials fails: the store took a stream that broke off as if it were whole',
    ])
    expect(store.keys()).toEqual([])
  })

  it('the store’s clock is off by two minutes - a warning', async () => {
    const store = new MemoryStore()
    store.skewSeconds = -120
    expect((await check(store)).findings).toContainEqual(
      expect.objectContaining({ result: 'warning', message: "the store's clock differs by -120 s" }),
    )
  })

  it.each(['get', 'write', 'read'] as const)('cancelled at a %s - CANCELLED, and the probes are gone', async (at) => {
    const store = new MemoryStore()
    const controller = new AbortController()
    store.before = (operation) => {
      if (operation === at) controller.abort(new PgproofError('CANCELLED', { what: 'the check' }))
    }
    await expect(check(store, {}, controller.signal)).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(store.keys()).toEqual([])
    expect(store.unfinished).toEqual([])
  })

  it('a lock that the store ignores - named', async () => {
    const store = new MemoryStore()
    const { problems } = await check(store, { objectLock: { mode: 'governance', forMs: 3_600_000 } })
    expect(problems).toEqual(['Object Lock fails: what was written under a lock could be removed at once'])
  })
})
