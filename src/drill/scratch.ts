import type { Clock } from '../clock.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { Evidence } from '../domain/evidence.ts'
import type { Manifest } from '../domain/manifest.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import type { Log } from '../log.ts'
import { takeLock } from '../postgres/advisory-lock.ts'
import { type Connection, connect } from '../postgres/connect.ts'
import { startEmbeddedServer } from '../postgres/embedded-server.ts'
import { readServerFacts } from '../postgres/facts.ts'
import { type ReplayedRoles, replayRoles } from '../postgres/replay-roles.ts'
import {
  createScratchDatabase,
  dropScratchDatabase,
  listScratchDatabases,
  type ScratchDatabase,
} from '../postgres/scratch-database.ts'
import { dropScratchRoles, noteScratchRole, prepareScratchRoles } from '../postgres/scratch-roles.ts'

export type ScratchSettings =
  | {
      readonly kind: 'embedded'
      readonly runAs: string
      readonly binDirs: readonly string[]
      readonly jobs: number
      readonly parameters?: Readonly<Record<string, string>> | undefined
      /** The database that pg_cron is to work in, if the backup has that extension: the scratch database's name. */
      readonly cronDatabase?: string | undefined
    }
  | { readonly kind: 'server'; readonly connection: Connection; readonly cronDatabase?: string | undefined }
  | {
      /** One that is open already and that somebody else ends, for drills that share it. */
      readonly kind: 'opened'
      readonly opened: OpenedScratch
      /** Of the database that is restored into. */
      readonly databaseName: string
    }

/** A scratch server for several drills, one after the other. What they put there stays until its scope ends. */
export type OpenedScratch = AsyncDisposable & {
  readonly kind: 'embedded' | 'server'
  readonly version: string
  readonly reach: ScratchReach
  /** For one drill, whose scope ends nothing. Throws SCRATCH_IS_SOURCE or SCRATCH_FAILED. */
  lend(source: ScratchSource): ScratchServer
}

/** What must be known of the server that a backup comes from. */
export type ScratchSource = Pick<Manifest['source'], 'major' | 'systemIdentifier'>

/** What a restored database could reach, as reports say it. */
export type ScratchReach = Pick<DrillReport['environment'], 'network' | 'notIsolated'>

/** The server that a drill restores into; whatever the drill put there is gone when the scope ends. */
export type ScratchServer = AsyncDisposable & {
  readonly connection: Connection
  readonly version: string
  readonly major: number
  /** Null for an embedded one, which is nobody's source. */
  readonly systemIdentifier: string | null
  readonly reach: ScratchReach
  replayRoles(script: string, signal: AbortSignal): Promise<ReplayedRoles>
  createDatabase(name: string, properties: Evidence['properties'], signal: AbortSignal): Promise<ScratchDatabase>
}

