import { join } from 'node:path'
import type { CatalogBackup } from '../catalog/catalog.ts'
import { Checklist, verdictOf } from '../domain/checklist.ts'
import type { CheckResult, Verdict } from '../domain/drill-report.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { findProgram } from '../postgres/programs.ts'
import { listArchive, readWholeArchive } from '../postgres/restore-dump.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { measureBytes } from '../streams/measure.ts'
import { openSpool } from '../streams/spool.ts'
import type { DrillParts, DrillRequest } from './drill-request.ts'
import { fetchDump } from './fetch-dump.ts'
import { readRolesOf } from './pick-for-drill.ts'
import { checkSignature, type ReadManifest, readEvidence, readManifest } from './read-backup.ts'

export type VerifyRequest = Pick<DrillRequest, 'keys' | 'trustedSigners' | 'spoolRoot' | 'binDirs'>

export type VerifyResult = {
  readonly label: string
  readonly verdict: Verdict
  readonly checks: readonly CheckResult[]
  readonly error: PgproofError | null
}

const databaseRungs = [
  'manifest',
  'signature',
  'recovery guide',
  'evidence',
  'dump object',
  'table of contents',
  'archive',
] as const
const rolesRungs = ['manifest', 'signature', 'recovery guide', 'roles object'] as const

/** The rungs of the ladder that need no server: everything up to an archive of which every block can be read. */
export async function runVerify(
  backup: CatalogBackup,
  request: VerifyRequest,
  parts: Pick<DrillParts, 'store' | 'onProgress'>,
  signal: AbortSignal,
): Promise<VerifyResult> {
  const checklist = new Checklist()
  const climb = async (): Promise<void> => {
    const read = await checklist.run('manifest', () => readManifest(backup, parts.store, signal))
    if (request.trustedSigners === null) checklist.add('signature', 'skipped', 'no trusted signers are configured')
    else await checklist.run('signature', () => checkSignature(read, request.trustedSigners, parts.store, signal))
    if (read.manifest.kind === 'roles') {
      await checklist.run('recovery guide', () => checkRecoveryGuide(read, parts.store, signal))
      await checklist.run('roles object', () => readRolesOf(read, request.keys, parts.store, signal))
      return
    }
    await checklist.run('recovery guide', () => checkRecoveryGuide(read, parts.store, signal))
    const evidence = await checklist.run('evidence', () => readEvidence(read, request.keys, parts.store, signal))
    await using spool = await openSpool(request.spoolRoot, read.manifest.dump.bytes)
    const file = join(spool.folder, 'dump')
    await checklist.run('dump object', () =>
      fetchDump(read, request.keys, parts.store, file, signal, (doneBytes) =>
        parts.onProgress?.({ phase: 'fetch', doneBytes, totalBytes: read.manifest.objects.dump.bytes }),
      ),
    )
    const program = await findProgram('pg_restore', read.manifest.source.major, request.binDirs, signal)
    await checklist.run(
      'table of contents',
      async () => (await listArchive(program, file, signal)).filter((line) => / TABLE DATA /.test(line)).length,
      (tables) => `data of ${tables} tables in the archive, ${evidence.tables.length} tables in the evidence`,
    )
    parts.onProgress?.({ phase: 'archive' })
    await checklist.run('archive', () => readWholeArchive(program, file, signal))
  }
  let error: PgproofError | null = null
  try {
    await climb()
  } catch (thrown) {
    error = toPgproofError(signal.aborted ? signal.reason : thrown, 'the verification')
  }
  const wanted = backup.manifest.kind === 'roles' ? rolesRungs : databaseRungs
  return {
    label: backup.manifest.label,
    verdict: error === null ? 'passed' : verdictOf(error),
    checks: checklist.results(wanted),
    error,
  }
}

async function checkRecoveryGuide(
  { manifest, folder }: ReadManifest,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<void> {
  const { name, sha256 } = manifest.objects.recovery
  const key = `${folder}${name}`
  if (measureBytes(await store.get(key, { signal })).sha256 !== sha256)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'its SHA-256 is not the one in the manifest' })
}
