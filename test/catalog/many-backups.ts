import { createHash } from 'node:crypto'
import { type DrillReport, encodeDrillReport } from '../../src/domain/drill-report.ts'
import { encodeManifest, type Manifest } from '../../src/domain/manifest.ts'
import { encodePruneRecord } from '../../src/domain/prune-record.ts'
import { backupFolder, drillReportKey, objectNames, pruneRecordKey } from '../../src/storage/object-keys.ts'
import { labelAt, manifestAt, recordOf, reportOf, rolesManifestAt } from './stored.ts'

export type ManyObject = { readonly key: string; readonly body: Uint8Array }

export type ManyOptions = {
  readonly backups: number
  readonly drills: number
  readonly prunes: number
  /** The newest backups are just before it. */
  readonly until: Date
  readonly storeId?: string
  /** Signs a drill report, armored; left out: nobody signs. */
  readonly sign?: { readonly fingerprint: string; readonly by: (bytes: Uint8Array) => Promise<Uint8Array> }
}

/** Of three servers with five databases each; every 25th backup is one of roles. */
export const manyServers = ['main', 'east', 'west'] as const
export const manyDatabases = ['app', 'billing', 'crm', 'events', 'search'] as const

/** The objects of a store with a long history: every backup with its signature, every drill with its tables. */
export async function* manyObjects(options: ManyOptions): AsyncGenerator<ManyObject> {
  const { drills, prunes, until } = options
  const storeId = options.storeId ?? 'store'
  const signer = options.sign?.fingerprint ?? null
  const manifests: { readonly manifest: Manifest; readonly sha256: string }[] = []
  const previous = new Map<string, Manifest['previous']>()
  for (const { time, server, database } of places(options.backups, until)) {
    const place = JSON.stringify([server, database])
    const make = database === null ? rolesManifestAt : manifestAt
    const encryption = { recipients: ['A'.repeat(40), 'B'.repeat(40)], signer }
    const manifest = make(time, { server, database, storeId, encryption, previous: previous.get(place) ?? null })
    const folder = backupFolder(manifest)
    for (const object of Object.values(manifest.objects))
      if (object !== null) yield { key: `${folder}${object.name}`, body: Buffer.alloc(object.bytes) }
    const body = encodeManifest(manifest)
    yield { key: `${folder}${objectNames.signature}`, body: Buffer.alloc(400) }
    yield { key: `${folder}${objectNames.manifest}`, body }
    const sha256 = digest(body)
    previous.set(place, { label: manifest.label, sha256 })
    if (database !== null) manifests.push({ manifest, sha256 })
  }
  for (let index = 0; index < drills && manifests.length > 0; index += 1) {
    const drilled = manifests[Math.floor((index * manifests.length) / drills)]
    if (drilled !== undefined) yield* drill(drilled.manifest, index, storeId, options.sign)
  }
  for (let index = 0; index < prunes; index += 1) {
    const time = new Date(until.getTime() - (prunes - index) * 86_400_000).toISOString()
    const gone = manyDatabases.map((database) => manifestAt('2020-01-01T00:00:00Z', { database }))
    const record = { ...recordOf(gone, time), storeId }
    yield { key: pruneRecordKey(record.label), body: encodePruneRecord(record) }
  }
}

function* places(
  count: number,
  until: Date,
): Generator<{ readonly time: string; readonly server: string; readonly database: string | null }> {
  for (let index = 0; index < count; index += 1) {
    // An hour apart, so that no two labels are one.
    const time = new Date(until.getTime() - (count - index) * 3_600_000).toISOString()
    const server = manyServers[index % manyServers.length] as string
    const database = index % 25 === 0 ? null : (manyDatabases[index % manyDatabases.length] as string)
    yield { time, server, database }
  }
}

async function* drill(
  manifest: Manifest,
  index: number,
  storeId: string,
  sign: ManyOptions['sign'],
): AsyncGenerator<ManyObject> {
  const finishedAt = new Date(Date.parse(manifest.snapshotTime) + 1_800_000).toISOString()
  const names = ['signature', 'download', 'digest', 'decryption', 'roles', 'restore', 'structure', 'rows', 'query']
  const tables = Buffer.alloc(2000)
  const changes: Partial<DrillReport> = {
    storeId,
    label: labelAt(finishedAt, String(index % 10_000).padStart(4, '0')),
    checks: names.map((name) => ({ name, result: 'passed', detail: `as in the evidence of ${manifest.label}` })),
    signer: sign?.fingerprint ?? null,
    tablesSha256: digest(tables),
  }
  const report = reportOf(manifest, finishedAt, changes)
  const key = drillReportKey(report.server, report.database, report.label)
  const body = encodeDrillReport(report)
  yield { key: key.replace(/\.json$/, '.tables.json.pgp'), body: tables }
  if (sign !== undefined) yield { key: `${key}.sig`, body: await sign.by(body) }
  yield { key, body }
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
