import { join } from 'node:path'
import type { CatalogBackup } from '../catalog/catalog.ts'
import { Checklist } from '../domain/checklist.ts'
import type { DrillTables } from '../domain/drill-tables.ts'
import { type PgproofError, toPgproofError } from '../errors.ts'
import { findProgram } from '../postgres/programs.ts'
import { restoreDump } from '../postgres/restore-dump.ts'
import { openSpool } from '../streams/spool.ts'
import { together } from '../streams/together.ts'
import { analyzeAndAsk, assertExtensions } from './after-restore.ts'
import { newLabel } from './commit-backup.ts'
import { compareWithEvidence, runOperatorChecks } from './compare-restored.ts'
import type { DrillParts, DrillRequest, DrillResult } from './drill-request.ts'
import { createPhases, type DrillFindings, judgeDrill, storeReport } from './drill-verdict.ts'
import { fetchDump } from './fetch-dump.ts'
import { pickForDrill, readRolesScript } from './pick-for-drill.ts'
import { checkSignature, readEvidence, readManifest } from './read-backup.ts'
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
  const checklist = new Checklist()
  const phases = createPhases(parts.clock, request.queuedSeconds, (phase) => parts.onProgress?.({ phase }))
  const findings: DrillFindings = { tables: null, serverVersion: null, rolesBackup: null, restoreMs: null }

  const climb = async (): Promise<void> => {
    // 1. Trust the manifest in the store, not the catalog, and only if a trusted signer vouches for it.
    const read = await checklist.run('manifest', () => readManifest(picked, parts.store, signal))
    if (request.trustedSigners === null) checklist.add('signature', 'skipped', 'no trusted signers are configured')
    else await checklist.run('signature', () => checkSignature(read, request.trustedSigners, parts.store, signal))
    const evidence = await checklist.run('evidence', () => readEvidence(read, request.keys, parts.store, signal))
    const { manifest } = read

    // 2. Room for the dump and the restored database, before anything is fetched.
    const databaseBytes = request.scratch.kind === 'embedded' ? (manifest.source.databaseBytes ?? 0) * 1.3 + 256e6 : 0
    await using spool = await openSpool(request.spoolRoot, manifest.dump.bytes + databaseBytes)
    const dumpFile = join(spool.folder, 'dump')

    // 3. Fetch, decrypt and check the dump while the scratch server starts. The clock of the restore time runs.
    const restoreStarted = parts.clock.monotonicMs()
    const opened = { scratch: undefined as Awaited<ReturnType<typeof openScratchServer>> | undefined }
    await using _scratch = { [Symbol.asyncDispose]: async () => await opened.scratch?.[Symbol.asyncDispose]() }
    await together<[unknown, unknown]>(signal, (branch) => [
      phases.time('fetch', () =>
        checklist.run('dump object', () =>
          fetchDump(read, request.keys, parts.store, dumpFile, branch, (doneBytes) =>
            parts.onProgress?.({ phase: 'fetch', doneBytes, totalBytes: manifest.objects.dump.bytes }),
          ),
        ),
      ),
      phases.time('scratch', () =>
        checklist.run('scratch server', async () => {
          const { bootstrapRole } = evidence.properties
          opened.scratch = await openScratchServer(request.scratch, read, bootstrapRole, spool.folder, parts, branch)
          findings.serverVersion = opened.scratch.version
        }),
      ),
    ])
    const { scratch } = opened
    if (scratch === undefined) throw new Error('together resolved without a scratch server')

    // 4. Roles first: owners and grants in the dump need them.
    await phases.time('roles', () =>
      checklist.run(
        'roles',
        async () => {
          const roles = await readRolesScript(manifest, request, parts, signal)
          if (roles === null) return null
          findings.rolesBackup = roles.label
          return await scratch.replayRoles(roles.script, signal)
        },
        (replayed) => (replayed === null ? 'no roles backup in the store' : `${replayed.created.length} roles created`),
      ),
    )

    // 5. A database that did not exist before and will not exist after; restored with owners and grants.
    const name = `pgproof_scratch_${label.toLowerCase().replace('-', '_')}`
    await using database = await scratch.createDatabase(name, evidence.properties, signal)
    const { connection } = database
    const program = await findProgram('pg_restore', scratch.major, request.binDirs, signal)
    await assertExtensions(connection, evidence.extensions, signal)
    await phases.time('restore', () =>
      checklist.run('restore', () => restoreDump({ connection, program, file: dumpFile, jobs: request.jobs }, signal)),
    )

    // 6. Statistics, then the first answer to a query: here the restore time ends.
    await analyzeAndAsk(connection, evidence.tables, phases, signal)
    findings.restoreMs = parts.clock.monotonicMs() - restoreStarted

    // 7. Exact counts and digests against exact counts and digests, then the operator's own questions.
    await phases.time('verify', async () => {
      const onTables = (tables: DrillTables): void => {
        findings.tables = tables
      }
      const comparison = { connection, evidence, drillLabel: label, connections: request.jobs, onTables }
      await compareWithEvidence(comparison, checklist, signal)
      await runOperatorChecks(connection, request.checks, evidence.snapshotTime, manifest.label, checklist, signal)
    })
  }

  let error: PgproofError | null = null
  try {
    await climb()
  } catch (thrown) {
    error = toPgproofError(signal.aborted ? signal.reason : thrown, 'the drill')
  }

  // 8. Passed, failed or inconclusive; the report says which check and why, and is stored either way.
  const judged = judgeDrill({ request, picked, label, startedAt, checklist, phases, findings, error, parts })
  const report = await storeReport(judged, { tables: findings.tables, error }, request, parts)
  return { report, tables: findings.tables, error }
}
