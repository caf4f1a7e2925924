import type { Catalog, CatalogBackup, StoreView } from '../catalog/catalog.ts'
import { type DatabaseStatus, readDatabaseStatus } from '../catalog/database-status.ts'
import { lackingIn } from '../catalog/lacking.ts'
import { onceForEach } from '../catalog/once-for-each.ts'
import type { PlannedJob, Run } from '../catalog/runs.ts'
import type { Clock } from '../clock.ts'
import { type Config, objectivesOf } from '../config/config.ts'
import { retentionIn } from '../config/retention-in.ts'
import { isConfigured } from '../jobs/installation.ts'
import type { QueueView } from '../jobs/queue-view.ts'
import type { NamedStore } from '../storage/store-set.ts'

export type KeyExpiry = {
  readonly fingerprint: string
  readonly use: 'recipient' | 'signer' | 'private'
  /** Null: it never expires. */
  readonly expiresAt: Date | null
}

export type MetricsParts = {
  readonly catalog: Catalog
  readonly config: Pick<Config, 'servers' | 'stores' | 'timezone'> & { readonly drill: Pick<Config['drill'], 'pick'> }
  readonly clock: Clock
  /** All stores; `skewSeconds` undefined where the clock of one is not known. */
  readonly stores: { readonly named: readonly NamedStore[] }
  readonly planned: () => readonly PlannedJob[]
  /** What the queue and its workers are doing. */
  readonly queueView: () => QueueView
  /** In a fleet: which worker this process is. */
  readonly worker?: string | undefined
  readonly keyExpiries: () => readonly KeyExpiry[]
  readonly version: string
  /** What became of the last reload of the configuration; the start counts as one that succeeded. */
  readonly configReload: () => ConfigReload
}

export type ConfigReload = {
  /** False if it was refused, or a part of it waits for a restart. */
  readonly isSuccessful: boolean
  readonly lastSuccessAt: Date
  /** Keys that changed and count only after a restart. */
  readonly needsRestart: readonly string[]
}

export type Place = { readonly server: string; readonly database: string }

/** Everything that the answer to one scrape is made of. */
export type Scrape = {
  readonly parts: MetricsParts
  readonly catalog: Catalog
  /** Those that the configuration does not cover (any more) have no objectives. */
  readonly databases: readonly (DatabaseStatus & { readonly isConfigured: boolean })[]
  /** The newest roles backup of each server that has one. */
  readonly newestRoles: ReadonlyMap<string, CatalogBackup>
  readonly planned: readonly PlannedJob[]
  readonly queue: QueueView
  readonly running: readonly Run[]
  readonly runPlaces: readonly RunPlace[]
  readonly keyExpiries: ReadonlyMap<{ readonly fingerprint: string; readonly use: string }, Date>
  readonly stores: readonly StoreScrape[]
  /** Whether the store was ever read: then "none" is known and not merely unseen. */
  readonly isStoreRead: boolean
}

/** Where runs of a job can be: `database` is empty for the roles of a server, both are for a prune of everything. */
export type RunPlace = Place & { readonly job: Run['job'] }

export function readScrape(parts: MetricsParts): Scrape {
  const { catalog, config, clock } = parts
  const now = clock.now()
  const planned = parts.planned()
  const places = knownDatabases(catalog, planned)
  return {
    parts,
    catalog,
    databases: places.map((place) => {
      const covered = isCovered(place, config)
      const objectives = covered ? objectivesOf(place.server, config) : {}
      return { ...readDatabaseStatus(place, catalog, objectives, now), isConfigured: covered }
    }),
    newestRoles: newestByServer(catalog.backups({ kind: 'roles' })),
    planned,
    queue: parts.queueView(),
    running: catalog.runs().filter(({ state }) => state === 'running'),
    runPlaces: runPlaces(places, config),
    keyExpiries: expiring(parts.keyExpiries()),
    stores: parts.stores.named.map((store) => readStore(store, parts, now)),
    isStoreRead: catalog.lastRefreshedAt !== null,
  }
}

/** Of a list with the newest first. */
export const newestByServer = onceForEach((backups: readonly CatalogBackup[]): ReadonlyMap<string, CatalogBackup> => {
  const newest = new Map<string, CatalogBackup>()
  for (const backup of backups) if (!newest.has(backup.manifest.server)) newest.set(backup.manifest.server, backup)
  return newest
})

/** Whether the configuration asks for runs there; a place without a database is the server's, or everybody's. */
export function isCovered({ server, database }: Place, { servers }: Pick<Config, 'servers'>): boolean {
  if (server === '') return true
  const found = servers.find(({ name }) => name === server)
  return found !== undefined && (database === '' || isConfigured(found, database))
}

/** What is told of one store. */
export type StoreScrape = {
  readonly name: string
  readonly isRequired: boolean
  /** Whether it could be read when it was last tried; null before the first time. */
  readonly isUp: boolean | null
  readonly clockSkewSeconds: number | undefined
  readonly view: StoreView
  /** What other stores have and this one should; empty while it cannot be read. */
  readonly lacking: readonly CatalogBackup[]
}

function readStore(
  { name, isRequired, writer }: NamedStore,
  { catalog, config, stores }: MetricsParts,
  now: Date,
): StoreScrape {
  const standing = catalog.standings().find((one) => one.name === name)
  const isUp = standing === undefined ? null : standing.error === null
  const question = { store: name, policyOf: retentionIn(name, config), now, timezone: config.timezone }
  return {
    name,
    isRequired,
    isUp,
    clockSkewSeconds: writer.clockSkewSeconds(),
    view: catalog.inStore(name),
    lacking: isUp === true && stores.named.length > 1 ? lackingIn(question, catalog) : [],
  }
}

/** Those that are planned and those with a backup in the store, each once, in order of their names. */
export function knownDatabases(
  catalog: Catalog,
  planned: readonly { readonly server: string; readonly database: string | null }[],
): readonly Place[] {
  const places = new Map<string, Place>()
  for (const { server, database } of [...catalog.databases(), ...planned])
    if (database !== null) places.set(JSON.stringify([server, database]), { server, database })
  return [...places].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, place]) => place)
}

export function runPlaces(places: readonly Place[], { servers }: Pick<Config, 'servers'>): readonly RunPlace[] {
  const ofDatabase = ['backup', 'drill', 'prune'] as const
  const ofServer = ['roles', 'prune'] as const
  return [
    ...places.flatMap(({ server, database }) => ofDatabase.map((job) => ({ server, database, job }))),
    ...servers.flatMap(({ name }) => ofServer.map((job) => ({ server: name, database: '', job }))),
    { server: '', database: '', job: 'prune' },
    { server: '', database: '', job: 'sync' },
  ]
}

/** One key may be in several files; the last one counts. */
function expiring(expiries: readonly KeyExpiry[]): Scrape['keyExpiries'] {
  const byKey = new Map<string, readonly [{ fingerprint: string; use: string }, Date]>()
  for (const { fingerprint, use, expiresAt } of expiries)
    if (expiresAt !== null) byKey.set(`${use} ${fingerprint}`, [{ fingerprint, use }, expiresAt])
  return new Map(byKey.values())
}
