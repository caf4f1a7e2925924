import { type Clock, systemClock } from '../../src/clock.ts'
import type { Finished } from '../../src/jobs/execute.ts'
import { executeRun } from '../../src/jobs/execute.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { testInstallation, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { storeSetOf } from '../support/store-sets.ts'

/** Whole backups of one database into a store of the test's. */
export type BackupsInto = AsyncDisposable & {
  backup(): Promise<Finished>
  /** What the store is known to hold, read anew. */
  labels(): Promise<string[]>
  /** What the newest run of a backup says of itself. */
  lastRun(): unknown
}

export async function backupsInto(
  store: ObjectStore,
  database: string,
  clock: Clock = systemClock,
): Promise<BackupsInto> {
  const test = await testInstallation()
  const stores = storeSetOf(store, clock)
  const installation = { ...test.installation, stores, store: stores.reading() }
  const { signal } = new AbortController()
  const { catalog } = installation
  return {
    backup: async () => {
      await catalog.refresh(stores, signal)
      const run = newRun({ job: 'backup', server: 'main', database, trigger: 'cli' }, installation)
      return await executeRun(run, { prune: false }, installation, signal)
    },
    labels: async () => {
      await catalog.refresh(stores, signal)
      return catalog.backups().map(({ manifest }) => manifest.label)
    },
    lastRun: () => catalog.runs().find(({ job }) => job === 'backup'),
    [Symbol.asyncDispose]: async () => await test[Symbol.asyncDispose](),
  }
}

/** A table whose dump is some 15 MB when it is compressed: three parts of 5 MiB and more. */
export async function fillWithNoise(url: string): Promise<void> {
  await query(
    url,
    `CREATE TABLE noise AS SELECT i, (SELECT string_agg(md5(i::text || ' ' || j), '') FROM generate_series(1, 32) j) AS t
     FROM generate_series(1, 30000) i`,
  )
}

/** Sessions of pgproof that are still on the server, and advisory locks, by which a backup keeps others away. */
export async function leftOnServer(database: string): Promise<Record<string, unknown>[]> {
  return await query(
    testUrl(),
    `SELECT application_name FROM pg_stat_activity WHERE datname = '${database}' AND application_name LIKE 'pgproof%'
     UNION ALL SELECT 'lock' FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND d.datname = '${database}'`,
  )
}
