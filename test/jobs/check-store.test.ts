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
import type { BucketProbe, ListOptions, ObjectStore, WriteOptions } from '../../src/storage/object-store.ts'
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

  it.each<[string, Partial<Record<'head' | 'get' | 'delete' | 'list' | 'write', true>>, string]>([
    ['lists nothing', { list: true }, 'a listing by the credentials fails: what was just written is missing in it'],
    ['tells another size', { head: true }, 'reading by the credentials fails: the store tells 15 bytes of 14'],
    ['gives back other bytes', { get: true }, 'reading by the credentials fails: what was written came back changed'],
    ['deletes nothing', { delete: true }, 'a delete by the credentials fails: the object is still there afterwards'],
    [
      'holds less than it was sent',
      { write: true },
      'a stream of 2 MiB by the credentials fails: the store holds 2097151 bytes of 2097152',
    ],
  ])('a store that says that all went well, and %s - named', async (_what, wrong, problem) => {
    class Wrong extends MemoryStore {
      override async head(key: string, options: { signal: AbortSignal }) {
        const info = await super.head(key, options)
        return info === undefined || wrong.head === undefined ? info : { ...info, bytes: info.bytes + 1 }
      }
      override async get(key: string, options: { signal: AbortSignal }) {
        const bytes = await super.get(key, options)
        return wrong.get === undefined ? bytes : bytes.map((byte) => byte ^ 1)
      }
      override async delete(key: string, options: { signal: AbortSignal }) {
        return wrong.delete === undefined ? await super.delete(key, options) : 'freed'
      }
      override async *list(prefix: string, options: ListOptions) {
        if (wrong.list === undefined) yield* super.list(prefix, options)
      }
      override async write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions) {
        const { bytes } = await super.write(key, source, options)
        return { bytes: wrong.write === undefined ? bytes : bytes - 1 }
      }
    }
    expect((await check(new Wrong())).problems).toContain(problem)
  })

  it('the size of a large object is told wrongly - named', async () => {
    class Rounding extends MemoryStore {
      override async head(key: string, options: { signal: AbortSignal }) {
        const info = await super.head(key, options)
        return info && { ...info, bytes: info.bytes < 1000 ? info.bytes : Math.round(info.bytes / 1e6) * 1e6 }
      }
    }
    expect((await check(new Rounding())).problems).toEqual([
      'a ranged read by the credentials fails: the store tells 2000000 bytes of 2097152',
    ])
  })

  it('a write of a key that is taken fails for another reason - that reason, and not that the key was refused', async () => {
    const store = new MemoryStore()
    store.before = (operation, key) => {
      if (operation === 'put' && store.objects.has(key))
        throw new PgproofError('STORE_FAILED', { operation: 'PutObject', reason: 'HTTP status 501' })
    }
    const { findings, problems } = await check(store)
    expect(problems).toEqual([
      'a write of a key that is taken by the credentials fails: the store failed at PutObject: HTTP status 501',
    ])
    expect(JSON.stringify(findings)).not.toContain('refusing a key')
  })
})

/** A bucket as `check` sees it beside the objects. */
class Bucket extends MemoryStore {
  override readonly url = 's3://backups'
  left = 0
  /** Of every object that was ever written. */
  kept: readonly string[] = []
  mayList = true
  readonly probe: BucketProbe = {
    unfinished: async () => this.left,
    abortUnfinished: async () => {
      this.left = 0
    },
    versions: async () => {
      if (!this.mayList) throw denied('ListObjectVersions')
      return this.kept.map((id) => ({ id, isMarker: false }))
    },
    removeVersion: async (key, id, options) => {
      if (id === undefined) await this.delete(key, options)
    },
    overwrite: (key, body, options) => this.put(key, body, options),
  }
}

function denied(operation: string): PgproofError {
  return new PgproofError('STORE_DENIED', { operation, reason: 'AccessDenied' })
}

const credentials = { accessKeyId: 'id', secretAccessKey: undefined, sessionToken: undefined }

describe('check of a bucket', () => {
  it('a write that was given up leaves parts - named, and they are removed', async () => {
    const store = new Bucket()
    store.left = 2
    expect((await check(store)).problems).toEqual([
      'giving up a multipart upload by the credentials fails: its parts had to be removed afterwards',
    ])
    expect(store.left).toBe(0)
  })

  it('`appendOnly`, and overwriting is refused - said among what works', async () => {
    class Guarded extends Bucket {
      override async put(key: string, body: Uint8Array, options: { signal: AbortSignal; ifAbsent?: boolean }) {
        if (options.ifAbsent !== true) throw denied('PutObject')
        await super.put(key, body, options)
      }
    }
    const { findings, problems } = await check(new Guarded(), { isAppendOnly: true, pruner: credentials })
    expect(problems).toEqual(['`appendOnly` is set, and the credentials for writing can delete'])
    expect(findings.at(-1)?.message).toContain('refusing a key that is taken, reading, refusing to overwrite, deleting')
  })

  it('`appendOnly`, and nobody may list versions - it is not known whether the earlier one stays', async () => {
    const store = new Bucket()
    store.mayList = false
    const { findings } = await check(store, { isAppendOnly: true, pruner: credentials })
    expect(findings).toContainEqual(
      expect.objectContaining({
        result: 'problem',
        message:
          '`appendOnly` is set, and the credentials for writing can overwrite, and nobody may see whether the earlier version stays',
        hint: expect.stringContaining('s3:ListBucketVersions'),
      }),
    )
  })

  it.each([
    ['b2', 'warning', 'the credentials for writing can hide objects; what they hide stays as a version'],
    ['aws', 'problem', '`appendOnly` is set, and the credentials for writing can hide objects behind a delete marker'],
  ] as const)('`appendOnly` on %s, and a delete hides what is there - a %s', async (provider, result, message) => {
    const store = new Bucket()
    store.kept = ['new', 'old']
    const { findings } = await check(store, { provider, isAppendOnly: true, pruner: credentials })
    expect(findings).toContainEqual(expect.objectContaining({ result, message }))
  })

  it('the reader’s write fails for another reason than its rights - what they are is unknown, and why', async () => {
    const store = new Bucket()
    store.before = (operation, key) => {
      if (operation === 'put' && key.includes('/reader/'))
        throw new PgproofError('STORE_FAILED', { operation: 'PutObject', reason: 'HTTP status 501' })
    }
    const { findings } = await check(store, { reader: credentials })
    expect(findings.filter(({ result }) => result === 'warning').map(({ message }) => message)).toEqual([
      'whether the credentials have more rights than they need is unknown: the store failed at PutObject: HTTP status 501',
      'the credentials for reading can delete',
    ])
  })
})
