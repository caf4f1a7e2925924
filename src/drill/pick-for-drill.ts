import type { Catalog, CatalogBackup } from '../catalog/catalog.ts'
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
