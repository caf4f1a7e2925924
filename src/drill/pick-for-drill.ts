import { type Catalog, type CatalogBackup, storesOf } from '../catalog/catalog.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import { type PickQuestion, pickBackup } from '../domain/pick-backup.ts'
import { PgproofError } from '../errors.ts'
import type { DrillRequest } from './drill-request.ts'

/** The backup to drill. Throws LABEL_UNKNOWN or NO_BACKUP. */
export function pickForDrill(
  request: Pick<DrillRequest, 'server' | 'database' | 'backup' | 'rule' | 'seed' | 'withinMs'>,
  catalog: Catalog,
): CatalogBackup {
  const { server, database } = request
  const backups = catalog.backups({ server, database, kind: 'database' })
  if (request.backup !== null) {
    const named = backups.find(({ manifest }) => manifest.label === request.backup)
    if (named === undefined) throw catalog.absenceOf(request.backup)
    return named
  }
  if (backups.length === 0) throw new PgproofError('NO_BACKUP', { what: `${server}/${database}` })
  const candidates: PickQuestion['candidates'] = backups.map((backup) => ({
    label: backup.manifest.label,
    snapshotTime: new Date(backup.manifest.snapshotTime),
    lastDrilledAt: backup.lastDrilledAt,
    verifiedAt: backup.verifiedAt,
  }))
  const { label } = pickBackup({ candidates, rule: request.rule, seed: request.seed, withinMs: request.withinMs })
  return backups.find(({ manifest }) => manifest.label === label) as CatalogBackup
}

/**
 * The store whose copy is drilled: each in turn, since a copy that nobody reads proves nothing. The one from which this
 * backup was drilled longest ago, then a backup of this database; not one that could not be read last, if another could.
 * Throws USAGE_INVALID if the wanted one has no copy.
 */
export function storeForDrill(
  picked: CatalogBackup,
  { server, database, store }: Pick<DrillRequest, 'server' | 'database' | 'store'>,
  catalog: Catalog,
): string {
  const names = storesOf(picked)
  if (store !== null) {
    if (picked.copies.some((copy) => copy.store === store)) return store
    const reason = `store "${store}" has no copy of ${picked.manifest.label}; ${names.join(', ')} has`
    throw new PgproofError('USAGE_INVALID', { reason })
  }
  const drills = catalog.drills({ server, database })
  const ofPicked = drills.filter(({ backup }) => backup.label === picked.manifest.label)
  const drilledAgo = (reports: readonly DrillReport[], name: string): number => {
    const index = reports.findIndex((report) => report.store === name)
    return index === -1 ? reports.length : index
  }
  const isDown = (name: string): boolean =>
    catalog.standings().some((standing) => standing.name === name && standing.error !== null)
  return names.toSorted(
    (a, b) =>
      Number(isDown(a)) - Number(isDown(b)) ||
      drilledAgo(ofPicked, b) - drilledAgo(ofPicked, a) ||
      drilledAgo(drills, b) - drilledAgo(drills, a),
  )[0] as string
}
