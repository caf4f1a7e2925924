import { isUtf8 } from 'node:buffer'
import { open, rm, writeFile } from 'node:fs/promises'
import { PgproofError, reasonOf, rethrowUnless } from '../errors.ts'
import { ProgramError, programOutput } from '../streams/child-process.ts'
import { type Client, type Connection, connect } from './connect.ts'
import type { FoundProgram } from './programs.ts'
import { splitStatements } from './replay-roles.ts'
import { isServersFault, restoreError } from './restore-errors.ts'
import { quoteIdentifier } from './tables.ts'

export type DatabaseSettingsRequest = {
  /** A session on the scratch server that is not in the scratch database. */
  readonly admin: Client
  /** pg_restore. */
  readonly program: FoundProgram
  /** A custom-format archive; a list of its entries is written beside it and removed. */
  readonly file: string
  readonly sourceDatabase: string
  readonly scratchDatabase: string
  /** Whether rights on the database are brought back; default true. */
  readonly privileges?: boolean
  /** Whether what this login may not set, or names a role that is not there, is refused instead of an error; default false. */
  readonly isTolerant?: boolean
}

export type ReplayedSettings = {
  readonly applied: number
  /** Settings whose value this server cannot have, such as a locale that it lacks; named as in the structure. */
  readonly refused: readonly { readonly name: string; readonly reason: string }[]
}

/**
 * Brings back what hangs on the database itself, which a restore without `--create` leaves out: its settings and those
 * of roles in it, its rights, connection limit and security labels. Not its owner, who was named when it was created,
 * nor its comment, which marks a scratch database. The script is taken apart here, as that of the roles: only the
 * statements that pg_dump writes for a database are let through, each for the one database.
 *
 * Throws RESTORE_FAILED, which names nothing, with the reason and the statement (its values masked) in the details; ROLES_MISSING, LIBRARY_NOT_LOADED or
 * SCRATCH_FAILED where the scratch server is what is lacking.
 */
export async function replayDatabaseSettings(
  request: DatabaseSettingsRequest,
  signal: AbortSignal,
): Promise<ReplayedSettings> {
  const { admin, sourceDatabase, scratchDatabase } = request
  const script = await readScript(request, signal)
  let applied = 0
  const refused: { name: string; reason: string }[] = []
  let actsAsAnother = false
  try {
    for (const statement of splitStatements(script)) {
      signal.throwIfAborted()
      const parsed = parseStatement(statement)
      if (parsed === undefined || (parsed.database !== undefined && parsed.database !== sourceDatabase))
        throw settingsError(statement, 'not a statement that pg_dump writes for this database')
      if (parsed.kind === 'ignored') continue
      if (request.privileges === false && /^(?:GRANT|REVOKE) /.test(statement)) continue
      const text = parsed.textFor(quoteIdentifier(scratchDatabase))
      const reason = await runOne(admin, { text, statement, isTolerant: request.isTolerant ?? false }, signal)
      if (reason !== null) refused.push({ name: settingOf(statement) || 'rights on the database', reason })
      else if (parsed.kind === 'apply') applied += 1
      else actsAsAnother = parsed.kind === 'become'
    }
  } finally {
    if (actsAsAnother) await admin.query('RESET SESSION AUTHORIZATION').catch(() => {})
  }
  return { applied, refused }
}

/** The same with a session of its own: `server` is the scratch server, in any database but the scratch one. */
export async function restoreDatabaseSettings(
  server: Connection,
  request: Omit<DatabaseSettingsRequest, 'admin'>,
  signal: AbortSignal,
): Promise<ReplayedSettings> {
  await using held = await connect(server, signal, 'pgproof drill')
  return await replayDatabaseSettings({ ...request, admin: held.client }, signal)
}

/**
 * The script of the entries that hang on the database. `--create` shows them, and brings CREATE DATABASE along,
 * whatever the list says.
 */
async function readScript(request: DatabaseSettingsRequest, signal: AbortSignal): Promise<string> {
  const { admin, program, file, sourceDatabase } = request
  const entries = (await outputOf(program, ['--create', '--list', file], signal)).toString().split('\n')
  const wanted = entries.filter((entry) => databaseEntry.test(entry)).map((entry) => `${Number.parseInt(entry, 10)};\n`)
  if (wanted.length === 0) return ''
  const listFile = `${file}.database-list`
  const copy = `${file}.database-toc`
  try {
    await writeFile(listFile, wanted.join(''), { mode: 0o600 })
    const isReadable = !/[\r\n]/.test(sourceDatabase)
    if (!isReadable) await copyWithReadableName(file, copy, sourceDatabase)
    const args = ['--create', '--no-owner', '--file=-', `--use-list=${listFile}`, isReadable ? file : copy]
    return await decode(await outputOf(program, args, signal), admin)
  } finally {
    await rm(listFile, { force: true })
    await rm(copy, { force: true })
  }
}

