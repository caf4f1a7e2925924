import { PgproofError, reasonOf } from '../errors.ts'
import type { Client } from './connect.ts'
import { dropRoles } from './replay-roles.ts'
import { sqlStateOf } from './sql-state.ts'
import { quoteIdentifier } from './tables.ts'

/**
 * On a server that is kept for drills this role is a member of every role that a drill has created there, from the
 * transaction that created it on: what a killed drill left is found by it, and nothing that somebody else made is taken
 * for it. PostgreSQL ends a membership together with the role.
 */
export const scratchRolesHolder = 'pgproof_scratch_roles'
const mark = 'pgproof: member of the roles that a drill has created'

/**
 * Makes the holder, unless it is there. False where this login may create no roles, and so has none to be noted. Throws
 * SCRATCH_FAILED, also for a role of that name that carries another comment.
 */
export async function prepareScratchRoles(client: Client): Promise<boolean> {
  if (await hasHolder(client)) return true
  try {
    // Sent at once, these are one transaction: a holder without its mark would be nobody's.
    await client.query(`CREATE ROLE ${scratchRolesHolder}; COMMENT ON ROLE ${scratchRolesHolder} IS '${mark}'`)
    return true
  } catch (error) {
    // insufficient_privilege: then every role of the backups is expected to be there already.
    if (sqlStateOf(error) === '42501') return false
    throw new PgproofError('SCRATCH_FAILED', { reason: reasonOf(error) }, { cause: error })
  }
}

/** Within the transaction that creates the role. Throws SCRATCH_FAILED: whatever is wrong, the backup is not to blame. */
export async function noteScratchRole(client: Client, role: string): Promise<void> {
  try {
    await client.query(`GRANT ${quoteIdentifier(role)} TO ${scratchRolesHolder}`)
  } catch (error) {
    throw new PgproofError('SCRATCH_FAILED', { reason: reasonOf(error) }, { cause: error })
  }
}

/**
 * Drops every role that a drill has created, and the holder once none is left. One that owns something by now, here or in
 * another database, is somebody's and is left alone.
 */
export async function dropScratchRoles(
  client: Client,
): Promise<{ readonly dropped: readonly string[]; readonly stuck: readonly string[] }> {
  if (!(await hasHolder(client))) return { dropped: [], stuck: [] }
  const { rows } = await client.query<{ name: string }>(
    `SELECT DISTINCT g.oid, g.rolname AS name
       FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
      WHERE m.member = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1) ORDER BY g.oid`,
    [scratchRolesHolder],
  )
  const roles = rows.map(({ name }) => name)
  const stuck = await dropRoles(client, roles)
  if (stuck.length === 0) await dropRoles(client, [scratchRolesHolder])
  return { dropped: roles.filter((role) => !stuck.includes(role)), stuck }
}

async function hasHolder(client: Client): Promise<boolean> {
  const { rowCount } = await client.query(
    `SELECT FROM pg_catalog.pg_roles WHERE rolname = $1 AND pg_catalog.shobj_description(oid, 'pg_authid') = $2`,
    [scratchRolesHolder, mark],
  )
  return rowCount === 1
}