/** Throws SCRATCH_IS_SOURCE, SCRATCH_FAILED or PROGRAM_MISSING. */
export async function openScratchServer(
  settings: ScratchSettings,
  source: ScratchSource,
  bootstrapRole: string,
  folder: string,
  parts: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<ScratchServer> {
  if (settings.kind === 'opened') return settings.opened.lend(source)
  if (settings.kind === 'server') return await openKeptServer(settings.connection, source, parts.log, signal)
  const { major } = source
  const request = { ...settings, folder, major, bootstrapRole }
  const server = await startEmbeddedServer(request, parts.clock, signal)
  const { notIsolated } = server
  if (notIsolated.length > 0)
    parts.log.warn(
      { notIsolated },
      'the system does not let the scratch server be shut off from this machine in full (docs/security.md)',
    )
  return {
    connection: server.connection,
    version: server.version,
    major,
    systemIdentifier: null,
    reach: { network: notIsolated.includes('network') ? 'machine' : 'none', notIsolated: [...notIsolated] },
    replayRoles: async (script, replaySignal) => {
      await using admin = await connect(server.connection, replaySignal, 'pgproof drill')
      return await replayRoles(admin.client, script, replaySignal)
    },
    createDatabase: (name, properties, createSignal) =>
      createScratchDatabase(server.connection, name, properties, createSignal),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Throws SCRATCH_IS_SOURCE, SCRATCH_FAILED for a backup of a newer major. */
export function assertTakes(
  server: { readonly major: number; readonly systemIdentifier: string | null },
  source: ScratchSource,
): void {
  if (server.systemIdentifier === source.systemIdentifier) throw new PgproofError('SCRATCH_IS_SOURCE')
  if (server.major < source.major)
    throw new PgproofError('SCRATCH_FAILED', {
      reason: `it runs PostgreSQL ${server.major}, the backup comes from ${source.major}`,
    })
}

/** As a report names it: `opened` is how it came, not what it is. */
export function scratchKind(settings: ScratchSettings): 'embedded' | 'server' {
  return settings.kind === 'opened' ? settings.opened.kind : settings.kind
}

/** One drill at a time on a server that is kept for drills: roles are shared by all its databases. */
const scratchLock = { classId: 0x70677072, objectId: 0x64726c } as const

async function openKeptServer(
  connection: Connection,
  source: ScratchSource,
  log: Log,
  signal: AbortSignal,
): Promise<ScratchServer> {
  const holder = await connect(connection, signal, 'pgproof drill')
  const state = { pid: 0, hasReplayed: false }
  try {
    const facts = await readServerFacts(holder.client, connection)
    assertTakes(facts, source)
    await takeLock(holder.client, scratchLock, 'the scratch server')
    const { rows } = await holder.client.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid')
    state.pid = rows[0]?.pid ?? 0
    // The lock is ours, so whatever carries the mark belongs to a drill that was killed.
    for (const name of await listScratchDatabases(connection, signal)) {
      log.warn({ database: name }, 'removed a scratch database that an interrupted drill had left')
      await dropScratchDatabase(connection, name, signal)
    }
    const { dropped, stuck } = await dropScratchRoles(holder.client)
    if (dropped.length > 0) log.warn({ roles: dropped }, 'removed roles that an interrupted drill had left')
    if (stuck.length > 0) log.warn({ roles: stuck }, stuckText)
    return {
      connection,
      version: facts.version,
      major: facts.major,
      systemIdentifier: facts.systemIdentifier,
      reach: { network: 'unknown', notIsolated: null },
      replayRoles: async (script, replaySignal) => {
        state.hasReplayed = true
        const isNoted = await prepareScratchRoles(holder.client)
        const note = (role: string) => noteScratchRole(holder.client, role)
        return await replayRoles(holder.client, script, replaySignal, isNoted ? note : undefined)
      },
      createDatabase: (name, properties, createSignal) =>
        createScratchDatabase(connection, name, properties, createSignal),
      [Symbol.asyncDispose]: async () => {
        // The lock goes with this connection, whatever happens to the roles.
        await using _holder = holder
        if (state.hasReplayed) await dropCreated(connection, state.pid, log)
      },
    }
  } catch (error) {
    await holder[Symbol.asyncDispose]()
    throw error
  }
}

/** They say nothing of the backup any more, and the next drill drops what this one could not: no reason for a verdict. */
async function dropCreated(connection: Connection, pid: number, log: Log): Promise<void> {
  try {
    // A cancelled drill has cancelled its connection's query; the drop needs one that nobody cancels.
    await using admin = await connect(connection, new AbortController().signal, 'pgproof drill')
    // Without the lock they may be those of the next drill already.
    const { rowCount } = await admin.client.query(
      "SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = $1 AND classid = $2 AND objid = $3 AND granted",
      [pid, scratchLock.classId, scratchLock.objectId],
    )
    if (rowCount === 0) throw new Error('the session that held its lock is gone')
    const { stuck } = await dropScratchRoles(admin.client)
    if (stuck.length > 0) log.warn({ roles: stuck }, stuckText)
  } catch (error) {
    log.warn({ reason: reasonOf(error) }, stuckText)
  }
}

const stuckText = 'roles of a drill could not be dropped from the scratch server; the next drill tries again'