/** A line of `pg_restore --list`: the entry's number, two OIDs, its kind, `-` for no schema, its name, its owner. */
const databaseEntry = /^\d+; \d+ \d+ (?:DATABASE PROPERTIES - |(?:ACL|SECURITY LABEL) - DATABASE )/

async function outputOf(program: FoundProgram, args: readonly string[], signal: AbortSignal): Promise<Buffer> {
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' }
  const chunks: Uint8Array[] = []
  try {
    for await (const chunk of programOutput({ path: program.path, args, env }, { signal })) chunks.push(chunk)
  } catch (error) {
    rethrowUnless(error, ProgramError)
    throw restoreError(error)
  }
  return Buffer.concat(chunks)
}

/** More than the table of contents needs, which comes first in an archive. */
const longestContents = 64 << 20

/**
 * pg_restore refuses to write `\connect` for a name with a line break. The name of an entry, a length of five bytes
 * and the text, decides that and nothing else: in a copy of the table of contents its line breaks become spaces.
 */
async function copyWithReadableName(file: string, copy: string, database: string): Promise<void> {
  await using source = await open(file)
  const { size } = await source.stat()
  const contents = Buffer.alloc(Math.min(size, longestContents))
  const { bytesRead } = await source.read(contents, 0, contents.length, 0)
  const name = Buffer.from(database)
  const entry = Buffer.concat([Buffer.alloc(5), name])
  entry.writeUInt32LE(name.length, 1)
  for (let at = contents.indexOf(entry); at !== -1; at = contents.indexOf(entry, at + entry.length))
    contents.write(database.replaceAll(/[\r\n]/g, ' '), at + 5)
  await writeFile(copy, contents.subarray(0, bytesRead), { mode: 0o600 })
}

/**
 * Names of databases and roles, and their settings, are in no database's encoding: a dump holds them byte by byte,
 * whatever encoding it names. They are UTF-8 unless they were made from within a database in another encoding.
 */
async function decode(script: Buffer, admin: Client): Promise<string> {
  if (isUtf8(script)) return script.toString()
  const encoding = /^SET client_encoding = '([A-Za-z0-9_]+)';$/m.exec(script.toString('latin1'))?.[1] ?? 'LATIN1'
  const text = 'SELECT pg_catalog.convert_from($1, $2) AS text'
  const { rows } = await admin.query<{ text: string }>(text, [script, encoding]).catch((error: unknown) => {
    const outcome = `the settings of the database are not in ${encoding}`
    throw new PgproofError('RESTORE_FAILED', { outcome }, { cause: error, details: reasonOf(error) })
  })
  return rows[0]?.text ?? ''
}

type Parsed = {
  readonly kind: 'apply' | 'become' | 'return' | 'ignored'
  readonly database?: string
  /** The statement for the database of that (quoted) name. */
  textFor(database: string): string
}

/** As `fmtId` writes names; see replay-roles.ts. */
const identifier = '(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_]*)'
const literal = `(?:'(?:[^']|'')*'|E'(?:[^'\\\\]|\\\\[\\s\\S]|'')*')`
const value = `SET ${identifier} TO +${literal}(?:, +${literal})*`
const privileges = '(?:ALL|CREATE|CONNECT|TEMPORARY)(?:,(?:CREATE|CONNECT|TEMPORARY))*'
const database = `(?<database>${identifier})`
const role = `(?<role>${identifier})`

const applied = [
  `ALTER DATABASE ${database} CONNECTION LIMIT = -?[0-9]+`,
  `ALTER DATABASE ${database} ${value}`,
  `ALTER ROLE ${role} IN DATABASE ${database} ${value}`,
  `(?:GRANT|REVOKE|REVOKE GRANT OPTION FOR) ${privileges} ON DATABASE ${database} (?:TO|FROM) PUBLIC`,
  `(?:REVOKE|REVOKE GRANT OPTION FOR) ${privileges} ON DATABASE ${database} FROM ${role}`,
  `GRANT ${privileges} ON DATABASE ${database} TO ${role}(?: WITH GRANT OPTION)?`,
  `SECURITY LABEL FOR ${identifier} ON DATABASE ${database} IS +${literal}`,
].map((form) => new RegExp(`^${form}$`, 'd'))

