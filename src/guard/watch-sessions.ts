import assert from 'node:assert/strict'
import type { Clock } from '../clock.ts'
import { reasonOf } from '../errors.ts'
import { type Client, type Connection, connect, openedSessions, openSeveral } from '../postgres/connect.ts'
import { connectionKey, tcpConnectionsOf } from '../streams/process-sockets.ts'
import { judgeSessions, type SeenSession, sessionKey, type WatchFindings } from './judge-sessions.ts'

export type WatchRequest = {
  /** To another database of the same server: a session in the watched one would keep it from being renamed. */
  readonly admin: Connection
  readonly database: string
  /** The user that the backup logs in as; null if none is taken under this watch. */
  readonly backupUser: string | null
  /** The `application_name` of the sessions that are not others'. */
  readonly tag: string
}

/** Watches who is at work in a database, from its beginning until the scope ends. */
export type SessionWatch = AsyncDisposable & {
  /** The command: sessions over TCP connections of it and of what it starts are not others'. */
  follow(pid: number): void
  /**
   * Who else may have written since the snapshot of the backup that was taken under this watch. Waits some seconds for
   * sessions of the command that are about to end. The watch goes on.
   */
  findings(snapshotTime: Date): Promise<WatchFindings>
}

/** Throws a connection error. A connection that is lost later is among the findings. */
export async function watchSessions(request: WatchRequest, clock: Clock, signal: AbortSignal): Promise<SessionWatch> {
  // Whoever looks at the server's sessions sees which database is guarded.
  const name = `pgproof guard ${request.database}`
  const losses: Promise<never>[] = []
  const held = await openSeveral(1 + looksOfWatchers.length, async () => {
    const one = await connect(request.admin, signal, name)
    losses.push(one.lost)
    return one
  })
  try {
    // One connection asks, the others look; a connection has one question at a time.
    const [client, ...watchers] = held.clients
    assert(client !== undefined, 'a watch needs a connection')
    const watch = new Watch(request, clock, client)
    // Why a connection was ended is said at that moment: who asks it later hears only that it cannot be asked.
    Promise.race(losses).catch((error: unknown) => watch.lose(error))
    await watch.begin()
    const stopping = new AbortController()
    const until = AbortSignal.any([signal, stopping.signal])
    const watching = Promise.all(
      watchers.map((one, index) => watch.goOn(one, looksOfWatchers[index] ?? looksAtOnce, until)),
    )
    return {
      follow: (pid) => watch.follow(pid),
      findings: (snapshotTime) => watch.findings(snapshotTime),
      [Symbol.asyncDispose]: async () => {
        stopping.abort()
        await watching
        await held[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await held[Symbol.asyncDispose]()
    throw error
  }
}

/**
 * How often each of the watching connections looks in one statement. While one waits for this process, which may be busy,
 * the other one looks; numbers without a common divisor keep them from waiting at the same time.
 */
const looksOfWatchers = [17, 29] as const
const looksAtOnce = 5
/** How long sessions of a command that has ended may take to end, too. */
const endsWithinMs = 10_000
/** A session that is older than a second has been counted; on a busy server there is always a younger one. */
const settlesWithinMs = 2_000
const betweenSettlingMs = 50
/** PostgreSQL 14 collects its statistics in a process of its own and hands out what is up to half a second old. */
const statisticsLagMs = 1500

type Tracked = Omit<SeenSession, 'isOurs'> & {
  /** When the server showed it with the name and the state that are kept. */
  readonly shownAt: Date
}
type Row = Omit<Tracked, 'isCommand' | 'hadTransactionId' | 'busyAt' | 'lastSeenAt' | 'shownAt'> & {
  readonly hasTransactionId: boolean
  /** The number of the last look that showed it so, and its time. */
  readonly look: number
  readonly now: Date
}

class Watch {
  readonly #request: WatchRequest
  readonly #clock: Clock
  readonly #client: Client
  readonly #seen = new Map<string, Tracked>()
  #begunAt = new Date(0)
  #major = 0
  #sessionsAtBegin = 0
  #ownAtBegin = 0
  #commandPid: number | null = null
  #lookedAt = new Date(0)
  #lost: string | null = null

  constructor(request: WatchRequest, clock: Clock, client: Client) {
    this.#request = request
    this.#clock = clock
    this.#client = client
  }

  async begin(): Promise<void> {
    await this.#settle()
    this.#ownAtBegin = this.#ownSessions().length
    const { sessions, now, major } = await this.#readCounter()
    this.#sessionsAtBegin = sessions
    this.#begunAt = now
    this.#major = major
    await this.#look(this.#client, looksAtOnce)
  }

  /**
   * A session is counted when it first comes to rest or ends: one that began a moment ago, maybe of this very process, may
   * be missing in the counter, and would later look like one that nobody saw.
   */
  async #settle(): Promise<void> {
    const deadline = this.#clock.monotonicMs() + settlesWithinMs
    while (this.#clock.monotonicMs() < deadline) {
      const { rows } = await this.#client.query<{ young: string }>(
        `SELECT pg_catalog.count(*) AS young FROM pg_catalog.pg_stat_activity
          WHERE datname = $1 AND backend_start > pg_catalog.clock_timestamp() - interval '1 second'`,
        [this.#request.database],
      )
      if (Number(rows[0]?.young) === 0) return
      await this.#clock.sleep(betweenSettlingMs)
    }
  }

  async goOn(client: Client, looks: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#lost === null) await this.#looked(client, looks)
  }

  lose(error: unknown): void {
    this.#lost ??= reasonOf(error)
  }

  follow(pid: number): void {
    this.#commandPid = pid
  }

  async findings(snapshotTime: Date): Promise<WatchFindings> {
    const deadline = this.#clock.monotonicMs() + endsWithinMs
    do await this.#looked(this.#client)
    while (this.#lost === null && this.#hasCommandSessions() && this.#clock.monotonicMs() < deadline)
    const counted = await this.#asked(() => this.#countUnseen(), 0)
    await this.#looked(this.#client)
    const prepared = await this.#asked(() => listPrepared(this.#client, this.#request.database), [])
    // Only now: a session is seen sooner than this process knows its id.
    const own = new Set(this.#ownSessions().map(({ pid }) => pid))
    const sessions = Array.from(this.#seen.values(), (session): SeenSession => {
      return { ...session, isOurs: own.has(session.pid) && session.application.startsWith('pgproof') }
    })
    return judgeSessions(sessions, {
      snapshotTime,
      begunAt: this.#begunAt,
      lookedAt: this.#lookedAt,
      backupUser: this.#request.backupUser,
      startedSessions: counted,
      prepared,
      lost: this.#lost,
    })
  }

  async #looked(client: Client, looks = looksAtOnce): Promise<void> {
    await this.#asked(() => this.#look(client, looks), undefined)
  }

  /** A question that never rejects: whoever cannot see any more says so in the end, and asks nothing until then. */
  async #asked<T>(question: () => Promise<T>, otherwise: T): Promise<T> {
    if (this.#lost !== null) return otherwise
    try {
      return await question()
    } catch (error) {
      this.lose(error)
      return otherwise
    }
  }

  /** Answers may come in another order than they were made, so nothing of an older one replaces the newer. */
  async #look(client: Client, looks: number): Promise<void> {
    const answer = await client.query<Row>(activityQuery, [this.#request.database, looks])
    const rows = answer.rows.filter(({ pid }) => pid !== null)
    const unknown = rows.filter((row) => !this.#isCommand(row) && row.client !== null && row.port > 0)
    const connections =
      this.#commandPid === null || unknown.length === 0 ? new Set<string>() : await tcpConnectionsOf(this.#commandPid)
    const lookedAt = new Date(Math.max(...answer.rows.map(({ now }) => now.getTime())))
    for (const { hasTransactionId, look, now, ...row } of rows) {
      const key = sessionKey(row)
      const before = this.#seen.get(key)
      if (isVanishing(row) && before === undefined) continue
      const isIdle = row.state === 'idle'
      const isNewer = before === undefined || now >= before.shownAt
      this.#seen.set(key, {
        ...(isNewer ? { ...row, kind: row.kind ?? before?.kind ?? null, shownAt: now } : before),
        isCommand:
          this.#isCommand(row) || (row.client !== null && connections.has(connectionKey(row.client, row.port))),
        activeAt: latest(before?.activeAt, row.activeAt),
        hadTransactionId: latest(before?.hadTransactionId, hasTransactionId ? now : null),
        busyAt: latest(before?.busyAt, isIdle ? null : now),
        lastSeenAt: latest(before?.lastSeenAt, look === looks ? lookedAt : now) ?? now,
      })
    }
    this.#lookedAt = latest(this.#lookedAt, lookedAt) ?? lookedAt
  }

  #isCommand(row: Pick<SeenSession, 'pid' | 'startedAt' | 'application'>): boolean {
    return row.application === this.#request.tag || this.#seen.get(sessionKey(row))?.isCommand === true
  }

  #hasCommandSessions(): boolean {
    return [...this.#seen.values()].some(({ isCommand, lastSeenAt }) => isCommand && lastSeenAt >= this.#lookedAt)
  }

  /** By the database alone: the server may go by two names, and there is only one that is guarded. */
  #ownSessions(): readonly { readonly pid: number }[] {
    return openedSessions().filter(({ database }) => database === this.#request.database)
  }

  /** How many sessions of others and of the command began in the database, by PostgreSQL's own counter. */
  async #countUnseen(): Promise<number> {
    if (this.#major < 15) await this.#clock.sleep(statisticsLagMs)
    const { sessions } = await this.#readCounter()
    return sessions - this.#sessionsAtBegin - (this.#ownSessions().length - this.#ownAtBegin)
  }

  async #readCounter(): Promise<{ readonly sessions: number; readonly now: Date; readonly major: number }> {
    const { rows } = await this.#client.query<{ sessions: string; now: Date; major: number }>(
      `SELECT s.sessions::text AS sessions, pg_catalog.clock_timestamp() AS now,
              pg_catalog.current_setting('server_version_num')::int / 10000 AS major
         FROM pg_catalog.pg_stat_database s WHERE s.datname = $1`,
      [this.#request.database],
    )
    const [row] = rows
    if (row === undefined) throw new Error(`database ${this.#request.database} is not there any more`)
    return { ...row, sessions: Number(row.sessions) }
  }
}

