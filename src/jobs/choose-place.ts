import type { Catalog } from '../catalog/catalog.ts'
import { PgproofError } from '../errors.ts'
import type { Installation } from './installation.ts'

/** The database to drill, and among how many it was chosen because its proof is the oldest. */
export type ChosenPlace = {
  readonly server: string
  readonly database: string
  /** 1 where there was nothing to choose. */
  readonly among: number
  /** When a drill of it last passed; null for never. */
  readonly lastPassedAt: Date | null
}

type Place = Pick<ChosenPlace, 'server' | 'database'>

/**
 * The database to drill: the one named, that of the named backup, the only one there is, or the one with the oldest
 * proof. Throws NO_BACKUP, LABEL_UNKNOWN, or USAGE_INVALID for the label of a roles backup.
 */
export function choosePlace(
  target: { readonly server: string; readonly database: string | null } | undefined,
  label: string | undefined,
  { catalog, config }: Pick<Installation, 'catalog' | 'config'>,
): ChosenPlace {
  const only = (place: Place): ChosenPlace => ({ ...place, among: 1, lastPassedAt: null })
  if (target !== undefined && target.database !== null)
    return only({ server: target.server, database: target.database })
  if (label !== undefined) return only(placeOfBackup(label, target?.server, catalog))
  const configured = new Set(target === undefined ? config.servers.map(({ name }) => name) : [target.server])
  const places = catalog.databases().filter(({ server }) => configured.has(server))
  const ordered = places
    .map((place) => ({ ...place, ...lastDrills(place, catalog) }))
    .toSorted((a, b) => a.passedMs - b.passedMs || a.triedMs - b.triedMs)
  const [oldest] = ordered
  if (oldest === undefined)
    throw new PgproofError('NO_BACKUP', { what: target === undefined ? 'any configured database' : target.server })
  const { server, database, passedMs } = oldest
  return { server, database, among: ordered.length, lastPassedAt: passedMs === 0 ? null : new Date(passedMs) }
}

/** 0 for a drill that never was. */
function lastDrills(place: Place, catalog: Catalog): { readonly passedMs: number; readonly triedMs: number } {
  const drills = catalog.drills(place)
  const passed = drills.find(({ verdict }) => verdict === 'passed')
  const time = (report: { finishedAt: string } | undefined): number =>
    report === undefined ? 0 : Date.parse(report.finishedAt)
  return { passedMs: time(passed), triedMs: time(drills[0]) }
}

function placeOfBackup(label: string, of: string | undefined, catalog: Catalog): Place {
  const found = catalog.find(label, { server: of })
  if (found === undefined) throw new PgproofError('LABEL_UNKNOWN', { label })
  const { server, database } = found.manifest
  if (database === null)
    throw new PgproofError('USAGE_INVALID', {
      reason: `${label} is a roles backup; drills restore databases and replay the roles with them`,
    })
  return { server, database }
}
