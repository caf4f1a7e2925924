import { isLabel } from '../domain/backup-label.ts'
import {
  type BackupPlace,
  backupFolder,
  backupsPrefix,
  drillReportKey,
  drillsPrefix,
  fullDrillsPrefix,
  pauseKey,
  pausesPrefix,
  pruneRecordKey,
  prunesPrefix,
  rolesPrefix,
  unescapeName,
} from '../storage/object-keys.ts'

/** Tells which backup a folder is of (ending in a slash); undefined for one that pgproof never makes. */
export function placesOfFolders(): (folder: string) => BackupPlace | undefined {
  // A store has few places, and thousands of folders in each.
  const known = new Map<string, Omit<BackupPlace, 'label'> | undefined>()
  return (folder) => {
    const start = folder.lastIndexOf('/', folder.length - 2) + 1
    const label = folder.slice(start, -1)
    if (!isLabel(label)) return undefined
    const parent = folder.slice(0, start)
    if (!known.has(parent)) known.set(parent, placeOfParent(parent))
    const place = known.get(parent)
    return place === undefined ? undefined : { ...place, label }
  }
}

/** Where the folders of the backups of one place are. */
function placeOfParent(parent: string): Omit<BackupPlace, 'label'> | undefined {
  const parts = parent.split('/')
  const server = unescapeName(parts[1] ?? '')
  if (server === undefined) return undefined
  if (parent.startsWith(rolesPrefix) && parts.length === 3) return { kind: 'roles', server, database: null }
  const database = unescapeName(parts[2] ?? '')
  if (!parent.startsWith(backupsPrefix) || parts.length !== 4 || database === undefined) return undefined
  return { kind: 'database', server, database }
}

/** Whether a manifest, report or record found at `key` says of itself that it belongs there. */
export function isOwnFolder(key: string, described: BackupPlace): boolean {
  if ((described.kind === 'roles') !== (described.database === null)) return false
  return key.slice(0, key.lastIndexOf('/') + 1) === backupFolder(described)
}

/** Whether the key is of a drill's report (and not of its encrypted tables). */
export function isDrillReportKey(key: string): boolean {
  return key.startsWith(drillsPrefix) && key.endsWith('.json')
}

export function isOwnDrillKey(key: string, report: { server: string; database: string; label: string }): boolean {
  return key === drillReportKey(report.server, report.database, report.label)
}

export type FullDrillPlace = { readonly server: string; readonly label: string }

/** Of which full drill the report under this key is; undefined for anything else, its signature for one. */
export function placeOfFullDrill(key: string): FullDrillPlace | undefined {
  const [prefix, escaped, name, ...others] = key.split('/')
  const server = unescapeName(escaped ?? '')
  const label = name?.replace(/\.json$/, '')
  if (`${prefix}/` !== fullDrillsPrefix || server === undefined || label === undefined || others.length > 0) return
  return name !== label && isLabel(label) ? { server, label } : undefined
}

export function isPruneRecordKey(key: string): boolean {
  return key.startsWith(prunesPrefix) && key.endsWith('.json')
}

export function isOwnPruneKey(key: string, record: { label: string }): boolean {
  return key === pruneRecordKey(record.label)
}

export function isPauseKey(key: string): boolean {
  return key.startsWith(pausesPrefix) && key.endsWith('.json')
}

export function isOwnPauseKey(key: string, document: { label: string }): boolean {
  return key === pauseKey(document.label)
}
