import { setTimeout as delay } from 'node:timers/promises'
import { PgproofError, reasonOf } from '../errors.ts'
import { type Client, connect, withDatabase } from './connect.ts'
import { sqlStateOf } from './sql-state.ts'
import { asTargetFailed, findDatabase, readMark } from './staging-database.ts'
import { quoteIdentifier, quoteLiteral } from './tables.ts'
import { listContents } from './target-contents.ts'
import {
  cutToBytes,
  type ExistingDatabase,
  longestName,
  preparedText,
  readPrepared,
  readSessions,
  sessionsText,
  type TargetServer,
} from './target-database.ts'

export type Swap = {
  readonly staging: string
  /** The name that it gets. The same where it was built under its own name: then it only gets its comment. */
  readonly database: string
  /** The wanted name of the database that is there; another one is taken if that exists. Null: there is none. */
  readonly asideAs: string | null
  /** Whether the old one was empty and may go. */
  readonly dropAside: boolean
  readonly comment: string | null
  /** Whether sessions in the old one are ended. */
  readonly disconnect: boolean
  /** Asked when nobody is in the old one any more and nobody can come; if it rejects, nothing is changed. */
  readonly lastLook?: (() => Promise<void>) | undefined
}

/** How often a server is asked, and after which pauses, what became of a swap whose connection broke. */
export type Patience = { readonly questions: number; readonly betweenMs: number }

/** A server that starts again after a crash is away for a while. */
const halfAMinute: Patience = { questions: 60, betweenMs: 500 }

/** What came of a swap is not known: whichever databases there are, they must stay. */
export class SwapUnknown extends PgproofError {}

/**
 * The swap, all or nothing: an abort or a crash takes effect before it or after it. `aside` is the name under which the
 * old database still exists; null if it does not. An old one that was empty is dropped afterwards, if it still is; that
 * this does not succeed is no failure, it then stays aside. Throws TARGET_IN_USE, TARGET_EXISTS, TARGET_LACKS,
 * TARGET_FAILED or what `lastLook` throws, each with nothing changed unless it is a `SwapUnknown`, whose text says so.
 */
export async function putInPlace(
  server: TargetServer,
  swap: Swap,
  signal: AbortSignal,
  patience: Patience = halfAMinute,
): Promise<{ readonly aside: string | null }> {
  signal.throwIfAborted()
  const names = await decideNames(server, swap, signal)
  if (names.old !== null && !swap.disconnect) await waitUntilUnused(server, swap.database, signal)
  try {
    await renameBoth(server, { ...swap, ...names, patience }, signal)
  } catch (error) {
    if (signal.aborted && error === signal.reason) throw error
    throw await swapError(server, swap, names, error)
  }
  if (names.old === null) return { aside: null }
  const isGone = swap.dropAside && (await dropIfEmpty(server, names.old).catch(() => false))
  return { aside: isGone ? null : names.old.aside }
}

/** Throws TARGET_LACKS if this login may not rename that database. */
export async function assertMayRename(
  server: TargetServer,
  existing: ExistingDatabase,
  signal: AbortSignal,
): Promise<void> {
  const { owner } = existing.properties
  await using held = await connect(server.admin, signal, 'pgproof restore')
  const { rows } = await held.client.query<{ isOwner: boolean }>(
    `SELECT pg_catalog.pg_has_role(d.datdba, 'USAGE') AS "isOwner" FROM pg_catalog.pg_database d WHERE d.datname = $1`,
    [existing.name],
  )
  const role = quoteIdentifier(server.role)
  if (rows[0]?.isOwner === false)
    throw new PgproofError('TARGET_LACKS', {
      what: `the right of ${role} to rename the database "${existing.name}", which ${quoteIdentifier(owner)} owns`,
      mend: `GRANT ${quoteIdentifier(owner)} TO ${role}, or restore as the owner or a superuser.`,
    })
  if (!server.canCreateDatabase)
    throw new PgproofError('TARGET_LACKS', {
      what: `the right to rename databases (role ${role})`,
      mend: `ALTER ROLE ${role} CREATEDB.`,
    })
}

