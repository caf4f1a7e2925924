import { PgproofError, reasonOf } from '../errors.ts'
import type { Client } from './connect.ts'
import { isServersFault } from './restore-errors.ts'
import { sqlStateOf } from './sql-state.ts'
import { quoteIdentifier } from './tables.ts'

export type ReplayedRoles = {
  /** Every role of the server before the replay. */
  readonly existing: ReadonlySet<string>
  /** Roles that did not exist before. */
  readonly created: readonly string[]
  /** Roles that existed and were left exactly as they were. */
  readonly kept: readonly string[]
  /** The password verifiers that the script has for roles that existed; null for one without a password. */
  readonly keptPasswords: ReadonlyMap<string, string | null>
  /** Memberships and rights on parameters whose recorded grantor could not be used. */
  readonly grantorChanged: number
  /** Settings of roles (`ALTER ROLE … SET`) whose value this server does not know, such as a locale: what it said. */
  readonly refusedSettings: readonly { readonly role: string; readonly reason: string }[]
  /** Statements that name a role which the script does not create and this server does not have; by whom they change. */
  readonly lacking: readonly { readonly role: string; readonly error: PgproofError }[]
}

/**
 * Replays a `pg_dumpall --roles-only` script. Roles that exist are never altered. The script is taken apart here and
 * sent statement by statement, not given to psql: psql runs backslash commands that a hostile source can plant in it
 * (CVE-2025-8714, CVE-2026-18408). Only the kinds of statement that pg_dumpall writes are let through, and each goes by
 * the extended protocol, which takes no second statement, however a first one was made to hide it.
 *
 * `onCreated` hears of each new role in the transaction that creates it, so that a replay that breaks off can be undone,
 * and what is written there about the role is there exactly if the role is. What it throws of the register ends the replay.
 *
 * Throws ROLES_FAILED, with the statement (its password masked) in the details; SCRATCH_FAILED where this login may not, or the server fails.
 * What lacks a role is returned instead: it may have been created while pg_dumpall was reading, which the caller knows.
 */
export async function replayRoles(
  client: Client,
  script: string,
  signal: AbortSignal,
  onCreated: (role: string) => unknown = () => {},
): Promise<ReplayedRoles> {
  const { rows } = await client.query<{ name: string; isSuperuser: boolean }>(
    'SELECT rolname AS name, rolsuper AND rolname = current_user AS "isSuperuser" FROM pg_catalog.pg_roles',
  )
  const isSuperuser = rows.some((row) => row.isSuperuser)
  const existing = new Set(rows.map(({ name }) => name))
  const created: string[] = []
  const kept = new Set<string>()
  let grantorChanged = 0
  const refusedSettings: { role: string; reason: string }[] = []
  const lacking: { role: string; error: PgproofError }[] = []
  const keptPasswords = new Map<string, string | null>()
  const described = new Set<string>()
  let actsAsAnother = false
  for (const statement of splitStatements(script, refuseCommand)) {
    signal.throwIfAborted()
    const parsed = parseRoleStatement(statement)
    if (parsed === undefined) throw rolesError(statement, 'not a statement that pg_dumpall writes')
    if (parsed.kind === 'grantor') actsAsAnother = parsed.role !== ''
    if (parsed.kind === 'set' || parsed.kind === 'grantor') continue
    const isDescription = parsed.kind === 'alter' && /^ALTER ROLE (?:"(?:[^"]|"")+"|\S+) WITH\s/.test(statement)
    // pg_dumpall describes each role once; a second time would undo the first.
    if (isDescription && described.has(parsed.role)) throw rolesError(statement, 'it alters the role a second time')
    if (isDescription) described.add(parsed.role)
    if (existing.has(parsed.role)) {
      kept.add(parsed.role)
      if (isDescription) keptPasswords.set(parsed.role, passwordIn(statement))
      continue
    }
    try {
      if (parsed.kind === 'create') {
        await createOne(client, statement, () => onCreated(parsed.role))
        created.push(parsed.role)
      } else await runOne(client, isDescription && !isSuperuser ? withoutDefaults(statement) : statement)
      if (actsAsAnother) grantorChanged += 1
    } catch (error) {
      if (error instanceof PgproofError) throw error
      if (parsed.kind === 'alter' && isUnknownValue(error)) {
        refusedSettings.push({ role: parsed.role, reason: withoutValue(reasonOf(error)) })
        continue
      }
      // Since PostgreSQL 16 a grantor needs the admin option itself; the membership matters, not who recorded it.
      const withoutGrantor = statement.replace(/ GRANTED BY (?:"(?:[^"]|"")+"|[^\s"]+)$/, '')
      const isRepeatable = parsed.kind === 'grant' && withoutGrantor !== statement
      const failed: unknown = isRepeatable ? await failureOf(runOne(client, withoutGrantor)) : error
      if (failed === null) grantorChanged += 1
      else if (isRoleLacking(failed)) lacking.push({ role: parsed.role, error: rolesFailure(statement, failed) })
      else throw rolesFailure(statement, failed)
    }
  }
  return { existing, created, kept: [...kept].sort(), keptPasswords, grantorChanged, refusedSettings, lacking }
}

/**
 * Drops roles that a replay created, with the rights that they were given, once nothing else depends on them any more;
 * returns those that would not go, which are as they were. One that owns something by now, here or in another database, is
 * somebody's. One may keep another from going, so it goes on while any goes.
 */
