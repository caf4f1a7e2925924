import { readFile, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Evidence } from '../domain/evidence.ts'
import type { Manifest } from '../domain/manifest.ts'
import { PgproofError } from '../errors.ts'
import { connect, isQueryFailure } from '../postgres/connect.ts'
import { assertMayRename } from '../postgres/put-in-place.ts'
import { asTargetFailed } from '../postgres/staging-database.ts'
import { quoteIdentifier } from '../postgres/tables.ts'
import { type ExistingDatabase, preparedText, sessionsText, type TargetServer } from '../postgres/target-database.ts'
import { namedRoles } from './named-roles.ts'
import type { RestoreRequest } from './restore-request.ts'

export type Target = { readonly server: TargetServer; readonly existing: ExistingDatabase | null }

/**
 * Whether the restore may go there, before anything is made or fetched. Throws TARGET_… errors; in each case nothing
 * was changed.
 */
export async function assertTarget(
  { server, existing }: Target,
  { target, mode }: Pick<RestoreRequest, 'target' | 'mode'>,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const { database } = target
  if (server.major < manifest.source.major)
    throw new PgproofError('TARGET_TOO_OLD', { source: manifest.source.major, target: server.version })
  if (existing === null) {
    if (mode === 'empty') throw new PgproofError('TARGET_UNKNOWN', { database, server: server.address })
  } else {
    if (mode === 'create') throw new PgproofError('TARGET_EXISTS', { database, server: server.address })
    if (mode === 'empty' && existing.contents.length > 0) {
      const contents = existing.contents.join(', ')
      throw new PgproofError('TARGET_NOT_EMPTY', { database, server: server.address, contents })
    }
    await assertMayRename(server, existing, signal)
  }
  await assertDisk(server, manifest.source.databaseBytes ?? 0, signal)
}

/**
 * Whether the database that is there can be renamed in the end: what would keep it from that shall not show after hours.
 * Throws TARGET_IN_USE.
 */
export function assertUnused({ existing }: Target, { disconnect }: Pick<RestoreRequest, 'disconnect'>): void {
  if (existing === null) return
  const { name: database, prepared, sessions } = existing
  if (prepared.length > 0) {
    // Which of both is right only their owner knows, so these are no statements to be pasted.
    const lines = prepared.map((name) => `either COMMIT PREPARED ${name} or ROLLBACK PREPARED ${name}`)
    const details = lines.join('\n')
    throw new PgproofError('TARGET_IN_USE', { database, sessions: preparedText(prepared) }, { details })
  }
  if (!disconnect && sessions.length > 0)
    throw new PgproofError('TARGET_IN_USE', { database, sessions: sessionsText(sessions) })
}

/**
 * Whether every role is there that the restore names, as an owner, for a grant, or in a policy or a user mapping, and
 * whether this login may give them what is theirs: else a restore fails at its very end. So it does where the login is
 * no superuser and only a superuser may create what is in the backup. Throws TARGET_ROLES_MISSING or TARGET_LACKS.
 */
export async function assertRoles(
  server: TargetServer,
  evidence: Evidence,
  wants: Pick<RestoreRequest, 'owners' | 'privileges'>,
  signal: AbortSignal,
): Promise<void> {
  if (!server.isSuperuser) assertNoSuperuserParts(evidence.structure)
  const { owners, grantors, definitions, all } = namedRoles(evidence, wants)
  await using held = await connect(server.admin, signal, 'pgproof restore')
  // To give a role something takes the right to become it; to go on with what it was given, and from PostgreSQL 16 on
  // to set its default privileges, takes its own rights.
  const { rows } = await held.client.query<RoleRow>(
    `SELECT n.name, pg_catalog.quote_ident(n.name) AS quoted, r.oid IS NOT NULL AS exists,
            COALESCE(pg_catalog.pg_has_role(current_user, r.oid, $2), false) AS "canBecome",
            COALESCE(pg_catalog.pg_has_role(current_user, r.oid, 'USAGE'), false) AS "hasRights"
       FROM pg_catalog.unnest($1::text[]) n(name) LEFT JOIN pg_catalog.pg_roles r ON r.rolname = n.name
      ORDER BY pg_catalog.quote_ident(n.name) COLLATE "C"`,
    [[...all], server.major >= 16 ? 'SET' : 'MEMBER'],
  )
  const missing = rows.filter(({ exists }) => !exists)
  if (missing.length > 0) {
    const count = missing.length === 1 ? 'a role' : `${missing.length} roles`
    const values = { count, roles: missing.map(({ quoted }) => quoted).join(', ') }
    const details = missing.flatMap(({ name, quoted }) => {
      const [first, ...more] = definitions.get(name) ?? []
      return first === undefined ? [] : [`${quoted}: ${first}${more.length > 0 ? ` and ${more.length} more` : ''}`]
    })
    throw new PgproofError('TARGET_ROLES_MISSING', values, details.length > 0 ? { details: details.join('\n') } : {})
  }
  const foreign = rows.filter(
    ({ name, canBecome, hasRights }) =>
      (owners.has(name) && !(canBecome && hasRights)) ||
      (grantors.has(name) && !(server.major >= 16 ? hasRights : canBecome)),
  )
  if (foreign.length > 0)
    throw new PgproofError('TARGET_LACKS', {
      what: `membership of ${server.role} in ${foreign.map(({ quoted }) => quoted).join(', ')}, to whom objects or default privileges of the backup belong`,
      mend: `Restore as a superuser, or ${membershipStatement(server, foreign)}, or leave that out with --no-owner --no-privileges.`,
    })
}

