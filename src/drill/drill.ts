import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type CatalogBackup, storesOf } from '../catalog/catalog.ts'
import { compareWithEvidence } from '../compare/compare-restored.ts'
import { refusedSettingNote } from '../compare/compare-structure.ts'
import { Checklist } from '../domain/checklist.ts'
import type { DrillPhase } from '../domain/drill-report.ts'
import type { DrillTables } from '../domain/drill-tables.ts'
import { type PgproofError, toPgproofError } from '../errors.ts'
import { newLabel } from '../parts.ts'
import { type CheckedIndexes, checkIndexes } from '../postgres/amcheck.ts'
import { connect, openSeveral } from '../postgres/connect.ts'
import { findProgram } from '../postgres/programs.ts'
import { restoreDatabaseSettings } from '../postgres/replay-database-settings.ts'
import { analyzeAndAsk } from '../restore/after-restore.ts'
import { createPhases } from '../restore/phases.ts'
import { restoreIntoNew } from '../restore/restore-into-new.ts'
import { checkContents, climbToRecipients } from '../stored/check-stored.ts'
import { fetchDump } from '../stored/fetch-dump.ts'
import { holdBackups } from '../stored/hold-backup.ts'
import { readEvidence, readObject } from '../stored/read-backup.ts'
import { chooseRolesBackup } from '../stored/read-roles.ts'
import { openSpool } from '../streams/spool.ts'
import { together } from '../streams/together.ts'
import { climbRoles } from './climb-roles.ts'
import type { DrillParts, DrillRequest, DrillResult } from './drill-request.ts'
import { type DrillFindings, judgeDrill, storeReport } from './drill-verdict.ts'
import { runOperatorChecks } from './operator-checks.ts'
import { pickForDrill, storeForDrill } from './pick-for-drill.ts'
import { openScratchServer } from './scratch.ts'

/**
 * Restores one backup into a scratch server and shows that it holds what the database held. Whatever happens ends in a
 * stored report: failed where the backup is to blame, inconclusive where the drill could not be carried out. Throws
 * only if there is nothing to drill (NO_BACKUP, LABEL_UNKNOWN) or the report cannot be stored.
 */
