import { createHash } from 'node:crypto'
import type { Clock } from '../../src/clock.ts'
import type { StoreConfig } from '../../src/config/config.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { PgproofError } from '../../src/errors.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import { manifestAt, rolesManifestAt } from '../catalog/stored.ts'
import { type TestInstallation, testInstallation } from '../support/installation.ts'
import { type MemoryOperation, MemoryStore } from '../support/memory-store.ts'
import { namedStore } from '../support/store-sets.ts'

export type TwoStores = TestInstallation & {
  /** Named `store`; required. */
  readonly a: MemoryStore
  /** Named `b`. */
  readonly b: MemoryStore
}

export type TwoStoresOptions = {
  readonly settings?: Record<string, string>
  /** Whether `b` is. Default true. */
  readonly isRequired?: boolean
  readonly clock?: Clock
  /** What the configuration says of `b` besides. */
  readonly ofB?: Partial<StoreConfig>
  /** A third one named `c`, required. */
  readonly c?: MemoryStore
}

/** An installation with two stores in memory. */
export async function twoStores({
  settings = {},
  isRequired = true,
  clock,
  ofB = {},
  c,
}: TwoStoresOptions = {}): Promise<TwoStores> {
  const b = new MemoryStore(clock)
  const others = [namedStore(b, 'b', isRequired), ...(c === undefined ? [] : [namedStore(c, 'c')])]
  const test = await testInstallation(settings, { others, ...(clock === undefined ? {} : { clock }) })
  const { config } = test.installation
  const [first] = config.stores
  const stores = [
    first,
    ...others.map(({ name }) => ({ ...first, name, ...(name === 'b' ? { isRequired, ...ofB } : {}) })),
  ]
  const installation: Installation = {
    ...test.installation,
    config: { ...config, stores: stores as unknown as Installation['config']['stores'] },
  }
  return { ...test, installation, a: test.store, b, [Symbol.asyncDispose]: test[Symbol.asyncDispose] }
}

export const down = (store = 'b'): PgproofError => new PgproofError('STORE_UNREACHABLE', { store, reason: 'gone' })

/** Every operation fails, or those of these kinds whose key is like this. */
export function fail(store: MemoryStore, operations?: readonly MemoryOperation[], key = /^/): void {
  store.before = (operation, at) => {
    if ((operations === undefined || operations.includes(operation)) && key.test(at)) throw down()
  }
}

export function heal(store: MemoryStore): void {
  store.before = () => {}
}

/** Contents by key, without records of prunes and what else belongs to one store alone. */
export function bodies(store: MemoryStore, prefix = /^(backups|roles|drills)\//): Map<string, string> {
  return new Map(
    store.keys().flatMap((key) => {
      const body = store.objects.get(key)?.body
      return prefix.test(key) && body !== undefined
        ? [[key, createHash('sha256').update(body).digest('hex')] as const]
        : []
    }),
  )
}

export const manifestsIn = (store: MemoryStore): string[] =>
  store.keys().flatMap((key) => (key.endsWith('/manifest.json') ? [key.split('/').at(-2) ?? ''] : []))

/** Like `manifestAt`, with the SHA-256 of the objects that `storeBackup` writes. */
export function soundManifestAt(time: string, changes: Partial<Manifest> = {}): Manifest {
  return sound(manifestAt(time, changes))
}

export function soundRolesAt(time: string, changes: Partial<Manifest> = {}): Manifest {
  return sound(rolesManifestAt(time, changes))
}

function sound(manifest: Manifest): Manifest {
  const { dump, evidence, recovery } = manifest.objects
  const of = <T extends { readonly bytes: number }>(object: T): T & { sha256: string } => {
    return { ...object, sha256: createHash('sha256').update(Buffer.alloc(object.bytes)).digest('hex') }
  }
  return { ...manifest, objects: { dump: of(dump), evidence: evidence && of(evidence), recovery: of(recovery) } }
}

export const caught = async (promise: Promise<unknown>): Promise<PgproofError> =>
  await promise.then(
    () => {
      throw new Error('it did not fail')
    },
    (error: unknown) => error as PgproofError,
  )
