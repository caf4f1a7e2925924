import { encodeRolesEvidence } from '../domain/roles-evidence.ts'
import { settleStructure } from '../domain/structure.ts'
import { assertRecipientsUsable, type Recipients } from '../encryption/keys.ts'
import type { SigningKey } from '../encryption/sign.ts'
import { type JobParts, newLabel } from '../parts.ts'
import { takeLock } from '../postgres/advisory-lock.ts'
import { type Client, type Connection, connect } from '../postgres/connect.ts'
import { dumpRoles } from '../postgres/dump.ts'
import { readServerFacts } from '../postgres/facts.ts'
import { type FoundProgram, findProgram } from '../postgres/programs.ts'
import { asSourceFailure, assertDirect } from '../postgres/snapshot.ts'
import { backupFolder, objectNames } from '../storage/object-keys.ts'
import { readRoles, roleOf } from '../structure/roles.ts'
import { bindManifest, type Committed, commitBackup, removeUncommitted } from './commit-backup.ts'
import { assertNotDoneElsewhere, type DuePeriod } from './not-done-elsewhere.ts'
import { type StoredStream, type StoreParts, storeEncrypted, storeEncryptedBytes } from './store-encrypted.ts'

export type RolesBackupRequest = {
  /** Any database of the server; `pg_dumpall` reads shared catalogs only. */
  readonly connection: Connection
  readonly recipients: Recipients
  readonly signingKey: SigningKey | null
  readonly binDirs: readonly string[]
  /** Of a schedule: nothing is done if somebody else has made a backup for the same due time. */
  readonly due?: DuePeriod | undefined
}

/**
 * Backs up the roles of one server: without them a restore on a new server has no owners and no grants. Throws LOCKED
 * where another process is doing it for the same stores.
 */
export async function runRolesBackup(
  request: RolesBackupRequest,
  parts: JobParts,
  signal: AbortSignal,
): Promise<Committed> {
  try {
    return await backUpRoles(request, parts, signal)
  } catch (error) {
    throw asSourceFailure(error, request.connection, signal)
  }
}

async function backUpRoles(request: RolesBackupRequest, parts: JobParts, signal: AbortSignal): Promise<Committed> {
  const { connection } = request
  const startedAt = parts.clock.now()
  assertRecipientsUsable(request.recipients, startedAt)
  const label = newLabel(parts)
  const folder = backupFolder({ kind: 'roles', server: connection.server, database: null, label })

  // 1. Which server this is, and its own pg_dumpall.
  await using held = await connect(connection, signal)
  const facts = await readServerFacts(held.client, connection)
  await assertDirect(connection, held.client, signal)
  // For as long as the connection lasts: of two daemons with one store only one makes it, as with databases.
  await takeLock(held.client, `roles backup into ${parts.storeId}`, `the roles of server "${connection.server}"`)
  const place = { kind: 'roles' as const, server: connection.server, database: null }
  await assertNotDoneElsewhere(place, request.due, parts, signal)
  const program = await findProgram('pg_dumpall', facts.major, request.binDirs, signal)
  const snapshotTime = parts.clock.now()

  const store = await parts.stores.begin(signal)
  const writing = { ...parts, store }
  try {
    // 2. Dump, encrypt and upload; managed servers deny the passwords, and the manifest then says so. The shared catalogs
    //    have no snapshot that pg_dumpall could be given: what is the same before and after is what it has seen.
    const isDenied = await isPasswordDenied(held.client)
    const rolePasswords = isDenied ? ('absent' as const) : ('present' as const)
    if (isDenied) parts.log.warn({ server: connection.server }, 'pg_authid may not be read: roles without passwords')
    const before = await readRoles(held.client, facts.major, rolePasswords)
    const stored = await storeRoles(request, program, rolePasswords, folder, writing, signal)
    const roles = settleStructure(before, await readRoles(held.client, facts.major, rolePasswords))

    // 3. What the roles were, so that a drill can tell whether they all came back.
    const { version, major, systemIdentifier, isStandby } = facts
    const omissions = [
      ...(isDenied ? [{ kind: 'role passwords', objects: 1 }] : []),
      ...(roles.changed.length > 0 ? [{ kind: 'changed during the dump', objects: roles.changed.length }] : []),
    ]
    const draft = {
      kind: 'roles' as const,
      label,
      server: connection.server,
      database: null,
      snapshotTime: snapshotTime.toISOString(),
      source: { version, major, systemIdentifier, isStandby, databaseBytes: null },
      dump: { ...stored.source, compression: 'none' as const },
      program: { name: 'pg_dumpall' as const, version: program.version },
      evidence: { level: 'off' as const, tables: 0, rows: 0 },
      omissions,
      rolePasswords,
      previous: parts.catalog.previousManifest('roles', connection.server, null),
      folder,
      startedAt,
      dumpObject: stored.object,
      properties: null,
    }
    const manifest = bindManifest(draft, request, parts)
    const changed = [...new Set(roles.changed.map(roleOf))].sort()
    const of = { label, server: connection.server, manifest }
    const evidence = { format: 1 as const, ...of, roles: [...roles.settled], changed }
    const evidenceTarget = { folder, name: objectNames.evidence, recipients: request.recipients }
    const evidenceObject = await storeEncryptedBytes(encodeRolesEvidence(evidence), evidenceTarget, writing, signal)

    // 4. RECOVERY.md, signature, manifest: from here on the backup exists.
    return await commitBackup({ ...draft, evidenceObject }, request, writing, signal)
  } catch (error) {
    await removeUncommitted(folder, writing)
    throw error
  }
}

/** `pg_dumpall` reads the verifiers from pg_authid, which managed services keep to themselves. */
async function isPasswordDenied(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ may: boolean }>(
    "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS may",
  )
  return rows[0]?.may !== true
}

async function storeRoles(
  request: RolesBackupRequest,
  program: FoundProgram,
  rolePasswords: 'present' | 'absent',
  folder: string,
  parts: StoreParts,
  signal: AbortSignal,
): Promise<StoredStream> {
  const target = { folder, name: objectNames.roles, recipients: request.recipients, zstdLevel: null }
  const { connection } = request
  const withPasswords = rolePasswords === 'present'
  return await storeEncrypted(
    (dumping) => dumpRoles({ connection, program, withPasswords }, dumping),
    target,
    parts,
    signal,
  )
}
