import { compareWithEvidence } from '../compare/compare-restored.ts'
import { refusedSettingNote } from '../compare/compare-structure.ts'
import { Checklist } from '../domain/checklist.ts'
import type { DrillTables } from '../domain/drill-tables.ts'
import type { Evidence } from '../domain/evidence.ts'
import type { RestorePhase, RestoreResult } from '../domain/restore-result.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { connect, openSeveral } from '../postgres/connect.ts'
import { cronJobs } from '../postgres/cron-jobs.ts'
import { findProgramBetween } from '../postgres/programs.ts'
import { asideName, undoneName, undoStatements } from '../postgres/put-in-place.ts'
import { restoreDatabaseSettings } from '../postgres/replay-database-settings.ts'
import { createStaging, type Staging, stagingName } from '../postgres/staging-database.ts'
import { inspectTarget, lockTarget, type TargetServer } from '../postgres/target-database.ts'
import { checkContents } from '../stored/check-stored.ts'
import { analyzeAndAsk, assertExtensions, assertMonetary, whyUnreachable } from './after-restore.ts'
import { chooseBackup } from './choose-backup.ts'
import { clearUnfinished } from './clear-unfinished.ts'
import { fetchForRestore } from './fetched-dump.ts'
import { holdForRestore } from './hold-for-restore.ts'
import { namedRoles } from './named-roles.ts'
import { createPhases } from './phases.ts'
import { putInPlaceOrKeep } from './put-in-place-or-keep.ts'
import { restoreIntoNew } from './restore-into-new.ts'
import { bringMissingRoles } from './restore-missing-roles.ts'
import type { RestoreParts, RestoreRequest } from './restore-request.ts'
import { assertRoles, assertTarget, assertUnused, asTargetError, type Target } from './target-checks.ts'
import { readTrusted } from './trusted-backup.ts'
import { comparableWith } from './without-rights.ts'

/**
 * Restores one backup into a database that somebody needs. It is built under another name, and gets its own only when it
 * is whole; whatever fails before, or a cancel, leaves the target as it was. What was downloaded so far stays in the
 * spool, for the next try. Throws register errors.
 */
export async function runRestore(
  request: RestoreRequest,
  parts: RestoreParts,
  signal: AbortSignal,
): Promise<RestoreResult> {
  try {
    return await restore(request, parts, signal)
  } catch (thrown) {
    throw asTargetError(toPgproofError(signal.aborted ? signal.reason : thrown, 'the restore'))
  }
}

