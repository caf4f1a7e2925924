import type { Manifest } from '../domain/manifest.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { type Client, connect } from '../postgres/connect.ts'
import { dropRoles, replayRoles } from '../postgres/replay-roles.ts'
import { rethrowUnlessSqlState, sqlStateOf } from '../postgres/sql-state.ts'
import { listUnfinished } from '../postgres/staging-database.ts'
import { quoteIdentifier } from '../postgres/tables.ts'
import type { TargetServer } from '../postgres/target-database.ts'
import { checkSignature, readManifest, readRolesEvidence } from '../stored/read-backup.ts'
import { chooseRolesBackup, readRolesScript } from '../stored/read-roles.ts'
import type { RestoreParts, RestoreRequest } from './restore-request.ts'

/** What of a roles backup was brought; the scope's end drops the roles that it created, unless they are kept or another restore goes on. */
export type BroughtRoles = AsyncDisposable & {
  readonly label: string
  readonly created: readonly string[]
  /** Those that were there before, and were left as they are. */
  readonly kept: readonly string[]
  readonly notes: readonly string[]
  keep(): void
}

/**
 * Creates the roles that a server lacks, as the roles backup of that time has them, passwords included where it has
 * them. Roles that exist are neither altered nor dropped; a login that is no superuser becomes a member of those created
 * ones that `given` names, to whom it is to give something. Throws NO_BACKUP without a roles backup, ROLES_FAILED,
 * SCRATCH_FAILED, or TARGET_LACKS where this login may not.
 */
export async function bringMissingRoles(
  manifest: Manifest,
  server: TargetServer,
  request: Pick<RestoreRequest, 'keys' | 'trustedSigners'>,
  given: ReadonlySet<string>,
  { catalog, store, log }: RestoreParts,
  signal: AbortSignal,
): Promise<BroughtRoles> {
  const chosen = chooseRolesBackup(manifest, catalog)
  if (chosen === undefined)
    throw new PgproofError('NO_BACKUP', { what: `the roles of ${manifest.server} (\`pgproof backup --roles\`)` })
  const read = await readManifest(chosen, store, signal)
  await checkSignature(read, request.trustedSigners, store, signal)
  // It says what its manifest must say.
  await readRolesEvidence(read, request.keys, store, signal)
  const script = await readRolesScript(read, request.keys, store, signal)

  const created: string[] = []
  const state = { isKept: false }
  const undo = async (): Promise<void> => {
    if (state.isKept || created.length === 0) return
    const never = new AbortController().signal
    // Another restore may have found them there, and be about to use them.
    if ((await listUnfinished(server, null, never)).some(({ isBusy }) => isBusy)) {
      log.warn({ roles: created }, 'roles that the restore had created are left, since another restore goes on')
      return
    }
    await using admin = await connect(server.admin, never, 'pgproof restore')
    const stuck = await dropRoles(admin.client, created)
    if (stuck.length > 0) log.warn({ roles: stuck }, 'roles that the restore had created could not be dropped again')
  }
  try {
    await using admin = await connect(server.admin, signal, 'pgproof restore')
    const replayed = await replayRoles(admin.client, script, signal, (role) => created.push(role))
    const joined = server.isSuperuser
      ? []
      : await joinRoles(
          admin.client,
          server,
          created.filter((role) => given.has(role)),
        )
    const passwords =
      read.manifest.rolePasswords === 'absent' && created.length > 0
        ? [`the roles backup holds no passwords: ${created.join(', ')} cannot log in by one until it is set`]
        : []
    return {
      label: read.manifest.label,
      created,
      kept: replayed.kept,
      notes: [
        ...passwords,
        ...(joined.length > 0
          ? [`${server.role} was made a member of ${joined.join(', ')}, to give it what is its own`]
          : []),
        ...replayed.refusedSettings.map(
          ({ role, reason }) => `a setting of role ${role} is not possible here: ${reason}`,
        ),
        ...replayed.lacking.map(({ role, error }) => `role ${role}: ${error.message}`),
      ],
      keep: () => {
        state.isKept = true
      },
      [Symbol.asyncDispose]: undo,
    }
  } catch (error) {
    await undo()
    if (!(error instanceof PgproofError && sqlStateOf(error) === '42501')) throw error
    throw new PgproofError(
      'TARGET_LACKS',
      {
        what: `the right of this login to run a statement of the roles backup (${reasonOf(error.cause)})`,
        mend: 'Restore as a superuser, or create the role that it names yourself: one that exists is left as it is. With CREATEROLE a login creates roles without SUPERUSER, REPLICATION and BYPASSRLS.',
      },
      { cause: error, details: error.details },
    )
  }
}

/** Whoever creates a role may still not give it anything: from PostgreSQL 16 on the membership is for its administration only. */
async function joinRoles(client: Client, server: TargetServer, roles: readonly string[]): Promise<string[]> {
  const joined: string[] = []
  const options = server.major >= 16 ? ' WITH SET TRUE, INHERIT TRUE' : ''
  for (const role of roles)
    try {
      await client.query(`GRANT ${quoteIdentifier(role)} TO ${quoteIdentifier(server.role)}${options}`)
      joined.push(role)
    } catch (error) {
      // That role is a member of the login: what this one lacks then is said with the other checks.
      rethrowUnlessSqlState(error, '0LP01')
    }
  return joined
}