export async function runDrill(request: DrillRequest, parts: DrillParts, signal: AbortSignal): Promise<DrillResult> {
  const startedAt = parts.clock.now()
  const label = newLabel(parts)
  const picked: CatalogBackup = pickForDrill(request, parts.catalog)
  const copy = storeForDrill(picked, request, parts.catalog)
  // Only this copy: what another store has proves nothing of it.
  const reading = { ...parts, store: parts.stores.reading([copy]) }
  const checklist = new Checklist(signal)
  const phases = createPhases<DrillPhase>(parts.clock, (phase) => parts.onProgress?.({ phase }))
  const findings: DrillFindings = {
    tables: null,
    serverVersion: null,
    reach: null,
    rolesBackup: null,
    restoreMs: null,
    notes: [],
  }

  const climb = async (): Promise<void> => {
    // 1. No prune takes away what is read from here on. Trust the manifest in the store, not the catalog, and only as far
    //    as signer, successors and evidence vouch for it.
    const roles = request.rolesBackup ?? chooseRolesBackup(picked.manifest, parts.catalog)
    const held = roles === undefined ? [picked] : [picked, roles]
    const from = [copy, ...held.flatMap((backup) => storesOf(backup, copy).slice(0, 1))]
    await using _hold = await holdBackups(held, { by: 'drill', from }, parts, signal)
    const { read, evidence } = await climbToRecipients(picked, request, readEvidence, reading, checklist, signal)
    const { manifest } = read
    await checklist.run('recovery guide', () => readObject(read, manifest.objects.recovery, reading.store, signal))

    const { scratch: place } = request
    const ownName = `pgproof_scratch_${label.toLowerCase().replace('-', '_')}`
    const name = place.kind === 'opened' ? place.databaseName : ownName

    // 2. Room for the dump and the restored database, before anything is fetched.
    const databaseBytes = request.scratch.kind === 'embedded' ? (manifest.source.databaseBytes ?? 0) * 1.3 + 256e6 : 0
    await using spool = await openSpool(request.spoolRoot, manifest.dump.bytes + databaseBytes)
    const dumpFile = join(spool.folder, 'dump')

    // 3. Fetch, decrypt and check the dump while the scratch server starts. The clock of the restore time runs.
    const restoreStarted = parts.clock.monotonicMs()
    const totalBytes = manifest.objects.dump.bytes
    const onBytes = (doneBytes: number): void => parts.onProgress?.({ phase: 'fetch', doneBytes, totalBytes })
    const opened = { scratch: undefined as Awaited<ReturnType<typeof openScratchServer>> | undefined }
    await using _scratch = { [Symbol.asyncDispose]: async () => await opened.scratch?.[Symbol.asyncDispose]() }
    await together<[unknown, unknown]>(signal, (branch) => [
      phases.time('fetch', () =>
        fetchDump({ read, keys: request.keys, store: reading.store, file: dumpFile, onBytes }, checklist, branch),
      ),
      phases.time('scratch', () =>
        checklist.run('scratch server', async () => {
          const { bootstrapRole } = evidence.properties
          const cronDatabase = evidence.extensions.some((one) => one.name === 'pg_cron') ? name : undefined
          const settings = { ...request.scratch, cronDatabase }
          opened.scratch = await openScratchServer(
            settings,
            manifest.source,
            bootstrapRole,
            spool.folder,
            parts,
            branch,
          )
          findings.serverVersion = opened.scratch.version
          findings.reach = opened.scratch.reach
        }),
      ),
    ])
    const { scratch } = opened
    assert(scratch !== undefined, 'together resolved without a scratch server')

    const program = await findProgram('pg_restore', scratch.major, request.binDirs, signal)
    const archive = { program, file: dumpFile }
    await checklist.run('table of contents', () => checkContents(archive, evidence, signal), String)

    // 4. Roles first: owners and grants in the dump need them. They are what they were, or this is where it ends.
    await phases.time('roles', () =>
      climbRoles({ manifest, copy, scratch, findings }, request, parts, checklist, signal),
    )

    // 5. A database that did not exist before and will not exist after; restored with owners and grants.
    const create = (creating: AbortSignal) => scratch.createDatabase(name, evidence.properties, creating)
    const into = { ...archive, create, evidence, jobs: request.jobs }
    await using restored = await phases.time('restore', () =>
      checklist.run('restore', () => restoreIntoNew(into, signal), notesText),
    )
    const { connection } = restored
    findings.notes.push(...restored.notes)

    // 6. Statistics, then the first answer to a query: here the restore time ends.
    findings.notes.push(
      ...(await analyzeAndAsk({ connection, tables: evidence.tables, jobs: request.jobs }, phases, signal)),
    )
    findings.restoreMs = parts.clock.monotonicMs() - restoreStarted

    // 7. Object by object, count by count, digest by digest; then the operator's own questions, under the database's
    //    own settings. These come only now: they could keep our sessions from seeing everything, or from being opened.
    await phases.time('verify', async () => {
      await using sessions = await openSeveral(request.jobs, () => connect(connection, signal, 'pgproof verify'))
      const named = { sourceDatabase: evidence.database, scratchDatabase: name }
      await checklist.run('database settings', async () => {
        const replayed = await restoreDatabaseSettings(scratch.connection, { ...archive, ...named }, signal)
        findings.notes.push(...replayed.refused.map(refusedSettingNote))
      })
      const majors = { source: manifest.source.major, scratch: scratch.major }
      const comparison = { clients: sessions.clients, evidence, drillLabel: label, majors, notes: findings.notes }
      const onTables = (tables: DrillTables): void => {
        findings.tables = tables
      }
      await compareWithEvidence({ ...comparison, onTables }, checklist, signal)
      await runOperatorChecks(connection, request.checks, evidence.snapshotTime, manifest.label, checklist, signal)
      if (request.amcheck)
        await checklist.run('amcheck', () => checkIndexes(connection, manifest.label, signal), amcheckText)
    })
  }

  let error: PgproofError | null = null
  try {
    await climb()
  } catch (thrown) {
    // What was found before anybody broke the drill off holds, even if that happened while all was cleaned up.
    error = checklist.failure ?? toPgproofError(signal.aborted ? signal.reason : thrown, 'the drill')
  }

  // 8. Passed, failed or inconclusive; the report says which check and why, and is stored either way.
  const judged = judgeDrill({ request, picked, copy, label, startedAt, checklist, phases, findings, error, parts })
  const { tables, notes } = findings
  const report = await storeReport(judged, { tables, notes, error }, request, parts)
  return { report, tables, error }
}

function notesText({ notes }: { readonly notes: readonly string[] }): string | null {
  if (notes.length === 0) return null
  return `${notes.length} ${notes.length === 1 ? 'message' : 'messages'} of pg_restore, in the notes`
}

function amcheckText({ tables, indexes }: CheckedIndexes): string {
  return `${tables} tables and ${indexes} indexes, every page as it should be`
}
