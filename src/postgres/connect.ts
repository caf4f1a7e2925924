import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { PgproofError, reasonOf } from '../errors.ts'
import { type OpenedSession, OpenedSessions } from './opened-sessions.ts'
import { isPasswordFileOpen, passwordFilePath, passwordFromFile } from './password-file.ts'
import { sqlStateOf } from './sql-state.ts'
import { type TlsSettings, tlsOptions } from './tls.ts'

/** How to reach one database of one server. The password never leaves this object but for the driver and a password file. */
export type Connection = {
  /** The server's name in the configuration, for messages. */
  readonly server: string
  /** A host name, an address, or the folder of a Unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  readonly password?: (() => string) | undefined
  readonly tls: TlsSettings
  /** Settings of PostgreSQL for the sessions of client programs; our own sessions pin theirs. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
}

/** Reads a `postgres://` URL. A socket folder is written as the host, percent-encoded: `postgres://u@%2Frun%2Fpostgresql/db`. */
export function parseConnectionUrl(server: string, text: string, password?: (() => string) | undefined): Connection {
  const url = new URL(text)
  const inUrl = url.password === '' ? undefined : decodeURIComponent(url.password)
  const user = decodeURIComponent(url.username) || process.env['PGUSER'] || 'postgres'
  const mode = url.searchParams.get('sslmode') ?? 'prefer'
  return {
    server,
    host: decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, '$1') || 'localhost',
    port: url.port === '' ? 5432 : Number(url.port),
    user,
    database: decodeURIComponent(url.pathname.slice(1)) || 'postgres',
    password: password ?? (inUrl === undefined ? undefined : () => inUrl),
    tls: {
      mode: (mode === 'allow' ? 'prefer' : mode) as TlsSettings['mode'],
      rootCertFile: url.searchParams.get('sslrootcert') ?? undefined,
      certFile: url.searchParams.get('sslcert') ?? undefined,
      keyFile: url.searchParams.get('sslkey') ?? undefined,
    },
  }
}

export function withDatabase(connection: Connection, database: string): Connection {
  return { ...connection, database }
}

export type Client = pg.Client

/** For a pool: how the driver opens further connections like one that is open. */
export function driverSettings(connection: Connection, { client }: Pick<HeldClient, 'client'>): pg.ClientConfig {
  const isEncrypted = 'encrypted' in socketOf(client)
  return clientConfig(connection, isEncrypted ? tlsOptions(connection.host, connection.tls) : false)
}

/** A client that ends with its scope. Its `lost` promise rejects when the connection breaks while nobody is asking. */
export type HeldClient = AsyncDisposable & { readonly client: Client; readonly lost: Promise<never> }

/** Whether a query failed: the server refused or ended it, or the connection broke meanwhile. */
export function isQueryFailure(error: unknown): error is Error {
  if (!(error instanceof Error) || error instanceof PgproofError) return false
  if (error instanceof pg.DatabaseError) return true
  const { code = '' } = error as NodeJS.ErrnoException
  return (
    /^(ECONNRESET|EPIPE|ETIMEDOUT)$/.test(code) ||
    /^(Connection terminated|Client has encountered a connection error|Client was closed)/.test(error.message)
  )
}

/**
 * Connects, with every server-side time-out off: a snapshot is held for hours. Throws SERVER_UNREACHABLE,
 * AUTHENTICATION_FAILED or DATABASE_UNKNOWN.
 */
export async function connect(
  connection: Connection,
  signal: AbortSignal,
  applicationName = 'pgproof',
): Promise<HeldClient> {
  signal.throwIfAborted()
  try {
    return await openInTime(connection, signal, applicationName, tlsOptions(connection.host, connection.tls))
  } catch (error) {
    signal.throwIfAborted()
    if (!mayTryPlain(connection, error)) throw await explained(connection, error)
  }
  try {
    return await openInTime(connection, signal, applicationName, false)
  } catch (error) {
    signal.throwIfAborted()
    throw await explained(connection, error)
  }
}

/** The last sessions that this process has opened: who watches a server tells them from those of others. */
export function openedSessions(): readonly OpenedSession[] {
  return opened.all()
}

const opened = new OpenedSessions(2000)

