import { createHash } from 'node:crypto'
import type { Clock } from '../../src/clock.ts'
import { type DrillReport, encodeDrillReport } from '../../src/domain/drill-report.ts'
import { encodeManifest, type Manifest } from '../../src/domain/manifest.ts'
import { encodePruneRecord, type PruneRecord } from '../../src/domain/prune-record.ts'
import { backupFolder, drillReportKey, pruneRecordKey } from '../../src/storage/object-keys.ts'
import type { MemoryStore } from '../support/memory-store.ts'

/** Stores of backups, drills and prunes for the catalog's tests. */

export const present = new Date('2026-11-20T12:00:00Z')
export const clock: Clock = { now: () => present, monotonicMs: () => 0, sleep: async () => {} }
export const signal = new AbortController().signal

export function labelAt(time: string, suffix = '4f7k'): string {
  return `${new Date(time).toISOString().replaceAll(/[-:]|\.\d+/g, '')}-${suffix}`
}

/** A manifest of `main/app` taken at `time`, small enough to be read by eye. */
export function manifestAt(time: string, changes: Partial<Manifest> = {}): Manifest {
  const object = (name: string, bytes: number) => ({ name, bytes, sha256: 'c'.repeat(64) })
  return {
    format: 1,
    kind: 'database',
    label: labelAt(time),
    server: 'main',
    database: 'app',
    stores: [{ name: 'store', url: 'memory://' }],
    storeId: 'store',
    pgproofVersion: '0.1.0',
    startedAt: new Date(time).toISOString(),
    snapshotTime: new Date(time).toISOString(),
    finishedAt: new Date(time).toISOString(),
    source: {
      version: '17.2',
      major: 17,
      systemIdentifier: '7300000000000000001',
      isStandby: false,
      databaseBytes: 9000,
    },
    program: { name: 'pg_dump', version: '17.2' },
    dump: { bytes: 8000, sha256: 'd'.repeat(64), compression: 'zstd' },
    objects: {
      dump: object('dump.zst.pgp', 40),
      evidence: object('evidence.json.pgp', 20),
      recovery: object('RECOVERY.md', 10),
    },
    encryption: { recipients: ['A'.repeat(40)], signer: null },
    evidence: { level: 'digest', tables: 3, rows: 100 },
    omissions: [],
    rolePasswords: null,
    previous: null,
    ...changes,
  }
}

export function rolesManifestAt(time: string, changes: Partial<Manifest> = {}): Manifest {
  const manifest = manifestAt(time, { kind: 'roles', database: null, rolePasswords: 'present', ...changes })
  return { ...manifest, objects: { ...manifest.objects, evidence: null } }
}

export function sha256Of(manifest: Manifest): string {
  return createHash('sha256').update(encodeManifest(manifest)).digest('hex')
}

/** Writes the whole backup, objects first. Returns its folder. */
export async function storeBackup(store: MemoryStore, manifest: Manifest): Promise<string> {
  const folder = backupFolder(manifest)
  for (const object of Object.values(manifest.objects))
    if (object !== null) await store.put(`${folder}${object.name}`, Buffer.alloc(object.bytes), { signal })
  await store.put(`${folder}manifest.json`, encodeManifest(manifest), { signal })
  return folder
}

/** A report of a drill of `manifest` that ended at `finishedAt`. */
export function reportOf(manifest: Manifest, finishedAt: string, changes: Partial<DrillReport> = {}): DrillReport {
  return {
    format: 1,
    label: labelAt(finishedAt, 'dr11'),
    server: manifest.server,
    database: manifest.database ?? '',
    store: 'store',
    storeId: 'store',
    pgproofVersion: '0.1.0',
    backup: {
      label: manifest.label,
      snapshotTime: manifest.snapshotTime,
      manifestSha256: sha256Of(manifest),
      dumpBytes: manifest.dump.bytes,
    },
    rolesBackup: null,
    pick: { rule: 'random', seed: 4 },
    startedAt: new Date(finishedAt).toISOString(),
    finishedAt: new Date(finishedAt).toISOString(),
    verdict: 'passed',
    reason: null,
    checks: [],
    phases: [{ name: 'restore', seconds: 12 }],
    restoreTimeSeconds: 20,
    rtoSeconds: null,
    forecastSeconds: null,
    objective: 'none',
    omissions: [],
    signer: null,
    environment: {
      scratch: 'embedded',
      serverVersion: '17.2',
      network: 'none',
      notIsolated: [],
      jobs: 2,
      cpus: 2,
      cpuModel: 'test',
      memoryBytes: 1,
    },
    compared: { tables: 3, rows: 100, objects: 9, differences: 0, countOnly: 0, off: 0 },
    tablesSha256: null,
    ...changes,
  }
}

export async function storeReport(store: MemoryStore, report: DrillReport): Promise<string> {
  const key = drillReportKey(report.server, report.database, report.label)
  await store.put(key, encodeDrillReport(report), { signal })
  return key
}

export function recordOf(removed: readonly Manifest[], at = '2026-11-20T04:00:00Z'): PruneRecord {
  return {
    format: 1,
    label: labelAt(at, 'pr11'),
    storeId: 'store',
    pgproofVersion: '0.1.0',
    at: new Date(at).toISOString(),
    policies: [],
    removed: removed.map((manifest) => {
      const { kind, server, database, label } = manifest
      return { kind, server, database, label, manifestSha256: sha256Of(manifest) }
    }),
  }
}

export async function storeRecord(store: MemoryStore, record: PruneRecord): Promise<void> {
  await store.put(pruneRecordKey(record.label), encodePruneRecord(record), { signal })
}