/** Who granted a right. */
const become = new RegExp(`^SET SESSION AUTHORIZATION ${role}$`)

/** Settings of the session, and what the scratch database has in its own way; none of these is run. */
const ignored = [
  /^SET [a-z_]+ = /,
  /^SELECT pg_catalog\.set_config\('search_path', '', false\)$/,
  new RegExp(`^CREATE DATABASE ${database} WITH `),
  new RegExp(`^ALTER DATABASE ${database} OWNER TO ${identifier}$`),
  // Could not be dropped after the drill.
  new RegExp(`^ALTER DATABASE ${database} IS_TEMPLATE = true$`),
  new RegExp(`^COMMENT ON DATABASE ${database} IS +${literal}$`),
]

/** Without quotes these are no names. */
const notNames = new Set([
  'all',
  'current_role',
  'current_user',
  'default',
  'group',
  'none',
  'public',
  'session_user',
  'user',
])

function parseStatement(statement: string): Parsed | undefined {
  const as = (kind: Parsed['kind'], name?: string, textFor: Parsed['textFor'] = () => statement): Parsed =>
    name === undefined ? { kind, textFor } : { kind, database: unquote(name), textFor }
  if (statement === 'RESET SESSION AUTHORIZATION') return as('return')
  const other = become.exec(statement)?.groups?.['role']
  if (other !== undefined) return notNames.has(other) ? undefined : as('become')
  for (const form of ignored) {
    const found = form.exec(statement)
    if (found !== null) return as('ignored', found.groups?.['database'])
  }
  for (const form of applied) {
    const found = form.exec(statement)
    const [start, end] = found?.indices?.groups?.['database'] ?? []
    if (found === null || start === undefined || end === undefined) continue
    if (notNames.has(found.groups?.['role'] ?? '')) return undefined
    return as('apply', statement.slice(start, end), (name) => statement.slice(0, start) + name + statement.slice(end))
  }
  return undefined
}

function unquote(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name
}

/** `work_mem`, or `work_mem FOR clerk` for a role in the database; as PostgreSQL quotes them. */
function settingOf(statement: string): string {
  const found = new RegExp(
    `^ALTER (?:DATABASE|ROLE (?<role>${identifier}) IN DATABASE) ${identifier} SET (?<name>${identifier}) `,
  )
  const { role: of, name } = found.exec(statement)?.groups ?? {}
  if (name === undefined) return ''
  return of === undefined ? name : `${name} FOR ${of}`
}

/**
 * The extended protocol takes no second statement, however a first one was made to hide it. Returns why a setting is
 * refused whose value is not possible here; null if it went well.
 */
async function runOne(
  admin: Client,
  { text, statement, isTolerant }: { readonly text: string; readonly statement: string; readonly isTolerant: boolean },
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const query = { text, queryMode: 'extended' }
    await admin.query(query)
    return null
  } catch (error) {
    signal.throwIfAborted()
    const { code } = error as { code?: string }
    // The value may be a secret.
    const reason = reasonOf(error).replace(/(invalid value for parameter "[^"]*"): .*/, '$1')
    const missing = /^role "(.+)" does not exist$/.exec(reason)?.[1]
    if (isTolerant && (code === '42501' || missing !== undefined)) return reason
    if (isServersFault(error)) throw new PgproofError('SCRATCH_FAILED', { reason }, { cause: error })
    const isUnknown = code === '22023' || (code === '42704' && /configuration parameter/.test(reason))
    if (isUnknown && settingOf(statement) !== '') return reason
    if (missing !== undefined) throw new PgproofError('ROLES_MISSING', { role: missing }, { cause: error })
    const library = /security label provider "(.+)" is not loaded/.exec(reason)?.[1]
    if (library !== undefined) throw new PgproofError('LIBRARY_NOT_LOADED', { library, reason }, { cause: error })
    throw settingsError(statement, reason)
  }
}

/** The details name the statement but no value, which may be a secret. */
function settingsError(statement: string, reason: string): PgproofError {
  const masked = statement.replaceAll(/[eE]?'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)/g, "'…'").slice(0, 500)
  const outcome = 'a setting of the database could not be brought back'
  return new PgproofError('RESTORE_FAILED', { outcome }, { details: `${reason}\n${masked}` })
}