export async function dropRoles(client: Client, roles: readonly string[]): Promise<string[]> {
  let left = [...roles].reverse()
  for (;;) {
    const stuck: string[] = []
    for (const role of left) if (!(await dropOne(client, role))) stuck.push(role)
    if (stuck.length === 0 || stuck.length === left.length) return stuck
    left = stuck
  }
}

/**
 * Whether it is gone. DROP OWNED takes rights on databases and parameters, too, so it holds only together with the DROP ROLE:
 * a role that another database needs must not lose the right to connect there.
 */
async function dropOne(client: Client, role: string): Promise<boolean> {
  const name = quoteIdentifier(role)
  try {
    await client.query('BEGIN')
    const owned = await client.query(
      `SELECT FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
        WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype = 'o' AND r.rolname = $1 LIMIT 1`,
      [role],
    )
    if (owned.rowCount !== 0) throw new Error('it owns something')
    // Not every login that may drop a role may do this; it is needed only where the role has rights.
    await client.query('SAVEPOINT with_rights')
    await client.query(`DROP OWNED BY ${name}`).catch(() => client.query('ROLLBACK TO SAVEPOINT with_rights'))
    await client.query(`DROP ROLE IF EXISTS ${name}`)
    await client.query('COMMIT')
    return true
  } catch {
    await client.query('ROLLBACK').catch(() => {})
    return false
  }
}

/** pg_dumpall writes two commands of psql, which keep it from running any other. */
function refuseCommand(line: string): void {
  if (!/^\\(?:un)?restrict [A-Za-z0-9]+\s*$/.test(line))
    throw rolesError(line, 'not a backslash command that pg_dumpall writes')
}

function passwordIn(statement: string): string | null {
  return / PASSWORD '((?:[^']|'')*)'/.exec(statement)?.[1]?.replaceAll("''", "'") ?? null
}

/**
 * Statements of a plain script without their semicolon. Comments are left out, and psql's backslash lines are handed to
 * `onCommand`, which may refuse them.
 */
export function splitStatements(script: string, onCommand: (line: string) => void = () => {}): string[] {
  const token =
    /--[^\n]*|^\\[^\n]*|[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|;|[^'"\-;\\eE]+|[\s\S]/gm
  const statements: string[] = []
  let current = ''
  for (const [piece] of script.matchAll(token)) {
    if (piece === ';') {
      statements.push(current.trim())
      current = ''
    } else if (piece.startsWith('\\') && piece.length > 1 && current.trim() === '') onCommand(piece)
    else if (!piece.startsWith('--')) current += piece
  }
  if (current.trim() !== '') statements.push(current.trim())
  return statements.filter((statement) => statement !== '')
}

async function runOne(client: Client, statement: string): Promise<void> {
  const query = { text: statement, queryMode: 'extended' }
  await client.query(query)
}

async function createOne(client: Client, statement: string, onCreated: () => unknown): Promise<void> {
  await client.query('BEGIN')
  try {
    await runOne(client, statement)
    await onCreated()
    await client.query('COMMIT')
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {})
    throw error
  }
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

/** 22023 is what PostgreSQL says of a value that a parameter cannot take here, 42704 of a parameter of a library. */
function isUnknownValue(error: unknown): boolean {
  const { code } = error as { code?: string }
  return code === '22023' || (code === '42704' && /configuration parameter/.test(reasonOf(error)))
}

/** The value may be a secret, and may have several lines. */
function withoutValue(reason: string): string {
  return reason.replace(/(invalid value for parameter "[^"]*"): [\s\S]*/, '$1')
}

/**
 * A role that was just created has none of the three, and PostgreSQL lets only those who have one say so. Whoever does
 * not may still replay it; a role that is to have one is refused.
 */
function withoutDefaults(statement: string): string {
  const attributes = new RegExp(`^(ALTER ROLE ${identifier} WITH)((?: [A-Z]+)+)`)
  return statement.replace(
    attributes,
    (_, head: string, _role: string, words: string) =>
      head + words.replaceAll(/ NO(?:SUPERUSER|REPLICATION|BYPASSRLS)(?![A-Z])/g, ''),
  )
}

async function failureOf(work: Promise<void>): Promise<unknown> {
  return await work.then(
    () => null,
    (error: unknown) => error,
  )
}

function isRoleLacking(error: unknown): boolean {
  return sqlStateOf(error) === '42704' && /^role ".+" does not exist$/s.test(reasonOf(error))
}

function rolesFailure(statement: string, error: unknown): PgproofError {
  if (!isServersFault(error)) return rolesError(statement, reasonOf(error), error)
  // It may not have been the statement's fault; the value of a setting may be a secret.
  const details = withoutPassword(statement).replace(/( SET \S+ TO )[\s\S]*/, '$1…')
  return new PgproofError('SCRATCH_FAILED', { reason: reasonOf(error) }, { cause: error, details })
}

function rolesError(statement: string, reason: string, cause?: unknown): PgproofError {
  return new PgproofError('ROLES_FAILED', { reason }, { cause, details: withoutPassword(statement) })
}

/** A string that is cut short or escaped is masked to its end, too. */
function withoutPassword(statement: string): string {
  return statement.replaceAll(/(PASSWORD\s+)[eE]?'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)/gi, "$1'…'").slice(0, 500)
}
