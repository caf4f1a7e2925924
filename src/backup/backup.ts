import assert from 'node:assert/strict'
import { type Evidence, type EvidenceLevel, encodeEvidence, type TableContents } from '../domain/evidence.ts'
import type { Omission } from '../domain/manifest.ts'
import { settleStructure } from '../domain/structure.ts'
import { assertRecipientsUsable, type Recipients } from '../encryption/keys.ts'
import type { SigningKey } from '../encryption/sign.ts'
import { type JobParts, newLabel } from '../parts.ts'
import { earlierStates, readLargeObjects, readSequences, takeCensus } from '../postgres/census.ts'
import { type Connection, openSeveral } from '../postgres/connect.ts'
import { type LeftOut, listLeftOut } from '../postgres/coverage.ts'
import { type DumpCompression, dumpDatabase, expectedDumpBytes } from '../postgres/dump.ts'
import { listExtensions, readDatabaseProperties, readDatabaseSize } from '../postgres/facts.ts'
import { readGivingWay } from '../postgres/give-way.ts'
import { findProgram } from '../postgres/programs.ts'
import { asSourceFailure, holdSnapshot, joinSnapshot, type Snapshot } from '../postgres/snapshot.ts'
import { tableName } from '../postgres/tables.ts'
import { backupFolder, objectNames } from '../storage/object-keys.ts'
import { archiveOnly } from '../streams/archive-header.ts'
import { together } from '../streams/together.ts'
import { readStructureInSnapshot } from '../structure/read-structure.ts'
import { bindManifest, type Committed, commitBackup, removeUncommitted } from './commit-backup.ts'
import { assertNotDoneElsewhere, type DuePeriod } from './not-done-elsewhere.ts'
import { storeEncrypted, storeEncryptedBytes } from './store-encrypted.ts'

export type BackupRequest = {
  readonly connection: Connection
  readonly recipients: Recipients
  readonly signingKey: SigningKey | null
  readonly compression: DumpCompression
  readonly evidence: { readonly level: EvidenceLevel; readonly tables: Readonly<Record<string, EvidenceLevel>> }
  readonly lockTimeoutMs: number
  readonly censusConnections: number
  readonly binDirs: readonly string[]
  /** Of a schedule: nothing is done if somebody else has made a backup for the same due time. */
  readonly due?: DuePeriod | undefined
}

export type BackupParts = JobParts & {
  readonly onProgress?: ((progress: Partial<BackupProgress>) => void) | undefined
}

export type BackupProgress = {
  readonly dumpBytes: number
  readonly tablesDone: number
  readonly tablesTotal: number
}

export type BackupResult = Committed & { readonly evidence: Evidence }

/**
 * Backs up one database: everything in the backup describes one instant, and the backup exists only from the moment
 * its manifest is written. Throws register errors; then nothing is left that counts as a backup.
 */
export async function runBackup(
  request: BackupRequest,
  parts: BackupParts,
  signal: AbortSignal,
): Promise<BackupResult> {
  try {
    return await backUp(request, parts, signal)
  } catch (error) {
    throw asSourceFailure(error, request.connection, signal)
  }
}

