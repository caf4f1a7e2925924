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

/** Which backup a folder is of (ending in a slash); undefined for one that pgproof never makes. */
export function placeOfFolder(folder: string): BackupPlace | undefined {
  const parts = folder.split('/')
  const label = parts.at(-2)
  const server = unescapeName(parts[1] ?? '')
  if (label === undefined || !isLabel(label) || server === undefined) return undefined
  if (folder.startsWith(rolesPrefix) && parts.length === 4) return { kind: 'roles', server, database: null, label }
  const database = unescapeName(parts[2] ?? '')
  if (!folder.startsWith(backupsPrefix) || parts.length !== 5 || database === undefined) return undefined
  return { kind: 'database', server, database, label }
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

/** Of which full drill the report under this key is; undefined for anything else, its signature for one. */
export function placeOfFullDrill(key: string): { readonly server: string; readonly label: string } | undefined {
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
