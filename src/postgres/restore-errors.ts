import { PgproofError } from '../errors.ts'
import type { ProgramError } from '../streams/child-process.ts'
import { holdsExtension } from './archive-contents.ts'
import { sqlStateOf } from './sql-state.ts'

/** One message of pg_restore: its kind and its text, which may have several lines. */
export type RestoreMessage = { readonly kind: 'error' | 'warning'; readonly text: string }

/**
 * What a refresh of a materialized view may say though the backup is whole: it reads another server, which a drill
 * cannot or must not reach. The patterns stand at the beginning of PostgreSQL's own words.
 */
export const allowedRefreshErrors: readonly {
  readonly pattern: RegExp
  readonly why: string
  /** Follows from another allowed error, and is allowed only together with one. */
  readonly isConsequence?: boolean
}[] = [
  { pattern: /^could not connect to server "/, why: 'postgres_fdw cannot reach the other server' },
  { pattern: /^could not establish connection$/m, why: 'dblink cannot reach the other server' },
  { pattern: /^user mapping not found for /, why: 'the role that refreshes has no login on the other server' },
  {
    pattern: /^password (?:is|or GSSAPI delegated credentials) required$/m,
    why: 'the login on the other server needs a password, which a dump does not always carry',
  },
  {
    pattern: /^materialized view ".*" has not been populated$/m,
    why: 'it reads a materialized view that could not be refreshed for one of these reasons',
    isConsequence: true,
  },
]

export function isError({ kind }: RestoreMessage): boolean {
  return kind === 'error'
}

/** Takes the lines of standard error apart; what belongs to no error or warning is dropped. */
export function readMessages(lines: readonly string[]): RestoreMessage[] {
  const messages: { kind: RestoreMessage['kind'] | null; text: string }[] = []
  for (const line of lines) {
    const said = /^pg_restore: (.*)$/.exec(line)?.[1]
    const last = messages.at(-1)
    if (said !== undefined) messages.push({ kind: kindOf(said), text: said })
    else if (last !== undefined) last.text += `\n${line}`
  }
  return messages.flatMap(({ kind, text }) => (kind === null ? [] : [{ kind, text: text.trim() }]))
}

/**
 * Whether these are as many errors as pg_restore itself has counted. Fewer are there where jobs that fail at the same
 * time write into each other's lines: each writes `pg_restore: `, `error: ` and the rest by turns (pg_log_generic_v).
 */
export function areWhole(messages: readonly RestoreMessage[], jobs: number): boolean {
  const counted = messages.map(({ text }) => countPattern.exec(text)?.[1]).filter((count) => count !== undefined)
  // Of parallel jobs each worker counts its errors, and the leader counts every entry that had some: one error is two.
  return counted.length === 1 && Number(counted[0]) === messages.filter(isError).length * (jobs > 1 ? 2 : 1)
}

/**
 * Judges a stage of refreshes that ended with errors. Returns the messages if each is allowed, else throws as
 * `restoreError`: also if they are not whole.
 */
export function judgeRefreshes(
  error: ProgramError,
  messages: readonly RestoreMessage[],
  { jobs, archive }: { readonly jobs: number; readonly archive: readonly string[] },
): RestoreMessage[] {
  const errors = messages.filter(isError)
  const rest = messages.filter(({ kind, text }) => kind === 'warning' && !countPattern.test(text))
  const found = errors.map(({ text }) => {
    const said = /^error: could not execute query: ERROR: {2}(.*)/.exec(text)?.[1]
    return allowedRefreshErrors.find(({ pattern }) => said !== undefined && pattern.test(said))
  })
  const hasCause = found.some((allowed) => allowed !== undefined && allowed.isConsequence !== true)
  const bad = errors.filter((_, index) => found[index] === undefined || !hasCause)
  // As where a restore ends at its first error, the first one tells: after it may come lines that only look like one.
  const details = bad.map(({ text }) => `pg_restore: ${text}`).join('\n')
  if (bad.length > 0) throw restoreError(error, { messages: bad.slice(0, 1), details, archive })
  if (!areWhole(messages, jobs)) throw restoreError(error, { messages: errors.slice(0, 1), archive })
  return [...errors, ...rest]
}

/**
 * What pg_restore's end says: RESTORE_FAILED, or an inconclusive error where the scratch server is what is lacking.
 * Only the first line of each error tells: DETAIL, HINT, CONTEXT, QUERY and the command itself may hold row data, or
 * what a function would say.
 */
export function restoreError(
  error: ProgramError,
  seen: {
    readonly messages?: readonly RestoreMessage[]
    readonly details?: string
    readonly archive?: readonly string[]
  } = {},
): PgproofError {
  const { messages = readMessages(error.stderrTail.split('\n')), details = error.stderrTail, archive = [] } = seen
  const more = { cause: error, details: withoutSecrets(details) }
  const errors = messages.filter(isError)
  const said = errors.map(primaryOf).join('\n')
  const library = libraryToLoad(errors, said, archive)
  if (library !== null) return new PgproofError('LIBRARY_NOT_LOADED', library, more)
  const extension = firstGroup(said, missingExtension)
  if (extension !== null)
    return new PgproofError(
      'EXTENSION_MISSING',
      { extensions: extension, packages: `the package that holds ${extension}` },
      more,
    )
  const role = /^ERROR: {2}role "([^\n]+)" does not exist$/m.exec(said)
  if (role !== null) return new PgproofError('ROLES_MISSING', { role: role[1] ?? '' }, more)
  const locale = firstGroup(said, missingLocale)
  if (locale !== null) return new PgproofError('LOCALE_MISSING', { locale }, more)
  const file = /^ERROR: {2}could not open (?:dictionary|affix|stop-word|synonym|thesaurus) file "([^"\n]+)": /m.exec(
    said,
  )
  if (file !== null)
    return new PgproofError('SCRATCH_FAILED', { reason: `text search needs its file ${file[1] ?? ''}` }, more)
  if (diskFull.test(said))
    return new PgproofError('SPOOL_FULL', { path: 'of the scratch server', reason: 'no space left on device' }, more)
  const reason = scratchFaults.find(({ pattern }) => pattern.test(said))?.reason
  if (reason !== undefined) return new PgproofError('SCRATCH_FAILED', { reason }, more)
  if (isKilledFromOutside(error)) {
    const killed = `pg_restore was ${error.outcome}, as the system does when memory runs out`
    return new PgproofError('SCRATCH_FAILED', { reason: killed }, more)
  }
  return new PgproofError('RESTORE_FAILED', { outcome: error.outcome }, more)
}

