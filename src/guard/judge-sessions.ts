/** A session as the looks at `pg_stat_activity` have shown it. Times are the server's. */
export type SeenSession = {
  readonly pid: number
  /** Null, as most of the rest, where this login may not see the session. */
  readonly startedAt: Date | null
  readonly user: string
  readonly application: string
  /** An address; null for a Unix socket, or a process of the server itself. */
  readonly client: string | null
  readonly port: number
  /** PostgreSQL's `backend_type`. */
  readonly kind: string | null
  readonly state: string | null
  /** The latest beginning of a transaction or query, or change of state, that it tells of. */
  readonly activeAt: Date | null
  readonly isCommand: boolean
  /** A connection of this very process. */
  readonly isOurs: boolean
  /** When it was last seen with a transaction id: it has written, or is about to. */
  readonly hadTransactionId: Date | null
  /** When it was last seen in any state but idle. */
  readonly busyAt: Date | null
  readonly lastSeenAt: Date
}

export type Session = Pick<SeenSession, 'pid' | 'startedAt' | 'user' | 'application' | 'client'>

/** Who else was in the database since the snapshot. */
export type WatchFindings = {
  /** Sessions that wrote or may have written, and what speaks for it. */
  readonly writers: readonly (Session & { readonly why: string })[]
  /** Sessions of others that are still there and did nothing since. */
  readonly idle: readonly Session[]
  /** Sessions that began and ended between two looks: nobody knows whose they were. */
  readonly unseen: number
  /** Prepared transactions that wait for their end. */
  readonly prepared: readonly string[]
  /** Why there was no looking any more, if the connection broke. */
  readonly lost: string | null
}

export type WatchedSpan = {
  readonly snapshotTime: Date
  readonly begunAt: Date
  /** Of the last look. */
  readonly lookedAt: Date
  /** Null if no backup was taken meanwhile. */
  readonly backupUser: string | null
  /** Sessions of clients that began in the database since the beginning, without those of this process. */
  readonly startedSessions: number
  readonly prepared: readonly string[]
  readonly lost: string | null
}

/** PostgreSQL tells nobody who wrote; whoever cannot be cleared is taken for a writer. */
export function judgeSessions(sessions: readonly SeenSession[], span: WatchedSpan): WatchFindings {
  const dumping = sessions.filter((session) => isDump(session, span))
  // The backup ran pg_dump once, with one session. Where there are two of that name, one is a stranger's.
  const dumps = span.backupUser === null ? 0 : 1
  const foreign = sessions.filter(
    (session) => !session.isOurs && !(dumping.length === dumps && dumping.includes(session)),
  )
  const judged = foreign
    .filter(({ kind }) => kind === null || !harmless.has(kind))
    .map((session) => ({ session, why: whyWriter(session, span) }))
  const begun = foreign.filter(
    ({ kind, startedAt }) => kind === clientKind && startedAt !== null && startedAt > span.begunAt,
  )
  return {
    writers: judged.flatMap(({ session, why }) => (why === null ? [] : [{ ...sessionOf(session), why }])),
    idle: judged
      .filter(({ session, why }) => why === null && !session.isCommand && session.lastSeenAt >= span.lookedAt)
      .map(({ session }) => sessionOf(session)),
    // One that is in doubt is counted among them already.
    unseen: Math.max(0, span.startedSessions - begun.length - (dumping.length > dumps ? 0 : dumps)),
    prepared: span.prepared,
    lost: span.lost,
  }
}

/** Those without sessions that were idle, and which the restore itself has ended. */
export function withoutEnded(findings: WatchFindings, ended: readonly Session[]): WatchFindings {
  const isEnded = ({ why, ...session }: WatchFindings['writers'][number]): boolean =>
    why === endedUnseen && ended.some((one) => sessionKey(one) === sessionKey(session))
  return { ...findings, writers: findings.writers.filter((writer) => !isEnded(writer)) }
}

/** Whether the state before the command may be put back without asking anybody. */
export function isClear({ writers, unseen, prepared, lost }: WatchFindings): boolean {
  return writers.length === 0 && unseen === 0 && prepared.length === 0 && lost === null
}

const endedUnseen = 'it ended, and what it did last was not seen'

/** The snapshot's time is read when the snapshot exists already, a moment later. */
const marginMs = 250
const clientKind = 'client backend'
/** They write nothing that a dump would hold. Parallel workers are left out before: their leader speaks for them. */
const harmless = new Set(['autovacuum worker', 'autovacuum launcher', 'walsender', 'walreceiver'])

function isDump(session: SeenSession, { backupUser, begunAt }: WatchedSpan): boolean {
  const { application, user, startedAt, hadTransactionId } = session
  if (application !== 'pgproof pg_dump' || user !== backupUser || hadTransactionId !== null) return false
  return startedAt !== null && startedAt > begunAt
}

function whyWriter(session: SeenSession, { snapshotTime, lookedAt }: WatchedSpan): string | null {
  const since = snapshotTime.getTime() - marginMs
  const isLater = (time: Date | null): boolean => time !== null && time.getTime() > since
  const isThere = session.lastSeenAt >= lookedAt
  if (session.isCommand) return isThere ? 'it is of the command, and goes on though the command has ended' : null
  if (!isThere && !isLater(session.lastSeenAt) && !isLater(session.activeAt)) return null
  if (session.kind === null) return 'this login may not see what it does (GRANT pg_read_all_stats)'
  if (isLater(session.hadTransactionId)) return 'its transaction wrote'
  if (isLater(session.busyAt) || isLater(session.activeAt)) return 'it was at work after the snapshot'
  return isThere ? null : endedUnseen
}

/** The same process id comes again; with the time it is one session. */
export function sessionKey({ pid, startedAt }: Pick<Session, 'pid' | 'startedAt'>): string {
  return `${pid} ${startedAt?.getTime() ?? ''}`
}

function sessionOf({ pid, startedAt, user, application, client }: SeenSession): Session {
  return { pid, startedAt, user, application, client }
}
