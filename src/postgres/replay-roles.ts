import { PgproofError, reasonOf } from '../errors.ts'
import type { Client } from './connect.ts'
import { quoteIdentifier } from './tables.ts'

export type ReplayedRoles = {
  /** Roles that did not exist before. */
  readonly created: readonly string[]
  /** Roles that existed and were left exactly as they were. */
  readonly kept: readonly string[]
  /** Memberships and rights on parameters whose recorded grantor could not be used. */
  readonly grantorChanged: number
}

/**
 * Replays a `pg_dumpall --roles-only` script. Roles that exist are never altered. The script is taken apart here and
 * sent statement by statement, not given to psql: psql runs backslash commands that a hostile source can plant in it
 * (CVE-2025-8714, CVE-2026-18408). Only the kinds of statement that pg_dumpall writes are let through, and each goes by
 * the extended protocol, which takes no second statement, however a first one was made to hide it.
 *
 * `onCreated` hears of each new role at once, so that a replay that breaks off can be undone.
 *
 * Throws ROLES_FAILED, with the statement (its password masked) in the details; SCRATCH_FAILED where this login may not.
 */
export async function replayRoles(
  client: Client,
  script: string,
  signal: AbortSignal,
  onCreated?: (role: string) => void,
): Promise<ReplayedRoles> {
  const { rows } = await client.query<{ name: string }>('SELECT rolname AS name FROM pg_catalog.pg_roles')
  const existing = new Set(rows.map(({ name }) => name))
  const created: string[] = []
  const kept = new Set<string>()
  let grantorChanged = 0
  let actsAsAnother = false
  for (const statement of splitStatements(script)) {
    signal.throwIfAborted()
    const parsed = parseRoleStatement(statement)
    if (parsed === undefined) throw rolesError(statement, 'not a statement that pg_dumpall writes')
    if (parsed.kind === 'grantor') actsAsAnother = parsed.role !== ''
    if (parsed.kind === 'set' || parsed.kind === 'grantor') continue
    if (existing.has(parsed.role)) {
      kept.add(parsed.role)
      continue
    }
    try {
      await runOne(client, statement)
      if (actsAsAnother) grantorChanged += 1
      if (parsed.kind === 'create') {
        created.push(parsed.role)
        onCreated?.(parsed.role)
      }
    } catch (error) {
      // Since PostgreSQL 16 a grantor needs the admin option itself; the membership matters, not who recorded it.
      const withoutGrantor = statement.replace(/ GRANTED BY (?:"(?:[^"]|"")+"|[^\s"]+)$/, '')
      if (parsed.kind !== 'grant' || withoutGrantor === statement) throw rolesFailure(statement, error)
      await runOne(client, withoutGrantor).catch((again: unknown) => {
        throw rolesFailure(statement, again)
      })
      grantorChanged += 1
    }
  }
  return { created, kept: [...kept].sort(), grantorChanged }
}

/**
 * Drops roles that a replay created, with the rights that they were given, once nothing else depends on them any more;
 * returns those that would not go. One may keep another from going, so it goes on while any goes.
 */
export async function dropRoles(client: Client, roles: readonly string[]): Promise<string[]> {
  let left = [...roles].reverse()
  for (;;) {
    const stuck: string[] = []
    for (const role of left) {
      const name = quoteIdentifier(role)
      await client.query(`DROP OWNED BY ${name}`).catch(() => {})
      await client.query(`DROP ROLE IF EXISTS ${name}`).catch(() => stuck.push(role))
    }
    if (stuck.length === 0 || stuck.length === left.length) return stuck
    left = stuck
  }
}