/** `shop_before_20261121t070102z`, the database's name cut to leave 63 bytes of UTF-8, without breaking a character. */
export function asideName(database: string, now: Date): string {
  return datedName(database, 'before', now)
}

function datedName(database: string, word: string, now: Date): string {
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const ending = `_${word}_${time.toLowerCase()}`
  return cutToBytes(database, longestName - ending.length) + ending
}

/** The name of the restored database once a swap was taken back: not that of a half-restored one. */
export function undoneName(database: string, now: Date): string {
  return datedName(database, 'undone', now)
}

/**
 * psql statements that do by hand what `putInPlace` does, for people; run in another database than these. They fit what
 * is there now; where the server does not say that, what `swap` expects. One line each.
 */
export async function swapStatements(
  server: TargetServer,
  swap: Pick<Swap, 'staging' | 'database' | 'asideAs' | 'comment'>,
  /** The wanted name of a database that has come meanwhile. */
  asideAs: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const isRenamed = swap.staging !== swap.database
  const aside = isRenamed ? await findAside(server, swap.database, asideAs, signal).catch(() => swap.asideAs) : null
  const [staging, database] = [swap.staging, swap.database].map(quoteIdentifier)
  return [
    'BEGIN;',
    ...(aside === null ? [] : [`ALTER DATABASE ${database} RENAME TO ${quoteIdentifier(aside)};`]),
    ...(isRenamed ? [`ALTER DATABASE ${staging} RENAME TO ${database};`] : []),
    `COMMENT ON DATABASE ${database} IS ${swap.comment === null ? 'NULL' : literalOnOneLine(swap.comment)};`,
    'COMMIT;',
  ]
}

/** The name that the database gets which has this one now; null if there is none. */
async function findAside(
  server: TargetServer,
  database: string,
  asideAs: string,
  signal: AbortSignal,
): Promise<string | null> {
  await using held = await connect(server.admin, signal, application)
  return (await findDatabase(held.client, database)) === null ? null : await freeName(held.client, asideAs)
}

/** Statements are shown with each line indented, and without what a terminal would obey. */
function literalOnOneLine(text: string): string {
  if (!/[\n\r\t]/.test(text)) return quoteLiteral(text)
  const escaped = text.replaceAll('\\', '\\\\').replaceAll("'", "''")
  return `E'${escaped.replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\t', '\\t')}'`
}

/** psql statements that take a swap back, for people; `now` is the name that the restored database gets. */
export function undoStatements(swap: {
  readonly database: string
  readonly aside: string
  readonly now: string
}): readonly string[] {
  const [database, aside, now] = [swap.database, swap.aside, swap.now].map(quoteIdentifier)
  return [
    'BEGIN;',
    `ALTER DATABASE ${database} RENAME TO ${now};`,
    `ALTER DATABASE ${aside} RENAME TO ${database};`,
    'COMMIT;',
  ]
}

type Names = {
  readonly stagingOid: number
  /** The database that has the name now, and the one it gets. */
  readonly old: { readonly oid: number; readonly aside: string } | null
}

type DecidedSwap = Swap & Names & { readonly patience: Patience }

const never = new AbortController().signal
const application = 'pgproof restore'

/** Throws TARGET_FAILED if the staging database is not one, TARGET_EXISTS if a database is there that was not told of. */
async function decideNames(server: TargetServer, swap: Swap, signal: AbortSignal): Promise<Names> {
  const { staging, database, asideAs } = swap
  await using held = await connect(server.admin, signal, application)
  const made = await findDatabase(held.client, staging)
  if (made === null) throw new PgproofError('TARGET_FAILED', { reason: `database "${staging}" is gone` })
  if (readMark(staging, made.comment)?.into !== database) {
    const reason = `database "${staging}" is not marked as an unfinished restore into "${database}"`
    throw new PgproofError('TARGET_FAILED', { reason })
  }
  if (staging === database) return { stagingOid: made.oid, old: null }
  const old = await findDatabase(held.client, database)
  if (old === null) return { stagingOid: made.oid, old: null }
  if (asideAs === null) throw new PgproofError('TARGET_EXISTS', { database, server: server.address })
  return { stagingOid: made.oid, old: { oid: old.oid, aside: await freeName(held.client, asideAs) } }
}