/** What `canBecome` and `hasRights` say is of the server's login. */
type RoleRow = {
  readonly name: string
  readonly quoted: string
  readonly exists: boolean
  readonly canBecome: boolean
  readonly hasRights: boolean
}

/** Before PostgreSQL 16 it is the member who inherits or not; from then on each membership, which has SET apart. */
function membershipStatement({ major, role }: TargetServer, foreign: readonly RoleRow[]): string {
  const login = quoteIdentifier(role)
  const names = (roles: readonly RoleRow[]): string => roles.map(({ quoted }) => quoted).join(', ')
  if (major >= 16) return `GRANT ${names(foreign)} TO ${login} WITH SET TRUE, INHERIT TRUE`
  const others = foreign.filter(({ canBecome }) => !canBecome)
  return others.length > 0 ? `GRANT ${names(others)} TO ${login}` : `ALTER ROLE ${login} INHERIT`
}

function assertNoSuperuserParts(structure: Evidence['structure']): void {
  const found = structure.filter(
    ({ kind, facets }) => kind === 'event trigger' || (kind === 'publication' && facets['all tables'] === 'true'),
  )
  if (found.length === 0) return
  const names = found.map(({ kind, name }) => `${kind} ${name}`).join(', ')
  throw new PgproofError('TARGET_LACKS', {
    what: `the right of this login to create what only a superuser may: ${names}`,
    mend: 'Restore as a superuser.',
  })
}

/** What a shared part of drill and restore says of a scratch server, said of the target. */
export function asTargetError(error: PgproofError): PgproofError {
  // Whichever query it was: that the server failed, or went away, is no fault in pgproof.
  if (error.code === 'INTERNAL' && isQueryFailure(error.cause)) return asTargetFailed(error.cause)
  const more = { cause: error, details: error.details }
  const lacks = /^the (?:scratch server|server that is restored into) lacks (.*)$/s.exec(error.message)?.[1]
  if (lacks !== undefined) return new PgproofError('TARGET_LACKS', { what: lacks, mend: error.hint }, more)
  if (error.code === 'ROLES_MISSING') {
    const role = error.message.replace(/^[^:]*: /, '')
    return new PgproofError('TARGET_ROLES_MISSING', { count: 'a role', roles: role }, more)
  }
  if (error.code === 'LIBRARY_NOT_LOADED' || error.code === 'SCRATCH_FAILED') {
    const reason = error.message
      .replace(/^the scratch server could not be used: /, '')
      .replace('the scratch server', 'it')
    return new PgproofError('TARGET_FAILED', { reason }, more)
  }
  if (error.code === 'SPOOL_FULL' && error.message.includes('of the scratch server'))
    return new PgproofError('TARGET_FULL', { reason: 'no space left on device' }, more)
  return error
}

/**
 * Where the target's data directory is on this very machine, its free space is known. Anywhere else PostgreSQL tells
 * nobody. Throws TARGET_FULL.
 */
async function assertDisk(server: TargetServer, databaseBytes: number, signal: AbortSignal): Promise<void> {
  await using held = await connect(server.admin, signal, 'pgproof restore')
  const { rows } = await held.client
    .query<{ folder: string; port: string; started: string }>(
      `SELECT pg_catalog.current_setting('data_directory') AS folder, pg_catalog.current_setting('port') AS port,
              pg_catalog.trunc(extract(epoch FROM pg_catalog.pg_postmaster_start_time()))::text AS started`,
    )
    .catch(() => ({ rows: [] }))
  const [row] = rows
  if (row === undefined) return
  const file = await readFile(join(row.folder, 'postmaster.pid'), 'utf8').catch(() => '')
  const [, folder, started, port] = file.split('\n')
  // Another server's folder may have the same name on this machine.
  if (folder !== row.folder || port !== row.port || Math.abs(Number(started) - Number(row.started)) > 5) return
  const { bavail, bsize } = await statfs(row.folder)
  const free = bavail * bsize
  if (free >= databaseBytes) return
  const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`
  const reason = `the database took ${mebibytes(databaseBytes)} at the source, ${mebibytes(free)} are free in ${row.folder}`
  throw new PgproofError('TARGET_FULL', { reason })
}