/**
 * A background worker that ended while the server was putting the picture together: its kind is gone and its beginning is
 * not, which a login without rights sees neither of (pg_stat_get_activity, pgstatfuncs.c). Most are parallel workers; any
 * other one that no look saw alive is like one that came and went between two looks.
 */
function isVanishing({ kind, startedAt }: Pick<Row, 'kind' | 'startedAt'>): boolean {
  return kind === null && startedAt !== null
}

/** Transactions that were prepared in a database and wait for their end; they may commit at any time. */
export async function listPrepared(client: Client, database: string): Promise<string[]> {
  const { rows } = await client.query<{ gid: string }>(
    'SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1 ORDER BY prepared',
    [database],
  )
  return rows.map(({ gid }) => gid)
}

function latest(one: Date | null | undefined, other: Date | null | undefined): Date | null {
  if (one == null || other == null) return one ?? other ?? null
  return one > other ? one : other
}

/**
 * Several looks in one statement, a few milliseconds apart, since sessions of fast programs live no longer than that. In
 * a statement and a transaction PostgreSQL shows the same picture again unless it is told to forget it; and the argument
 * depends on the look, because a function without one is called once. A line comes for each look at least.
 */
const betweenLooks = '0.004'
const activityQuery = `
  SELECT max(look) AS look, max(pg_catalog.clock_timestamp()) AS now, s.pid, s.backend_start AS "startedAt",
         COALESCE(pg_catalog.pg_get_userbyid(s.usesysid)::text, '') AS "user",
         COALESCE(s.application_name, '') AS application, pg_catalog.host(s.client_addr) AS client,
         COALESCE(s.client_port, 0) AS port, s.backend_type AS kind, s.state,
         s.backend_xid IS NOT NULL AS "hasTransactionId", GREATEST(s.xact_start, s.query_start, s.state_change) AS "activeAt"
    FROM pg_catalog.generate_series(1, $2::int) look
    LEFT JOIN LATERAL pg_catalog.pg_stat_get_activity(CASE
           WHEN pg_catalog.pg_sleep(${betweenLooks} + 0 * look) IS NULL THEN 0
           WHEN pg_catalog.pg_stat_clear_snapshot() IS NULL THEN 0 END) s
      ON s.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = $1) AND s.backend_type IS DISTINCT FROM 'parallel worker'
   GROUP BY s.pid, s.backend_start, s.usesysid, s.application_name, s.client_addr, s.client_port, s.backend_type, s.state,
            s.backend_xid IS NOT NULL, s.xact_start, s.query_start, s.state_change
   ORDER BY max(look)`