/** Statements of a plain script without their semicolon; comments and psql's backslash lines are left out. */
export function splitStatements(script: string): string[] {
  const token =
    /--[^\n]*|^\\[^\n]*|[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|;|[^'"\-;\\eE]+|[\s\S]/gm
  const statements: string[] = []
  let current = ''
  for (const [piece] of script.matchAll(token)) {
    if (piece === ';') {
      statements.push(current.trim())
      current = ''
    } else if (!piece.startsWith('--') && !(piece.startsWith('\\') && current.trim() === '')) current += piece
  }
  if (current.trim() !== '') statements.push(current.trim())
  return statements.filter((statement) => statement !== '')
}

async function runOne(client: Client, statement: string): Promise<void> {
  const query = { text: statement, queryMode: 'extended' }
  await client.query(query)
}

type RoleStatement = { readonly kind: 'create' | 'alter' | 'grant' | 'grantor' | 'set'; readonly role: string }

/** As `fmtId` writes names: everything but plain lower case is quoted, so nothing is folded to another name. */
const identifier = '("(?:[^"]|"")+"|[a-z_][a-z0-9_]*)'
const privileges = '(?:ALL|SET|ALTER SYSTEM|SET, ?ALTER SYSTEM)'
const forms: readonly (readonly [RegExp, RoleStatement['kind'], number])[] = [
  [new RegExp(`^CREATE ROLE ${identifier}$`), 'create', 1],
  [new RegExp(`^ALTER ROLE ${identifier} (?:WITH|SET|IN DATABASE)\\s`), 'alter', 1],
  [new RegExp(`^COMMENT ON ROLE ${identifier} IS\\s`), 'alter', 1],
  [new RegExp(`^SECURITY LABEL FOR ${identifier} ON ROLE ${identifier} IS\\s`), 'alter', 2],
  // The member is the one that is changed; there is one only.
  [new RegExp(`^GRANT ${identifier} TO ${identifier}(?: WITH [A-Z ,]+)?(?: GRANTED BY ${identifier})?$`), 'grant', 2],
  [new RegExp(`^GRANT ${privileges} ON PARAMETER ${identifier} TO ${identifier}(?: WITH GRANT OPTION)?$`), 'alter', 2],
  // Who gave a right on a parameter; it is given by whoever replays.
  [new RegExp(`^SET SESSION AUTHORIZATION ${identifier}$`), 'grantor', 1],
]

/** What a replay leaves out: settings of the session, and rights that are everybody's or were there before. */
const ignored = [
  /^SET [a-z_]+ (?:=|TO) /,
  /^SELECT pg_catalog\.set_config\('search_path', '', false\)$/,
  new RegExp(`^GRANT ${privileges} ON PARAMETER ${identifier} TO PUBLIC(?: WITH GRANT OPTION)?$`),
  new RegExp(`^REVOKE (?:GRANT OPTION FOR )?${privileges} ON PARAMETER ${identifier} FROM (?:PUBLIC|${identifier})$`),
]

/** Without quotes these are no names: they would change whoever replays, or every role. */
const notNames = new Set(['all', 'current_role', 'current_user', 'none', 'public', 'session_user', 'user'])

function parseRoleStatement(statement: string): RoleStatement | undefined {
  if (statement === 'RESET SESSION AUTHORIZATION') return { kind: 'grantor', role: '' }
  if (ignored.some((form) => form.test(statement))) return { kind: 'set', role: '' }
  for (const [form, kind, group] of forms) {
    const name = form.exec(statement)?.[group]
    if (name !== undefined) return notNames.has(name) ? undefined : { kind, role: unquote(name) }
  }
  return undefined
}

function unquote(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name
}

function rolesFailure(statement: string, error: unknown): PgproofError {
  const { code } = error as { code?: string }
  if (code === '42501') return new PgproofError('SCRATCH_FAILED', { reason: reasonOf(error) }, { cause: error })
  return rolesError(statement, reasonOf(error), error)
}

function rolesError(statement: string, reason: string, cause?: unknown): PgproofError {
  // A string that is cut short or escaped is masked to its end, too.
  const masked = statement.replaceAll(/(PASSWORD\s+)[eE]?'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)/gi, "$1'…'")
  return new PgproofError('ROLES_FAILED', { reason }, { cause, details: masked.slice(0, 500) })
}