/** By somebody else, or by the kernel. A crash, as of SIGSEGV, may be the archive's doing. */
export function isKilledFromOutside({ signalName }: ProgramError): boolean {
  return signalName !== null && ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'].includes(signalName)
}

/** Whether a restore failed for want of memory, of which one job needs less than several. */
export function isOutOfMemory({ message }: PgproofError): boolean {
  return message.includes(memoryRanOut)
}

/**
 * Whether what a query failed with tells of the server and not of the query: the connection is gone (which has no
 * SQLSTATE), the login may not, memory or disk ran out (53), somebody ended it (57), the system failed (58).
 */
export function isServersFault(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === '' || state === '42501' || /^(?:08|53|57|58)/.test(state)
}

/** pg_restore quotes the statement that failed: that of a subscription, a user mapping or a server may hold a password. */
function withoutSecrets(details: string): string {
  const literal = `(?:[eE]'(?:[^'\\\\]|\\\\[\\s\\S]|'')*|'(?:[^']|'')*)(?:'|$)`
  return details
    .replaceAll(new RegExp(`(\\bCONNECTION )${literal}`, 'g'), "$1'…'")
    .replaceAll(/(\bOPTIONS \()[\s\S]*?(?:\);|$)/g, '$1…);')
}

/** What was said first, in one line, by a failed restore: `ERROR:  deadlock detected`. It may hold row data. */
export function firstErrorOf(failure: PgproofError): string {
  const first = readMessages((failure.details ?? '').split('\n')).find(isError)
  return (first === undefined ? failure.message : primaryOf(first)).slice(0, 300)
}

const countPattern = /^warning: errors ignored on restore: (\d+)$/

/** Where the first line of an error has its end, so that no row in it can pass for one. */
const diskFull =
  /^(?:(?:(?:ERROR|FATAL|PANIC): {2}could not [^\n]*: )?(?:No space left on device|Disk quota exceeded)|(?:ERROR|FATAL|PANIC): {2}could not extend file [^\n]*: wrote only \d+ of \d+ bytes at block \d+)$/im

/** Of the system's own collations alone: one that the dump does not bring along is its own fault. */
const missingLocale = [
  /^ERROR: {2}collation "pg_catalog\.([^"\n]+)" for encoding "[^"\n]+" does not exist$/m,
  /^ERROR: {2}could not create locale "([^"\n]+)": No such file or directory$/m,
]