/** Several sessions of one kind, closed together. Throws what `open` throws, after closing those that were opened. */
export async function openSeveral(
  count: number,
  open: () => Promise<HeldClient>,
): Promise<AsyncDisposable & { readonly clients: readonly Client[] }> {
  const held: HeldClient[] = []
  const dispose = async (): Promise<void> => {
    await Promise.all(held.map((one) => one[Symbol.asyncDispose]()))
  }
  try {
    while (held.length < count) held.push(await open())
    return { clients: held.map(({ client }) => client), [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

/** Throws NAME_INVALID if PostgreSQL could not send a name as UTF-8: only SQL_ASCII lets any bytes in. */
export function assertNamesReadable(client: Client, kind: string, error: unknown): void {
  if (sqlStateOf(error) !== '22021') return
  const values = { kind, database: client.database ?? '', reason: reasonOf(error) }
  throw new PgproofError('NAME_INVALID', values, { cause: error })
}

/** As libpq does for `prefer`: no TLS at all, a failed handshake, or a pg_hba.conf that refuses TLS. */
function mayTryPlain({ tls }: Connection, error: unknown): boolean {
  if (tls.mode !== 'prefer') return false
  const { code = '' } = error as { code?: string }
  return code === '28000' || /^ERR_SSL|^EPROTO/.test(code) || /does not support SSL/i.test(reasonOf(error))
}

/** A role or database may let sessions be idle for less than a busy machine takes to send the first query: then another one. */
async function openInTime(...those: Parameters<typeof open>): Promise<HeldClient> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await open(...those)
    } catch (error) {
      if (sqlStateOf(error) !== idleSessionTimeout || attempt === 10) throw error
    }
  }
}

const idleSessionTimeout = '57P05'

async function open(
  connection: Connection,
  signal: AbortSignal,
  applicationName: string,
  ssl: pg.ClientConfig['ssl'],
): Promise<HeldClient> {
  const client = new pg.Client({
    ...clientConfig(connection, ssl),
    application_name: applicationName,
    connectionTimeoutMillis: 15_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 30_000,
  })
  const state = { isOpen: false, isLost: false, hasEnded: false, pid: 0, loss: undefined as Error | undefined }
  const lost = new Promise<never>((_, reject) => {
    client.on('error', (error) => {
      state.isLost = true
      state.loss ??= error
      reject(connectError(connection, error))
    })
  })
  lost.catch(() => {})
  const isBusy = (): boolean => state.isOpen && !state.isLost && !isReadyForQuery(client)
  const end = async (): Promise<void> => {
    if (state.hasEnded) return
    state.hasEnded = true
    signal.removeEventListener('abort', onAbort)
    // Its backend would go on with a query that nobody waits for, and keep its snapshot and locks. What is cancelled may be
    // a query that has just ended, with the next one on its way.
    for (let attempt = 0; isBusy() && attempt < mostCancels; attempt += 1) {
      if (!(await cancelQuery(connection, ssl, state.pid))) break
      for (let wait = 0; isBusy() && wait < 10; wait += 1) await delay(10)
    }
    await endClient(client)
  }
  // An abort ends the running query, and its backend's work with it. A cancel that arrives between two queries is lost,
  // so this goes on until the scope ends; a connection on which it does not help is cut.
  const onAbort = async (): Promise<void> => {
    for (let attempt = 0; !state.hasEnded; attempt += 1) {
      const isStuck =
        !state.isOpen || (isBusy() && (attempt > mostCancels || !(await cancelQuery(connection, ssl, state.pid))))
      if (isStuck) return void socketOf(client).destroy()
      await delay(250)
    }
  }
  try {
    signal.addEventListener('abort', onAbort, { once: true })
    await client.connect()
    await applySettings(client, signal)
    const { rows } = await client.query<{ pid: number }>(afterSettings)
    state.pid = rows[0]?.pid ?? 0
    opened.add({ database: connection.database, pid: state.pid })
    state.isOpen = true
    signal.throwIfAborted()
  } catch (error) {
    await end()
    // What a query says after that is only that the connection is gone.
    throw state.loss ?? error
  }
  return { client, lost, [Symbol.asyncDispose]: end }
}

/** A backend that does not end its query after so many does not hear them. */
const mostCancels = 40

function clientConfig(connection: Connection, ssl: pg.ClientConfig['ssl']): pg.ClientConfig {
  const { host, port, user, database } = connection
  // Asked for only if the server wants one; node-postgres takes undefined for none, which its types do not know.
  const lookUp = async (): Promise<string> =>
    connection.password?.() ?? process.env['PGPASSWORD'] ?? ((await passwordFromFile(connection)) as string)
  return {
    host,
    port,
    user,
    database,
    password: lookUp,
    ...(ssl === undefined ? {} : { ssl }),
  }
}

function isReadyForQuery(client: Client): boolean {
  return (client as unknown as { readyForQuery: boolean }).readyForQuery
}

/** The socket below a client; TLS puts another one in its place. */
function socketOf(client: Client): Socket {
  return (client as unknown as { connection: { stream: Socket } }).connection.stream
}

/** Says goodbye, and hangs up if nobody answers: a cut network must not hold up whoever cleans up. */
async function endClient(client: Client): Promise<void> {
  const timer = setTimeout(() => socketOf(client).destroy(), 2_000)
  await client.end().catch(() => {})
  clearTimeout(timer)
}

/**
 * Pins everything that may change what a query sees or how a value is written as text: the census must not depend on
 * settings of a role or a database (`ALTER ROLE … SET`). Sources: pg_dump.c `setup_connection`, and the list of
 * settings in PostgreSQL's manual under "Client Connection Defaults".
 *
 * The keepalives are for whoever comes next: of a host that lost its power or its network the server hears nothing, and
 * would by default keep such a session, with its locks, for two hours. Three minutes: a backup is to outlive a shorter outage.
 * On a Unix socket they are taken and mean nothing.
 */
const sessionSettings = `
  SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
  SET row_security = off; SET search_path = ''; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on;
  SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 3;
  SET bytea_output = 'hex'; SET xmlbinary = 'base64'; SET lc_monetary = 'C'; SET quote_all_identifiers = off; SET jit = off;
  SET default_transaction_read_only = off; SET default_transaction_deferrable = off; SET synchronize_seqscans = off;
  SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 20; SET tcp_keepalives_count = 6`

/** PostgreSQL has this time-out since 17, and refuses a setting that it does not know. */
const afterSettings = `
  SELECT pg_catalog.pg_backend_pid() AS pid,
         CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL
              THEN pg_catalog.set_config('transaction_timeout', '0', false) END`

/**
 * A role or database may have a time-out that is shorter than a busy server takes for any statement, even for the one that
 * lifts it; and when it passes at the end of that one, it hits the next. Not by an option of the connection: poolers refuse
 * those.
 */
async function applySettings(client: Client, signal: AbortSignal): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await client.query('SET statement_timeout = 0; SET idle_session_timeout = 0')
      await client.query(sessionSettings)
      return
    } catch (error) {
      if (sqlStateOf(error) !== '57014' || signal.aborted || attempt === 50) throw error
    }
  }
}