/** The wanted name, or, where a database has it, the first of those with a number that none has. */
async function freeName(client: Client, wanted: string): Promise<string> {
  let name = wanted
  for (let number = 2; (await findDatabase(client, name)) !== null; number += 1)
    name = `${cutToBytes(wanted, longestName - `_${number}`.length)}_${number}`
  return name
}

/** Before any lock is held, which would make others wait. Throws TARGET_IN_USE if they are still there after 5 s. */
async function waitUntilUnused(server: TargetServer, database: string, signal: AbortSignal): Promise<void> {
  await using held = await connect(server.admin, signal, application)
  for (let attempt = 0; ; attempt += 1) {
    const sessions = await readSessions(held.client, database, 'any')
    if (sessions.length === 0) return
    if (attempt === 20) throw new PgproofError('TARGET_IN_USE', { database, sessions: sessionsText(sessions) })
    await delay(250, undefined, { signal })
  }
}

/**
 * Two renames in one transaction. Each keeps new sessions out from its beginning on, so whoever is ended meanwhile does
 * not come back before the end; a session that waits then finds the new database at its next try.
 */
async function renameBoth(server: TargetServer, swap: DecidedSwap, signal: AbortSignal): Promise<void> {
  await using held = await connect(server.admin, never, application)
  await using helper = await connect(server.admin, never, application)
  const { client } = held
  const { rows } = await client.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid')
  // Nobody but a monitoring tool that looks into every database has any business in the staging database.
  const cleared = [swap.stagingOid, ...(swap.old !== null && swap.disconnect ? [swap.old.oid] : [])]
  const done = new AbortController()
  const pid = rows[0]?.pid ?? 0
  const clearing = clearTheWay(helper.client, pid, swap.staging === swap.database ? [] : cleared, {
    done: done.signal,
    abort: signal,
  })
  clearing.catch(() => {})
  try {
    await client.query("BEGIN; SET LOCAL lock_timeout = '10s'")
    for (const statement of renames(swap)) await client.query(statement)
    await swap.lastLook?.()
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    // The helper may still send one cancel: it must have come to its end before COMMIT is sent.
    done.abort()
    await clearing.catch(() => {})
  }
  signal.throwIfAborted()
  try {
    await client.query('COMMIT')
  } catch (error) {
    // The server refused it, and has undone everything; 57P01 to 57P03 come from a backend that ended.
    const state = sqlStateOf(error)
    const isAnswer = /^[0-9A-Z]{5}$/.test(state) && !/^(?:57P0|08)/.test(state)
    if (!isAnswer && (await isDone(server, swap, pid, error))) return
    signal.throwIfAborted()
    throw error
  }
}

function renames(swap: DecidedSwap): string[] {
  const { old } = swap
  const database = quoteIdentifier(swap.database)
  const staging = quoteIdentifier(swap.staging)
  const comment = swap.comment === null ? 'NULL' : quoteLiteral(swap.comment)
  return [
    ...(old === null ? [] : [`ALTER DATABASE ${database} RENAME TO ${quoteIdentifier(old.aside)}`]),
    ...(swap.staging === swap.database ? [] : [`ALTER DATABASE ${staging} RENAME TO ${database}`]),
    `COMMENT ON DATABASE ${database} IS ${comment}`,
  ]
}

