import type { Catalog } from '../catalog/catalog.ts'
import { placeKey } from '../catalog/place-key.ts'
import type { Prune } from '../domain/prune-record.ts'
import type { Scrape } from './scrape.ts'

export type Sample = { readonly labels: Readonly<Record<string, string>>; readonly value: number }

/**
 * A gauge, or a counter that the store remembers. What is unknown has no sample; it is never 0. Samples with the same
 * labels add up.
 */
export type StoredMetric = {
  readonly name: `pgproof_${string}`
  readonly type: 'gauge' | 'counter'
  readonly help: string
  readonly labels: readonly string[]
  read(scrape: Scrape): Iterable<Sample>
}

export const perPlace = ['server', 'database'] as const
export const perStore = ['store'] as const

/** What is true of the installation as a whole, or counted by place; `database` is empty for what is the server's. */
export const installationMetrics: readonly StoredMetric[] = [
  {
    name: 'pgproof_build_info',
    type: 'gauge',
    help: 'Always 1; the labels say which program answers.',
    labels: ['version', 'nodeversion'],
    read: ({ parts }) => [{ labels: { version: parts.version, nodeversion: process.version }, value: 1 }],
  },
  {
    name: 'pgproof_config_last_reload_successful',
    type: 'gauge',
    help: '1 if the configuration was in order when it was last read, 0 if it was refused, or a part of it waits for a restart.',
    labels: [],
    read: ({ parts }) => [{ labels: {}, value: parts.configReload().isSuccessful ? 1 : 0 }],
  },
  {
    name: 'pgproof_config_last_reload_success_timestamp_seconds',
    type: 'gauge',
    help: 'When the configuration that is in force was read.',
    labels: [],
    read: ({ parts }) => [{ labels: {}, value: parts.configReload().lastSuccessAt.getTime() / 1000 }],
  },
  {
    name: 'pgproof_roles_last_success_timestamp_seconds',
    type: 'gauge',
    help: 'When the newest roles backup in the store was finished.',
    labels: ['server'],
    *read({ newestRoles }) {
      for (const [server, { manifest }] of newestRoles)
        yield { labels: { server }, value: Date.parse(manifest.finishedAt) / 1000 }
    },
  },
  {
    name: 'pgproof_key_expiry_timestamp_seconds',
    type: 'gauge',
    help: 'When the OpenPGP key expires; absent for a key that never does.',
    labels: ['fingerprint', 'use'],
    *read({ keyExpiries }) {
      for (const [labels, expiresAt] of keyExpiries) yield { labels, value: expiresAt.getTime() / 1000 }
    },
  },
  {
    name: 'pgproof_store_up',
    type: 'gauge',
    help: '1 if the store could be read when it was last tried, 0 if not.',
    labels: perStore,
    *read({ stores }) {
      for (const { name, isUp } of stores) if (isUp !== null) yield { labels: { store: name }, value: isUp ? 1 : 0 }
    },
  },
  {
    name: 'pgproof_store_required',
    type: 'gauge',
    help: '1 if no backup succeeds without the store, 0 if a sync may catch it up later.',
    labels: perStore,
    *read({ stores }) {
      for (const { name, isRequired } of stores) yield { labels: { store: name }, value: isRequired ? 1 : 0 }
    },
  },
  {
    name: 'pgproof_store_clock_skew_seconds',
    type: 'gauge',
    help: 'The clock of the store minus the clock of pgproof.',
    labels: perStore,
    *read({ stores }) {
      for (const { name, clockSkewSeconds } of stores)
        if (clockSkewSeconds !== undefined) yield { labels: { store: name }, value: clockSkewSeconds }
    },
  },
  {
    name: 'pgproof_store_recovery_point_timestamp_seconds',
    type: 'gauge',
    help: 'Snapshot time of the newest backup of which the store holds every object.',
    labels: [...perPlace, ...perStore],
    *read({ stores, isStoreRead }) {
      if (!isStoreRead) return
      for (const { name, view } of stores)
        for (const { server, database, newestWhole } of view.totals())
          if (database !== null && newestWhole !== null)
            yield { labels: { server, database, store: name }, value: newestWhole.getTime() / 1000 }
    },
  },
  {
    name: 'pgproof_store_lacking_backups',
    type: 'gauge',
    help: 'Backups that another store holds and this one should hold, too; sync copies them.',
    labels: [...perPlace, ...perStore],
    *read({ stores, databases, isStoreRead }) {
      if (!isStoreRead) return
      for (const { name, isUp, lacking } of stores) {
        if (isUp !== true) continue
        for (const { server, database } of databases) yield { labels: { server, database, store: name }, value: 0 }
        for (const { manifest } of lacking)
          yield { labels: { server: manifest.server, database: manifest.database ?? '', store: name }, value: 1 }
      }
    },
  },
  {
    name: 'pgproof_store_bytes',
    type: 'gauge',
    help: 'Size of all objects of the backups that the store holds.',
    labels: [...perPlace, ...perStore],
    *read({ stores, databases, isStoreRead }) {
      if (!isStoreRead) return
      for (const { name, view } of stores) {
        for (const { server, database } of databases) yield { labels: { server, database, store: name }, value: 0 }
        for (const { server, database, bytes } of view.totals())
          yield { labels: { server, database: database ?? '', store: name }, value: bytes }
      }
    },
  },
  {
    name: 'pgproof_orphan_objects',
    type: 'gauge',
    help: 'Objects of backups without a manifest: left by a crash, or still being written.',
    labels: [...perPlace, ...perStore],
    *read({ stores, databases, isStoreRead }) {
      if (!isStoreRead) return
      for (const { name, view } of stores) {
        for (const { server, database } of databases) yield { labels: { server, database, store: name }, value: 0 }
        for (const { server, database, objects } of view.orphans)
          yield { labels: { server, database: database ?? '', store: name }, value: objects.length }
      }
    },
  },
  {
    name: 'pgproof_history_gaps',
    type: 'gauge',
    help: 'Backups that somebody other than pgproof removed, replaced or put back.',
    labels: perPlace,
    *read({ catalog, databases, isStoreRead }) {
      if (!isStoreRead) return
      for (const { server, database } of databases) yield { labels: { server, database }, value: 0 }
      for (const { server, database } of catalog.historyGaps())
        yield { labels: { server, database: database ?? '' }, value: 1 }
    },
  },
  {
    name: 'pgproof_damaged_objects',
    type: 'gauge',
    help: 'Manifests, drill reports and records of prunes that cannot be read or are not signed as demanded; they count as nothing.',
    labels: [],
    *read({ catalog, isStoreRead }) {
      if (isStoreRead) yield { labels: {}, value: catalog.damaged().length }
    },
  },
  {
    name: 'pgproof_prune_removed_total',
    type: 'counter',
    help: 'Backups that prunes have removed from the store, by the records they left there.',
    labels: perPlace,
    *read({ catalog, databases, isStoreRead }) {
      if (!isStoreRead) return
      for (const { server, database } of databases) yield { labels: { server, database }, value: 0 }
      yield* removalsIn(catalog)
    },
  },
]

/** How many backups of each place are gone by the records of prunes; worked out once for each list of prunes. */
function removalsIn(catalog: Catalog): Iterable<Sample> {
  const prunes = catalog.prunes()
  const known = removals.get(prunes) ?? readRemovals(prunes, catalog)
  removals.set(prunes, known)
  return known
}

const removals = new WeakMap<readonly Prune[], readonly Sample[]>()

function readRemovals(prunes: readonly Prune[], catalog: Catalog): readonly Sample[] {
  const counted = new Set<string>()
  const gone = new Map<string, { readonly labels: Sample['labels']; value: number }>()
  for (const { removed } of prunes)
    for (const { kind, server, database, label, manifestSha256 } of removed) {
      // A prune records what it is about to remove; what it then could not remove, the next one records again.
      if (counted.has(manifestSha256)) continue
      counted.add(manifestSha256)
      const place = database === null ? { kind, server } : { kind, server, database }
      if (catalog.find(label, place)?.manifestSha256 === manifestSha256) continue
      const key = placeKey(kind, server, database)
      const known = gone.get(key)
      if (known === undefined) gone.set(key, { labels: { server, database: database ?? '' }, value: 1 })
      else known.value += 1
    }
  return [...gone.values()]
}