/** Cancels what a backend runs, over a connection of its own; whether that could be asked. */
async function cancelQuery(connection: Connection, ssl: pg.ClientConfig['ssl'], pid: number): Promise<boolean> {
  const limits = { connectionTimeoutMillis: 5_000, query_timeout: 5_000 }
  const helper = new pg.Client({ ...clientConfig(connection, ssl), application_name: 'pgproof cancel', ...limits })
  helper.on('error', () => {})
  try {
    await helper.connect()
    // Not the process id of the greeting: a pooler invents that.
    await helper.query('SELECT pg_catalog.pg_cancel_backend($1)', [pid])
    return true
  } catch {
    return false
  } finally {
    await endClient(helper)
  }
}

function connectError(connection: Connection, error: unknown): PgproofError {
  if (error instanceof PgproofError) return error
  const reason = reasonOf(error)
  const { server, database } = connection
  const sqlState = (error as { code?: string }).code ?? ''
  if (sqlState === '3D000') return new PgproofError('DATABASE_UNKNOWN', { server, database }, { cause: error })
  // 42501: no CONNECT on the database.
  if (sqlState.startsWith('28') || sqlState === '42501' || /password must be a string|client password/i.test(reason))
    return new PgproofError('AUTHENTICATION_FAILED', { server, reason: noPassword(reason) }, { cause: error })
  return new PgproofError('SERVER_UNREACHABLE', { server, reason }, { cause: error })
}

/** A password file that others may read is passed over, as libpq does, which says so. */
async function explained(connection: Connection, error: unknown): Promise<PgproofError> {
  const found = connectError(connection, error)
  const isAsked = found.code === 'AUTHENTICATION_FAILED' && /none is configured/.test(found.message)
  if (!isAsked || !(await isPasswordFileOpen())) return found
  const reason = `the server asks for a password, and ${passwordFilePath()} is passed over because others may read it (chmod 600)`
  return new PgproofError('AUTHENTICATION_FAILED', { server: connection.server, reason }, { cause: error })
}

function noPassword(reason: string): string {
  return /must be a string/.test(reason) ? 'the server asks for a password and none is configured' : reason
}
