import { join } from 'node:path'
import type { CatalogBackup } from '../catalog/catalog.ts'
import { Checklist, rungs, verdictOf } from '../domain/checklist.ts'
import type { CheckResult, Verdict } from '../domain/drill-report.ts'
import type { DrillParts, DrillRequest } from '../drill/drill-request.ts'
import { type PgproofError, toPgproofError } from '../errors.ts'
import { findProgram } from '../postgres/programs.ts'
import { readWholeArchive } from '../postgres/restore-dump.ts'
import { checkContents, climbToRecipients, type StoredRequest } from '../stored/check-stored.ts'
import { fetchDump } from '../stored/fetch-dump.ts'
import { holdBackups } from '../stored/hold-backup.ts'
import { readEvidence, readObject, readRolesEvidence } from '../stored/read-backup.ts'
import { readRolesScript } from '../stored/read-roles.ts'
import { openSpool } from '../streams/spool.ts'

export type VerifyRequest = StoredRequest & Pick<DrillRequest, 'spoolRoot' | 'binDirs'>

export type VerifyResult = {
  readonly label: string
  readonly verdict: Verdict
  readonly checks: readonly CheckResult[]
  readonly error: PgproofError | null
}

type VerifyParts = Pick<DrillParts, 'store' | 'stores' | 'catalog' | 'clock' | 'log' | 'onProgress'>

const rolesRungs = rungs.slice(0, rungs.indexOf('table of contents'))
const databaseRungs = [...rolesRungs, 'table of contents', 'archive']

/** The rungs of the ladder that need no server: everything up to an archive of which every block can be read. */
export async function runVerify(
  backup: CatalogBackup,
  request: VerifyRequest,
  parts: VerifyParts,
  signal: AbortSignal,
): Promise<VerifyResult> {
  const checklist = new Checklist(signal)
  const isRoles = backup.manifest.kind === 'roles'
  let error: PgproofError | null = null
  try {
    await using _hold = await holdBackups([backup], { by: 'verification' }, parts, signal)
    if (isRoles) await verifyRoles(backup, request, parts, checklist, signal)
    else await verifyDatabase(backup, request, parts, checklist, signal)
  } catch (thrown) {
    error = checklist.failure ?? toPgproofError(signal.aborted ? signal.reason : thrown, 'the verification')
  }
  return {
    label: backup.manifest.label,
    verdict: error === null ? 'passed' : verdictOf(error),
    checks: checklist.results(isRoles ? rolesRungs : databaseRungs),
    error,
  }
}

type Climb = (
  backup: CatalogBackup,
  request: VerifyRequest,
  parts: VerifyParts,
  checklist: Checklist,
  signal: AbortSignal,
) => Promise<void>

const verifyRoles: Climb = async (backup, request, parts, checklist, signal) => {
  const { store } = parts
  const { read } = await climbToRecipients(backup, request, readRolesEvidence, parts, checklist, signal)
  const { recovery, dump } = read.manifest.objects
  await checklist.run('recovery guide', () => readObject(read, recovery, store, signal))
  // In memory: the script holds password verifiers.
  await checklist.run('SHA-256', () => readObject(read, dump, store, signal))
  await checklist.run('decryption', () => readRolesScript(read, request.keys, store, signal))
}

const verifyDatabase: Climb = async (backup, request, parts, checklist, signal) => {
  const { keys, spoolRoot, binDirs } = request
  const { store } = parts
  const { read, evidence } = await climbToRecipients(backup, request, readEvidence, parts, checklist, signal)
  const { manifest } = read
  await checklist.run('recovery guide', () => readObject(read, manifest.objects.recovery, store, signal))
  await using spool = await openSpool(spoolRoot, manifest.dump.bytes)
  const file = join(spool.folder, 'dump')
  const totalBytes = manifest.objects.dump.bytes
  const onBytes = (doneBytes: number): void => parts.onProgress?.({ phase: 'fetch', doneBytes, totalBytes })
  await fetchDump({ read, keys, store, file, onBytes }, checklist, signal)
  const program = await findProgram('pg_restore', manifest.source.major, binDirs, signal)
  await checklist.run('table of contents', () => checkContents({ program, file }, evidence, signal), String)
  parts.onProgress?.({ phase: 'archive' })
  await checklist.run('archive', () => readWholeArchive(program, file, signal))
}
