import type { Prune } from '../domain/prune-record.ts'
import { PgproofError } from '../errors.ts'
import { objectNames } from '../storage/object-keys.ts'
import type { DamagedObject } from './contents.ts'

/** What is wrong with the manifest or the report of that label, if it does not count. */
export function damageOf(label: string, damaged: readonly DamagedObject[]): PgproofError | undefined {
  const names = [`/${label}/${objectNames.manifest}`, `/${label}.json`]
  return damaged.find(({ key }) => names.some((name) => key.endsWith(name)))?.error
}

/** Why there is no backup of that label to be had: it is damaged, was pruned, or is not known. */
export function absenceOf(label: string, damaged: readonly DamagedObject[], prunes: readonly Prune[]): PgproofError {
  const prune = prunes.find(({ removed }) => removed.some((one) => one.label === label))
  return (
    damageOf(label, damaged) ??
    (prune === undefined
      ? new PgproofError('LABEL_UNKNOWN', { label })
      : new PgproofError('BACKUP_PRUNED', { label, at: prune.at }))
  )
}