async function backUp(request: BackupRequest, parts: BackupParts, signal: AbortSignal): Promise<BackupResult> {
  const { connection } = request
  const startedAt = parts.clock.now()
  assertRecipientsUsable(request.recipients, startedAt)
  const label = newLabel(parts)
  const folder = backupFolder({ kind: 'database', server: connection.server, database: connection.database, label })

  // 1. Hold one snapshot, behind locks taken before it: dump, counts and digests describe the same instant.
  await using snapshot = await holdSnapshot(connection, request, signal)
  await assertNotDoneElsewhere({ kind: 'database', ...connection }, request.due, parts, signal)
  const { facts } = snapshot
  const program = await findProgram('pg_dump', facts.major, request.binDirs, signal)
  const properties = await readDatabaseProperties(snapshot.client, facts.major)
  const databaseBytes = await readDatabaseSize(snapshot.client)
  const leftOut = await listLeftOut(snapshot.client, facts.isStandby)
  const sequencesBefore = await readGivingWay(snapshot, () => readSequences(snapshot.client, facts.isStandby))
  const structureBefore = await readStructureInSnapshot(snapshot.client, facts.major)

  const store = await parts.stores.begin(signal)
  const writing = { ...parts, store }
  try {
    // 2. Dump and census side by side; either failing ends the other. The upload ends only if pg_dump exits with 0.
    const compression = request.compression
    const [dump, census] = await together<[Awaited<ReturnType<typeof storeEncrypted>>, Census]>(
      signal,
      (branch) => [
        storeEncrypted(
          (dumping) =>
            archiveOnly(
              dumpDatabase({ ...request, program, snapshotId: snapshot.id, encoding: properties.encoding }, dumping),
            ),
          {
            folder,
            name: compression.method === 'zstd' ? objectNames.dumpZstd : objectNames.dump,
            recipients: request.recipients,
            zstdLevel: compression.method === 'zstd' ? compression.level : null,
            expectedBytes: expectedDumpBytes(databaseBytes, compression.method),
            onBytes: (dumpBytes) => parts.onProgress?.({ dumpBytes }),
          },
          writing,
          branch,
        ),
        takeWholeCensus(request, snapshot, parts, branch),
      ],
      snapshot.lost,
    )

    // 3. What the database held, encrypted because it names every table; and what the manifest will say, so that no
    //    other manifest fits it.
    const structure = settleStructure(
      structureBefore,
      await readStructureInSnapshot(snapshot.client, facts.major, structureBefore),
    )
    const omissions = [...leftOut, ...structure.changed.map(changedMeanwhile)]
    const { version, major, systemIdentifier, isStandby } = facts
    const described = {
      kind: 'database' as const,
      label,
      server: connection.server,
      database: connection.database,
      snapshotTime: snapshot.time.toISOString(),
      source: { version, major, systemIdentifier, isStandby, databaseBytes },
      dump: { ...dump.source, compression: compression.method },
      program: { name: 'pg_dump' as const, version: program.version },
      evidence: { level: lowestLevel(census.tables), tables: census.tables.length, rows: sumRows(census.tables) },
      omissions: countOmissions(omissions),
      rolePasswords: null,
      previous: parts.catalog.previousManifest('database', connection.server, connection.database),
    }
    const draft = { ...described, folder, startedAt, dumpObject: dump.object, properties }
    const evidence: Evidence = {
      format: 1,
      label,
      server: connection.server,
      database: connection.database,
      snapshotTime: described.snapshotTime,
      manifest: bindManifest(draft, request, parts),
      properties,
      sequences: earlierStates(sequencesBefore, await readSequences(snapshot.client, facts.isStandby)),
      extensions: await listExtensions(snapshot.client),
      omissions,
      structure: [...structure.settled],
      ...census,
    }
    const evidenceTarget = { folder, name: objectNames.evidence, recipients: request.recipients }
    const evidenceObject = await storeEncryptedBytes(encodeEvidence(evidence), evidenceTarget, writing, signal)

    // 4. RECOVERY.md, signature, manifest: from here on the backup exists.
    return { ...(await commitBackup({ ...draft, evidenceObject }, request, writing, signal)), evidence }
  } catch (error) {
    await removeUncommitted(folder, writing)
    throw error
  }
}

/** It may be in the dump as it was before or after. */
function changedMeanwhile({ kind, name }: { readonly kind: string; readonly name: string }): LeftOut {
  return { kind: 'changed during the dump', object: `${kind} ${name}`, reason: 'its definition is not compared' }
}

type Census = Pick<Evidence, 'tables' | 'largeObjects'>

async function takeWholeCensus(
  request: BackupRequest,
  snapshot: Snapshot,
  parts: BackupParts,
  signal: AbortSignal,
): Promise<Census> {
  const { level, tables: overrides } = request.evidence
  const wanted = Math.max(1, Math.min(request.censusConnections, snapshot.tables.length))
  await using connections = await openSeveral(wanted, () => joinSnapshot(request.connection, snapshot, signal))
  const [first] = connections.clients
  const tables = await takeCensus(
    connections.clients,
    {
      database: request.connection.database,
      tables: snapshot.tables,
      level: (table) => overrides[tableName(table)] ?? level,
      onTable: (tablesDone, tablesTotal) => parts.onProgress?.({ tablesDone, tablesTotal }),
    },
    signal,
  )
  assert(first !== undefined, 'a census needs a connection')
  return { tables, largeObjects: await readLargeObjects(first, level) }
}

/** The weakest level of any table: what may be said of the whole. */
function lowestLevel(tables: readonly TableContents[]): EvidenceLevel {
  const levels = new Set(tables.map(({ level }) => level))
  return levels.has('off') ? 'off' : levels.has('count') ? 'count' : 'digest'
}

function sumRows(tables: readonly TableContents[]): number {
  return tables.reduce((sum, { rows }) => sum + (rows ?? 0), 0)
}

function countOmissions(leftOut: readonly LeftOut[]): Omission[] {
  const counts = new Map<string, number>()
  for (const { kind } of leftOut) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return [...counts].map(([kind, objects]) => ({ kind, objects }))
}
