import { randomBytes, randomUUID } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Catalog } from '../../src/catalog/catalog.ts'
import { type Clock, systemClock } from '../../src/clock.ts'
import { loadConfig } from '../../src/config/load.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { executeRun, type Finished, type RunWish } from '../../src/jobs/execute.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import { readReportTrust } from '../../src/jobs/report-trust.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { silentLog } from '../../src/log.ts'
import type { NamedStore } from '../../src/storage/store-set.ts'
import { MemoryStore } from './memory-store.ts'
import { query } from './postgres-server.ts'
import { storeSetOf } from './store-sets.ts'

/** The server that global-setup started; `database` names one of its databases. */
export function testUrl(database = 'postgres'): string {
  const base = process.env['PGPROOF_TEST_PG_URL']
  if (base === undefined) throw new Error('no PostgreSQL for tests: run `npm test`, or vitest with --project services')
  const url = new URL(base)
  url.pathname = `/${encodeURIComponent(database)}`
  return url.href
}

/** A fresh copy of a template database, dropped with its scope. */
export async function testDatabase(
  template = 'shop_template',
): Promise<AsyncDisposable & { name: string; url: string }> {
  const name = `t_${randomBytes(6).toString('hex')}`
  for (let attempt = 0; ; attempt += 1) {
    try {
      await query(testUrl(), `CREATE DATABASE ${name} TEMPLATE ${template}`)
      break
    } catch (error) {
      // Another test file is copying the template at this moment.
      if (attempt > 200 || !/being accessed by other users/.test(String(error))) throw error
    }
  }
  return {
    name,
    url: testUrl(name),
    [Symbol.asyncDispose]: async () => {
      await query(testUrl(), `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    },
  }
}

/** Of every installation of one test file: others lock the roles of the same server while they back them up. */
const storeId = randomUUID()

export type TestInstallation = AsyncDisposable & {
  readonly installation: Installation
  readonly store: MemoryStore
  /** A private folder: keys/, spool/. */
  readonly folder: string
  run(
    job: 'backup' | 'roles' | 'drill' | 'prune',
    database?: string | null,
    wish?: RunWish,
    signal?: AbortSignal,
  ): Promise<Finished>
  /** What is left in the spool; empty unless something leaked. */
  spoolLeft(): string[]
}

const shared: { keys?: Promise<{ publicKey: string; privateKey: string }> } = {}

/** An installation on the tests' server with a memory store; `settings` are PGPROOF_… variables over the usual ones. */
export async function testInstallation(
  settings: Record<string, string> = {},
  parts: { store?: MemoryStore; clock?: Clock; others?: readonly NamedStore[] } = {},
): Promise<TestInstallation> {
  const folder = mkdtempSync(join(tmpdir(), 'pgproof-test-'))
  // The embedded server runs as another user when the tests run as root, and must reach the spool below.
  chmodSync(folder, 0o711)
  mkdirSync(join(folder, 'store'))
  shared.keys ??= generateKeyPair({ name: 'pgproof test', kind: 'ecc', use: 'backup', now: new Date() })
  const { publicKey, privateKey } = await shared.keys
  writeFileSync(join(folder, 'backup.pub.asc'), publicKey)
  writeFileSync(join(folder, 'backup.key.asc'), privateKey, { mode: 0o600 })
  const { config } = await loadConfig({
    file: undefined,
    cwd: folder,
    env: {
      PGPROOF_STORE__URL: `file://${folder}/store`,
      PGPROOF_ENCRYPTION__RECIPIENTS: 'backup.pub.asc',
      PGPROOF_ENCRYPTION__PRIVATE_KEY_FILE: 'backup.key.asc',
      PGPROOF_SERVERS__0__NAME: 'main',
      PGPROOF_SERVERS__0__URL: testUrl(),
      PGPROOF_DRILL__SPOOL: join(folder, 'spool'),
      ...settings,
    },
  })
  const clock = parts.clock ?? systemClock
  const store = parts.store ?? new MemoryStore(clock)
  const stores = storeSetOf(store, clock, parts.others)
  const installation: Installation = {
    config,
    store: stores.reading(),
    stores,
    storeId,
    storeCreatedAt: clock.now(),
    catalog: new Catalog({ clock, reportTrust: () => readReportTrust(config, clock.now()) }),
    clock,
    log: silentLog,
    random: Math.random,
  }
  const spoolLeft = (): string[] => {
    try {
      return readdirSync(join(folder, 'spool'))
    } catch {
      return []
    }
  }
  return {
    installation,
    store,
    folder,
    spoolLeft,
    async run(job, database = null, wish = {}, signal = new AbortController().signal) {
      await installation.catalog.refresh(stores, signal)
      const run = newRun({ job, server: 'main', database, trigger: 'cli' }, installation)
      return await executeRun(run, wish, installation, signal)
    },
    [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true, force: true }),
  }
}
