import type { StoreFlags } from '../config/store-flags.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { readDrillKeys } from '../jobs/installation.ts'
import { runVerify } from '../jobs/verify.ts'
import type { Answer, CommandContext } from './context.ts'
import { checksTable } from './drill-page.ts'
import { type PlaceFlags, verdictTones } from './list.ts'
import { openConfig, openInstallation } from './open.ts'
import { printable } from './print.ts'
import { placeName } from './target.ts'

export type VerifyFlags = PlaceFlags & StoreFlags

/** Everything about a backup that can be checked without a server. The exit code goes by the verdict, as for a drill. */
export async function verifyCommand(context: CommandContext, label: string, flags: VerifyFlags): Promise<Answer> {
  const config = await openConfig(context, flags)
  await using wired = await openInstallation(context, config, { writes: false, needsCatalog: true, usesSpool: true })
  const { installation } = wired
  const backup = installation.catalog.find(label, flags)
  if (backup === undefined) throw installation.catalog.absenceOf(label)
  const { keys, recipients, trustedSigners } = await readDrillKeys(installation, 'a verification')
  const place = placeName(backup.manifest)
  const request = { keys, recipients, trustedSigners, spoolRoot: config.drill.spool, binDirs: config.postgres.binDirs }

  const { verdict, checks, error } = await (async () => {
    using activity = context.progress.begin(`verification of ${place}`)
    const parts = { ...installation, onProgress: activity.update }
    return await runVerify(backup, request, parts, context.signal)
  })()
  const title = `${context.paint(verdict.toUpperCase(), verdictTones[verdict])}  backup ${label} of ${printable(place)}`
  const text = [title, '', checksTable({ checks: [...checks] }, context.paint), '', meaning[verdict]].join('\n')
  const { server, database, kind, snapshotTime } = backup.manifest
  const document = { backup: { label, kind, server, database, snapshotTime }, verdict, checks }
  if (error === null) return { document, text }
  if (context.signal.aborted)
    return { document, text, error: toPgproofError(context.signal.reason, 'the verification') }
  if (verdict === 'inconclusive') return { document, text, error, exitCode: 14 }
  const check = checks.find(({ result }) => result === 'failed')?.name ?? ''
  const more = { cause: error, details: error.details }
  return { document, text, error: new PgproofError('VERIFY_FAILED', { label, check, reason: error.message }, more) }
}

const meaning = {
  passed: 'What is stored is whole and opens. That it restores, and holds the right rows, only a drill can show.',
  failed: 'The stored backup is not what was written.',
  inconclusive: 'The verification could not be carried out, which says nothing about the backup.',
} as const
