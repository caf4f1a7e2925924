import type { StoreFlags } from '../config/store-flags.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { readDrillKeys } from '../jobs/installation.ts'
import { runVerify, type VerifyResult } from '../jobs/verify.ts'
import type { Answer, CommandContext } from './context.ts'
import { checksTable } from './drill-page.ts'
import { type PlaceFlags, verdictTones } from './list.ts'
import { onlyStore, openConfig, openInstallation } from './open.ts'
import { printable } from './print.ts'
import { placeName } from './target.ts'

export type VerifyFlags = PlaceFlags & StoreFlags & { readonly from?: string }

/**
 * Everything about a backup that can be checked without a server, of every copy by itself. The exit code goes by the worst
 * verdict, as for a drill.
 */
export async function verifyCommand(context: CommandContext, label: string, flags: VerifyFlags): Promise<Answer> {
  const config = onlyStore(await openConfig(context, flags), flags.from)
  await using wired = await openInstallation(context, config, { writes: false, needsCatalog: true, usesSpool: true })
  const { installation } = wired
  const { catalog, stores } = installation
  const backup = catalog.find(label, flags)
  if (backup === undefined) throw catalog.absenceOf(label)
  const { keys, recipients, trustedSigners } = await readDrillKeys(installation, 'a verification')
  const place = placeName(backup.manifest)
  const request = { keys, recipients, trustedSigners, spoolRoot: config.drill.spool, binDirs: config.postgres.binDirs }

  const copies: { readonly store: string; readonly result: VerifyResult }[] = []
  for (const store of flags.from === undefined
    ? backup.copies.map((copy) => copy.store)
    : [stores.one(flags.from).name]) {
    using activity = context.progress.begin(`verification of ${place}${stores.named.length > 1 ? ` in ${store}` : ''}`)
    const parts = { ...installation, store: stores.reading([store]), onProgress: activity.update }
    copies.push({ store, result: await runVerify(backup, request, parts, context.signal) })
    if (context.signal.aborted) break
  }
  const worst = copies.reduce((one, other) =>
    badness[other.result.verdict] > badness[one.result.verdict] ? other : one,
  )
  const sections = copies.map(({ store, result: { verdict, checks } }) => {
    const where = stores.named.length > 1 ? `, store ${printable(store)}` : ''
    const title = `${context.paint(verdict.toUpperCase(), verdictTones[verdict])}  backup ${label} of ${printable(place)}${where}`
    return [title, '', checksTable({ checks: [...checks] }, context.paint)].join('\n')
  })
  const { verdict, checks, error } = worst.result
  const text = [...sections, meaning[verdict]].join('\n\n')
  const { server, database, kind, snapshotTime } = backup.manifest
  const document = {
    backup: { label, kind, server, database, snapshotTime },
    ...{ verdict, checks },
    copies: copies.map(({ store, result }) => ({ store, verdict: result.verdict, checks: result.checks })),
  }
  if (error === null) return { document, text }
  if (context.signal.aborted)
    return { document, text, error: toPgproofError(context.signal.reason, 'the verification') }
  if (verdict === 'inconclusive') return { document, text, error, exitCode: 14 }
  const check = checks.find(({ result }) => result === 'failed')?.name ?? ''
  const more = { cause: error, details: error.details }
  return { document, text, error: new PgproofError('VERIFY_FAILED', { label, check, reason: error.message }, more) }
}

const badness = { passed: 0, inconclusive: 1, failed: 2 } as const

const meaning = {
  passed: 'What is stored is whole and opens. That it restores, and holds the right rows, only a drill can show.',
  failed:
    'The stored backup is not what was written. Do not count on it. A prune goes by drills, not by this: until a drill has failed, it may keep this one and remove older ones.',
  inconclusive: 'The verification could not be carried out, which says nothing about the backup.',
} as const
