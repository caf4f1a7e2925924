import { Catalog } from '../../src/catalog/catalog.ts'
import type { Clock } from '../../src/clock.ts'
import type { ServerConfig } from '../../src/config/config.ts'
import type { DrillReport } from '../../src/domain/drill-report.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import type { PruneRecord } from '../../src/domain/prune-record.ts'
import { signal, storeBackup, storeRecord, storeReport } from '../catalog/stored.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { storeSetOf } from '../support/store-sets.ts'

export type TestClock = Clock & { advance(ms: number): void }

/** A clock that stands still until it is told to go on. */
export function clockAt(instant: string): TestClock {
  let ms = Date.parse(instant)
  return {
    now: () => new Date(ms),
    monotonicMs: () => ms,
    sleep: () => Promise.reject(new Error('nothing here sleeps')),
    advance: (by) => {
      ms += by
    },
  }
}

export type Contents = {
  readonly manifests?: readonly Manifest[]
  readonly reports?: readonly DrillReport[]
  readonly records?: readonly PruneRecord[]
}

/** A store with backups and reports made by hand, and the catalog that was read from it. */
export async function madeUpCatalog(
  clock: Clock,
  { manifests = [], reports = [], records = [] }: Contents,
): Promise<{ catalog: Catalog; store: MemoryStore }> {
  const store = new MemoryStore(clock)
  for (const manifest of manifests) await storeBackup(store, manifest)
  for (const report of reports) await storeReport(store, report)
  for (const record of records) await storeRecord(store, record)
  const catalog = new Catalog({ clock })
  await catalog.refresh(storeSetOf(store), signal)
  return { catalog, store }
}

export function serverConfig(name: string, changes: Partial<ServerConfig> = {}): ServerConfig {
  const retention = { last: 3, daily: 7, weekly: 4, monthly: 12, yearly: 0, verified: 2 }
  return {
    name,
    url: 'postgres://backup@db.internal:5432/postgres',
    password: undefined,
    passwordFile: undefined,
    databases: 'all',
    exclude: [],
    schedule: {},
    jitterMs: 0,
    retry: { attempts: 3, delayMs: 300_000 },
    label: undefined,
    maxConcurrent: undefined,
    retention,
    rolesRetention: retention,
    compression: { method: 'zstd', level: 1 },
    evidence: { level: 'digest', tables: {} },
    objectives: {},
    checks: [],
    lockTimeoutMs: 1000,
    backupDeadlineMs: 1000,
    censusConnections: 1,
    ...changes,
  }
}
