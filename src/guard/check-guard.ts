import { readRecipients } from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import { type Installation, readBackupKeys, readDrillKeys } from '../jobs/installation.ts'
import { type Connection, connect } from '../postgres/connect.ts'
import { readDatabaseSize, readServerFacts } from '../postgres/facts.ts'
import { findProgram } from '../postgres/programs.ts'
import { assertMayRename } from '../postgres/put-in-place.ts'
import { inspectTarget, type TargetServer } from '../postgres/target-database.ts'
import { openSpool } from '../streams/spool.ts'
import { listPrepared } from './watch-sessions.ts'

export type GuardedDatabase = {
  /** As the backup reaches it. */
  readonly source: Connection
  /** The same database by the login that restores. */
  readonly target: Connection
}

/**
 * Whether the backup that is about to be taken could be restored in the database's place afterwards: nobody wants to
 * learn that when a migration has failed. Throws errors of keys, connections, programs and spool, and GUARD_IMPOSSIBLE.
 */
export async function assertRestorable(
  { source, target }: GuardedDatabase,
  installation: Installation,
  signal: AbortSignal,
): Promise<TargetServer> {
  const { config, catalog } = installation
  await assertKeys(installation)
  const { server, existing } = await inspectTarget(target, signal)
  if (existing === null)
    throw new PgproofError('DATABASE_UNKNOWN', { server: server.address, database: target.database })
  if (!server.isSuperuser && !server.canCreateDatabase)
    throw impossible(`${server.role} may not create databases`, `ALTER ROLE … CREATEDB, or ${otherLogin}`)
  await assertMayRename(server, existing, signal)
  await assertWatchable(server, target.database, signal)
  const databaseBytes = await assertSameServer(source, server, signal)
  await findProgram('pg_restore', server.major, config.postgres.binDirs, signal)
  const before = catalog.newest(source.server, source.database)
  const neededBytes = before === undefined ? databaseBytes : before.manifest.dump.bytes + before.storedBytes
  const spool = await openSpool(config.drill.spool, neededBytes)
  await spool[Symbol.asyncDispose]()
  return server
}

const otherLogin = 'give a login that may by --to.'

function impossible(reason: string, mend: string): PgproofError {
  return new PgproofError('GUARD_IMPOSSIBLE', { reason, mend })
}

/** That what is encrypted now can be opened here, and that its signature will be taken. */
async function assertKeys(installation: Installation): Promise<void> {
  const { config, clock } = installation
  const { keys, trustedSigners } = await readDrillKeys(installation, 'a restore')
  const recipients = await readRecipients(config.encryption.recipients, clock.now())
  if (!keys.fingerprints.some((fingerprint) => recipients.fingerprints.includes(fingerprint)))
    throw new PgproofError('KEY_NO_MATCH', {
      what: 'the backup that would be taken now',
      recipients: recipients.fingerprints.join(', '),
    })
  if (trustedSigners === null) return
  const { signingKey } = await readBackupKeys(installation)
  if (signingKey === null || !trustedSigners.fingerprints.includes(signingKey.fingerprint))
    throw new PgproofError('KEY_NEEDED', {
      what: 'a restore, as `encryption.trustedSigners` demands signatures,',
      key: 'a key of those as `encryption.signingKeyFile`',
    })
}

/** That what others do can be seen, and that nothing of theirs hangs in the air already. */
async function assertWatchable({ admin, role }: TargetServer, database: string, signal: AbortSignal): Promise<void> {
  await using held = await connect(admin, signal, 'pgproof guard')
  const { rows } = await held.client.query<{ sees: boolean }>(
    "SELECT pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees",
  )
  if (rows[0]?.sees !== true)
    throw impossible(
      `${role} may not see what other sessions do`,
      `GRANT pg_read_all_stats TO ${role}, or ${otherLogin}`,
    )
  const [prepared] = await listPrepared(held.client, database)
  if (prepared !== undefined)
    throw impossible(
      `a prepared transaction waits in ${database} (${prepared})`,
      'COMMIT PREPARED or ROLLBACK PREPARED it first.',
    )
}

/** Returns the size of the database. */
async function assertSameServer(source: Connection, target: TargetServer, signal: AbortSignal): Promise<number> {
  await using held = await connect(source, signal, 'pgproof guard')
  const { systemIdentifier } = await readServerFacts(held.client, source)
  if (target.systemIdentifier !== null && target.systemIdentifier !== systemIdentifier)
    throw impossible(
      `${target.address} is not the server that is backed up`,
      'Give a login of the same server by --to.',
    )
  const { rowCount } = await held.client.query("SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'pg_cron'")
  if (rowCount !== 0)
    throw impossible(
      'pg_cron works in this database, and cannot be restored under another name first',
      'Leave out --restore-on-failure, and restore by hand if you must.',
    )
  return await readDatabaseSize(held.client)
}