/** Ends sessions, and the wait for them if the run is aborted. What this login may not end stays, and is in the way. */
async function clearTheWay(
  helper: Client,
  renamer: number,
  databases: readonly number[],
  { done, abort }: { readonly done: AbortSignal; readonly abort: AbortSignal },
): Promise<void> {
  while (!done.aborted) {
    if (abort.aborted) await helper.query('SELECT pg_catalog.pg_cancel_backend($1)', [renamer])
    const { rows } = await helper.query<{ pid: number }>(
      'SELECT pid FROM pg_catalog.pg_stat_activity WHERE datid::int8 = ANY ($1::int8[])',
      [databases],
    )
    for (const { pid } of rows) await helper.query('SELECT pg_catalog.pg_terminate_backend($1)', [pid]).catch(() => {})
    await delay(50, undefined, { signal: done }).catch(() => {})
  }
}

/** A connection that breaks at COMMIT leaves open whether it was made: the names tell, once its backend has ended. */
async function isDone(server: TargetServer, swap: DecidedSwap, pid: number, error: unknown): Promise<boolean> {
  const { stagingOid, patience } = swap
  for (let question = 0; question < patience.questions; question += 1) {
    try {
      await using held = await connect(server.admin, never, application)
      const { rowCount } = await held.client.query('SELECT FROM pg_catalog.pg_stat_activity WHERE pid = $1', [pid])
      if (rowCount !== 0) throw error
      const found = await findDatabase(held.client, swap.database)
      return found?.oid === stagingOid && readMark(swap.database, found.comment) === null
    } catch {
      await delay(patience.betweenMs)
    }
  }
  const reason = `the connection broke at the very end (${reasonOf(error)}), so it is not known whether "${swap.database}" is the restored database; if "${swap.staging}" is there, it is not`
  throw new SwapUnknown('TARGET_FAILED', { reason }, { cause: error })
}

async function swapError(server: TargetServer, swap: Swap, { old }: Names, error: unknown): Promise<PgproofError> {
  if (error instanceof SwapUnknown) return error
  const state = sqlStateOf(error)
  const { database } = swap
  const more = { cause: error, details: (error as { detail?: string }).detail }
  // Where the old one goes aside, somebody has taken the name that it was to get.
  if (state === '42P04')
    return new PgproofError('TARGET_EXISTS', { database: old?.aside ?? database, server: server.address }, more)
  if (state === '42501') {
    const what = `the right to rename databases (role "${server.role}"): ${reasonOf(error)}`
    return new PgproofError(
      'TARGET_LACKS',
      { what, mend: 'Restore as the owner with CREATEDB, or as a superuser.' },
      more,
    )
  }
  if (state === '55P03') {
    const sessions = 'another session that holds a lock on it (ALTER DATABASE, GRANT, COMMENT or the like)'
    return new PgproofError('TARGET_IN_USE', { database, sessions }, more)
  }
  if (state !== '55006') return asTargetFailed(error)
  for (const name of old === null ? [swap.staging] : [database, swap.staging]) {
    const sessions = await describeUse(server, name).catch(() => '')
    if (sessions !== '') return new PgproofError('TARGET_IN_USE', { database: name, sessions }, more)
  }
  return new PgproofError('TARGET_IN_USE', { database, sessions: more.details ?? 'sessions that came and went' }, more)
}

/** Prepared transactions first: no ended session takes them along. Empty if nobody is there any more. */
async function describeUse(server: TargetServer, database: string): Promise<string> {
  await using held = await connect(server.admin, never, application)
  const prepared = preparedText(await readPrepared(held.client, database))
  return prepared === '' ? sessionsText(await readSessions(held.client, database, 'any')) : prepared
}

/** Whether the empty database that was renamed aside is gone. Without FORCE: whoever is in it may be filling it. */
async function dropIfEmpty(
  server: TargetServer,
  old: { readonly oid: number; readonly aside: string },
): Promise<boolean> {
  await using held = await connect(server.admin, never, application)
  {
    await using inside = await connect(withDatabase(server.admin, old.aside), never, application)
    if ((await listContents(inside.client)).length > 0) return false
  }
  if ((await findDatabase(held.client, old.aside))?.oid !== old.oid) return false
  await held.client.query(`DROP DATABASE ${quoteIdentifier(old.aside)}`)
  return true
}