async function restore(request: RestoreRequest, parts: RestoreParts, signal: AbortSignal): Promise<RestoreResult> {
  const started = parts.clock.monotonicMs()
  const { owners, privileges } = request
  const { database } = request.target
  const checklist = new Checklist()
  const phases = createPhases<RestorePhase>(parts.clock, (phase) => parts.onProgress?.({ phase }))
  const notes: string[] = []

  // 1. Which backup; from here on no prune takes it away. Trust the manifest in the store only as far as signer,
  //    successors and evidence vouch for it.
  const chosen = chooseBackup(request, parts.catalog)
  await using _hold = await holdForRestore(chosen.backup, request, parts, signal)
  const { read, evidence, from, notes: passedOver } = await readTrusted(chosen, request, parts, checklist, signal)
  notes.push(...passedOver)
  const { manifest } = read

  // 2. Nothing in the way and nothing lacking at the target, before anything is made or fetched.
  const { server } = await inspectTarget(request.target, signal)
  await using _lock = await lockTarget(server, database, signal)
  notes.push(...(await removeUnfinished(server, manifest.label, database, signal)))
  const target = await inspectTarget(request.target, signal)
  const { existing } = target
  await assertTarget(target, request, manifest, signal)
  const name = stagingFor(target, manifest.label, evidence, database)
  assertUnused(target, request)
  const majors = { source: manifest.source.major, scratch: server.major }
  const within = { preferred: server.major, oldest: manifest.source.major }
  const program = await findProgramBetween('pg_restore', within, request.binDirs, signal)

  // 3. Roles that are missing, if asked for; without its roles a restore fails at its very end.
  const named = namedRoles(evidence, request)
  const given = new Set([...named.owners, ...named.grantors])
  await using roles = request.roles
    ? await phases.time('roles', () => bringMissingRoles(manifest, server, request, given, parts, signal))
    : null
  notes.push(...(roles?.notes ?? []))
  await assertRoles(server, evidence, request, signal)

  // 4. An empty database under another name: what this login may not do, or the server does not have, shows now.
  const create = (creating: AbortSignal): Promise<Staging> => {
    const asked = existing !== null && request.mode === 'empty' ? existing : null
    const properties = { ...(asked?.properties ?? evidence.properties), lcMonetary: evidence.properties.lcMonetary }
    const owner = asked !== null || owners ? properties.owner : null
    const tablespace = existing?.tablespace ?? null
    return createStaging(
      server,
      { name, label: manifest.label, into: database, properties, owner, tablespace },
      creating,
    )
  }
  const first = { staging: (await create(signal)) as Staging | null }
  await using _first = { [Symbol.asyncDispose]: async () => await first.staging?.[Symbol.asyncDispose]() }
  if (first.staging !== null) {
    await assertExtensions(first.staging.connection, evidence.extensions, signal)
    await assertMonetary(first.staging.connection, evidence, signal)
  }

  // 5. Fetch, decrypt and check the dump; an interrupted download goes on where it was.
  await using fetched = await phases.time('fetch', () =>
    fetchForRestore({ read, from }, request, { ...parts, notes }, checklist, signal),
  )
  const { file } = fetched
  await checklist.run('table of contents', () => checkContents({ program, file }, evidence, signal), String)

  // 6. All rows, then indexes, constraints and triggers; publications too, and subscriptions, which stay disabled.
  const subscriptions = evidence.structure.filter(({ kind }) => kind === 'subscription').map((one) => one.name)
  const bring = { owners, privileges, publications: true, subscriptions: server.isSuperuser, cronJobsLater: true }
  if (!server.isSuperuser && subscriptions.length > 0)
    notes.push(`left out, because only a superuser may create them: subscriptions ${subscriptions.join(', ')}`)
  const into = {
    create: async (creating: AbortSignal): Promise<Staging> => {
      const { staging } = first
      first.staging = null
      return staging ?? (await create(creating))
    },
    ...{ program, file, evidence, bring, jobs: request.jobs },
  }
  await using restored = await phases.time('restore', () =>
    checklist.run('restore', () => restoreIntoNew(into, signal)),
  )
  notes.push(...restored.notes)

  // 7. Statistics for the planner, the first answer to a query, the database's own settings and rights.
  notes.push(
    ...(await analyzeAndAsk(
      { connection: restored.connection, tables: evidence.tables, jobs: request.jobs },
      phases,
      signal,
    )),
  )
  const comparison = { tables: null as DrillTables | null, error: null as PgproofError | null }
  await using sessions = await openSeveral(request.verify ? Math.min(request.jobs, mostSessions) : 1, () =>
    connect(restored.connection, signal, 'pgproof verify'),
  )
  await checklist.run('database settings', async () => {
    const named = { sourceDatabase: evidence.database, scratchDatabase: name, privileges, isTolerant: true }
    const replayed = await restoreDatabaseSettings(server.admin, { program, file, ...named }, signal)
    notes.push(...replayed.refused.map(refusedSettingNote))
  })

  // 8. If asked: what a drill compares, object by object, count by count, digest by digest. pg_cron's jobs come last of
  //    all: as soon as they are there they run, and change what is compared. What differs is kept without them.
  const cron = { isWaiting: restored.bringCronJobs !== undefined }
  const bringCronJobs = async (): Promise<void> => {
    const { connection } = restored
    const parameters = { ...connection.parameters, ...(server.isSuperuser ? cronParameters : {}) }
    await restored.bringCronJobs?.({ ...connection, parameters }, signal)
    cron.isWaiting = false
  }
  if (request.verify)
    await phases.time('verify', async () => {
      const onTables = (tables: DrillTables): void => {
        comparison.tables = tables
      }
      const comparable = comparableWith(request)
      const question = {
        clients: sessions.clients,
        evidence,
        drillLabel: manifest.label,
        majors,
        notes,
        onTables,
        ...(cron.isWaiting ? { late: { table: cronJobs, bring: bringCronJobs } } : {}),
        ...(comparable === undefined ? {} : { comparable }),
      }
      await compareWithEvidence(question, checklist, signal).catch((error: unknown) => {
        if (!(error instanceof PgproofError && error.code === 'EVIDENCE_MISMATCH')) throw error
        restored.database.keep()
        const values = { reason: error.message, name }
        comparison.error = new PgproofError('RESTORED_DIFFERS', values, { cause: error, details: error.details })
      })
    })
  if (cron.isWaiting && comparison.error === null) await checklist.run('pg_cron jobs', bringCronJobs)
  if (cron.isWaiting) notes.push('left out, because pg_cron would run jobs in what differs: the rows of cron.job')
  await sessions[Symbol.asyncDispose]()
  notes.push(...(await whyUnreachable(restored.connection, signal)))

  // 9. The new database gets its name; the one that had it is renamed aside in the same transaction. What comes in the way
  //    meanwhile does not undo hours of work: then it is kept beside, to be put in place by hand.
  const keep = (): void => {
    restored.database.keep()
    roles?.keep()
  }
  const asideAs = asideName(database, parts.clock.now())
  const swap = {
    ...{ staging: name, database, comment: commentOf(evidence) },
    asideAs: existing === null || name === database ? null : asideAs,
    dropAside: request.mode === 'empty' || existing?.contents.length === 0,
    ...{ disconnect: request.disconnect, lastLook: parts.lastLook },
  }
  const put =
    comparison.error !== null
      ? comparison.error
      : await phases.time('swap', () => putInPlaceOrKeep(server, { swap, asideAs, keep }, signal))
  keep()
  const [aside, error] = put instanceof PgproofError ? [null, put] : [put, null]
  // The database is in its place, whatever becomes of a file.
  notes.push(...(await fetched.finish()))
  const outcome = outcomeOf(existing !== null, aside)
  if (outcome === 'filled' && existing !== null && existing.attached.length > 0)
    notes.push(
      `the empty database had ${existing.attached.join(', ')} of its own, which went with it; now there is what the backup has of these`,
    )

  return {
    backup: {
      label: manifest.label,
      server: manifest.server,
      database: evidence.database,
      snapshotTime: manifest.snapshotTime,
      version: manifest.source.version,
    },
    target: { server: server.address, database, version: server.version },
    outcome,
    aside: aside?.aside ?? null,
    undo:
      aside?.aside == null
        ? []
        : undoStatements({ database, aside: aside.aside, now: undoneName(database, parts.clock.now()) }),
    roles: roles === null ? null : { label: roles.label, created: roles.created, kept: roles.kept },
    phases: phases.results(),
    seconds: Math.round(parts.clock.monotonicMs() - started) / 1000,
    checks: checklist.results([]),
    tables: comparison.tables,
    counts: {
      tables: evidence.tables.length,
      rows: manifest.evidence?.rows ?? null,
      largeObjects: evidence.largeObjects.count,
    },
    omissions: evidence.omissions,
    schedulers: evidence.extensions
      .map((one) => one.name)
      .filter((one) => schedulers.has(one) && !(one === 'pg_cron' && cron.isWaiting)),
    subscriptions: server.isSuperuser ? subscriptions : [],
    notes,
    error,
  }
}

