import { assertRecipientsUsable, type Recipients } from '../encryption/keys.ts'
import type { SigningKey } from '../encryption/sign.ts'
import { PgproofError } from '../errors.ts'
import { type Connection, connect } from '../postgres/connect.ts'
import { dumpRoles } from '../postgres/dump.ts'
import { readServerFacts } from '../postgres/facts.ts'
import { type FoundProgram, findProgram } from '../postgres/programs.ts'
import { assertDirect } from '../postgres/snapshot.ts'
import { backupFolder, objectNames } from '../storage/object-keys.ts'
import { type Committed, commitBackup, newLabel, removeUncommitted } from './commit-backup.ts'
import type { JobParts } from './installation.ts'
import { type StoredStream, storeEncrypted } from './store-encrypted.ts'

export type RolesBackupRequest = {
  /** Any database of the server; `pg_dumpall` reads shared catalogs only. */
  readonly connection: Connection
  readonly recipients: Recipients
  readonly signingKey: SigningKey | null
  readonly binDirs: readonly string[]
}

/** Backs up the roles of one server: without them a restore on a new server has no owners and no grants. */
export async function runRolesBackup(
  request: RolesBackupRequest,
  parts: JobParts,
  signal: AbortSignal,
): Promise<Committed> {
  const { connection } = request
  const startedAt = parts.clock.now()
  assertRecipientsUsable(request.recipients, startedAt)
  const label = newLabel(parts)
  const folder = backupFolder({ kind: 'roles', server: connection.server, database: null, label })

  // 1. Which server this is, and its own pg_dumpall.
  await using held = await connect(connection, signal)
  const facts = await readServerFacts(held.client, connection)
  await assertDirect(connection, held.client, signal)
  const program = await findProgram('pg_dumpall', facts.major, request.binDirs, signal)
  const snapshotTime = parts.clock.now()

  try {
    // 2. Dump, encrypt and upload; managed servers deny the passwords, and the manifest then says so.
    const { stored, rolePasswords } = await storeRoles(request, program, folder, parts, signal)

    // 3. RECOVERY.md, signature, manifest: from here on the backup exists.
    const { version, major, systemIdentifier, isStandby } = facts
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
      omissions: rolePasswords === 'absent' ? [{ kind: 'role passwords', objects: 1 }] : [],
      rolePasswords,
    }
    const objects = { folder, startedAt, dumpObject: stored.object, evidenceObject: null, properties: null }
    return await commitBackup({ ...draft, ...objects }, request, parts, signal)
  } catch (error) {
    await removeUncommitted(folder, parts)
    throw error
  }
}

async function storeRoles(
  request: RolesBackupRequest,
  program: FoundProgram,
  folder: string,
  parts: JobParts,
  signal: AbortSignal,
): Promise<{ stored: StoredStream; rolePasswords: 'present' | 'absent' }> {
  const target = { folder, name: objectNames.roles, recipients: request.recipients, zstdLevel: null }
  try {
    const source = dumpRoles({ connection: request.connection, program, withPasswords: true }, signal)
    return { stored: await storeEncrypted(source, target, parts, signal), rolePasswords: 'present' }
  } catch (error) {
    const isDenied =
      error instanceof PgproofError && /permission denied for (?:table|relation) pg_authid/.test(error.details ?? '')
    if (!isDenied) throw error
    parts.log.warn(
      { server: request.connection.server },
      'pg_authid may not be read: roles are backed up without passwords',
    )
    const source = dumpRoles({ connection: request.connection, program, withPasswords: false }, signal)
    return { stored: await storeEncrypted(source, target, parts, signal), rolePasswords: 'absent' }
  }
}