const missingExtension = [
  /^ERROR: {2}extension "([^"\n]+)" is not available/m,
  /^ERROR: {2}could not open extension control file "[^"\n]*\/([^/"\n]+)\.control"/m,
  /^ERROR: {2}could not access file "(?:\$libdir\/|[^"\n]*\/)?([^"\n/]+?)(?:\.so)?"/m,
  /^ERROR: {2}could not load library "(?:[^"\n]*\/)?([^"\n/]+?)(?:\.so)?"/m,
  /^ERROR: {2}(?:access method|language) "([^"\n]+)" does not exist/m,
]

const memoryRanOut = 'memory ran out during the restore'

const scratchFaults: readonly { readonly pattern: RegExp; readonly reason: string }[] = [
  {
    pattern:
      /^(?:(?:ERROR|FATAL|PANIC|WARNING): {2}(?:terminating connection|the database system is) |server closed the connection unexpectedly|no connection to the server|could not (?:receive data from|send data to) server|SSL (?:SYSCALL )?error: )/m,
    reason: 'its connection was lost during the restore',
  },
  { pattern: /^connection to (?:server|database) /m, reason: 'pg_restore could not connect to it' },
  {
    // Of the server, of pg_restore itself, or of a library; a row that asks for too much is called an invalid request.
    pattern:
      /^(?:(?:ERROR|FATAL|PANIC): {2})?(?:out of memory|out of shared memory|(?:[^\n]*: )?Cannot allocate memory)$/m,
    reason: memoryRanOut,
  },
  {
    pattern: /^ERROR: {2}canceling statement due to statement timeout/m,
    reason: 'a statement of the restore took longer than its statement_timeout',
  },
  {
    pattern: /^ERROR: {2}canceling statement due to lock timeout/m,
    reason: 'a statement of the restore waited for a lock longer than its lock_timeout',
  },
  {
    pattern: /^ERROR: {2}can only create extension in database /m,
    reason: 'an extension may be created in one database only, which its own parameters name',
  },
]

const mustBeLoaded = [
  /^(?:ERROR|FATAL): {2}(?:extension )?"?([^"\s]+)"? (?:can only|must) be loaded via "?shared_preload_libraries/m,
  /^(?:ERROR|FATAL): {2}extension "([^"\n]+)" must be preloaded/m,
]

/** A library that extends the server itself and has to be there from the start. */
function libraryToLoad(
  errors: readonly RestoreMessage[],
  said: string,
  archive: readonly string[],
): { readonly library: string; readonly reason: string } | null {
  const named = firstGroup(said, mustBeLoaded)
  const reason = /^(?:ERROR|FATAL): {2}(.*)/m.exec(said)?.[1] ?? ''
  if (named !== null) return { library: named, reason }
  const provider = /^ERROR: {2}security label provider "([^"\n]+)" is not loaded/m.exec(said)?.[1]
  if (provider !== undefined) return { library: `the library of the security label provider "${provider}"`, reason }
  const prefix = /^ERROR: {2}unrecognized configuration parameter "([^".\n]+)\./m.exec(said)?.[1]
  if (prefix === undefined) return null
  // An application's own parameter, which nothing will ever know, is the backup's affair.
  const created = /^Command was: CREATE EXTENSION IF NOT EXISTS "?([^"\s]+)/m.exec(
    errors.map(({ text }) => text).join('\n'),
  )?.[1]
  const library = created ?? [prefix, `pg_${prefix}`].find((name) => holdsExtension(archive, name))
  return library === undefined ? null : { library, reason }
}

/** The first line of an error, without what pg_restore was doing: `ERROR:  …` of the server, else its own words. */
function primaryOf({ text }: RestoreMessage): string {
  const [line = ''] = text.replace(/^error: /, '').split('\n', 1)
  return line.replace(/^(?:could not [^:]*|query failed|COPY failed for table ".*?"|error returned by \w+): /, '')
}

function kindOf(said: string): RestoreMessage['kind'] | null {
  if (said.startsWith('error: ')) return 'error'
  return said.startsWith('warning: ') ? 'warning' : null
}

function firstGroup(text: string, patterns: readonly RegExp[]): string | null {
  for (const pattern of patterns) {
    const found = pattern.exec(text)?.[1]
    if (found !== undefined) return found
  }
  return null
}