/**
 * The name that the database has while it is built. pg_cron works in one database of a server, which is named when the
 * server starts, so a database with it must be built under its own name.
 */
function stagingFor({ existing }: Target, label: string, { extensions }: Evidence, database: string): string {
  if (!extensions.some(({ name }) => name === 'pg_cron')) return stagingName(label, database)
  if (existing === null) return database
  const reason = `pg_cron works in one database of a server, so "${database}" must be restored under its own name: rename the one that is there, then restore with --create`
  throw new PgproofError('TARGET_FAILED', { reason })
}

/** What a restore of the same backup into the same database left when it was killed; others are only named. */
async function removeUnfinished(
  server: TargetServer,
  label: string,
  database: string,
  signal: AbortSignal,
): Promise<string[]> {
  const { dropped, left } = await clearUnfinished(server, database, (one) => one.label === label, signal)
  return [
    ...dropped.map(({ name }) => `removed database "${name}", which an interrupted restore had left, and began anew`),
    ...left.map(
      (one) => `database "${one.name}" is what an interrupted restore of ${one.label} left; --discard removes it`,
    ),
  ]
}

/** Each is a session on a server that serves others, too. */
const mostSessions = 8

function outcomeOf(isThere: boolean, swapped: { readonly aside: string | null } | null): RestoreResult['outcome'] {
  if (swapped === null) return 'kept apart'
  if (swapped.aside !== null) return 'replaced'
  return isThere ? 'filled' : 'created'
}

/**
 * The database has its own settings by then: one may name a library that this server lacks, another keep triggers from
 * firing, and pg_cron learns of its jobs by one.
 */
const cronParameters = { session_preload_libraries: '', session_replication_role: 'origin' }

/** Their jobs are rows, which are there again. */
const schedulers = new Set(['pg_cron', 'pgagent', 'pg_timetable', 'timescaledb'])

function commentOf({ structure }: Evidence): string | null {
  return structure.find(({ kind }) => kind === 'database')?.facets['comment'] ?? null
}
