/** Where each object lives under the store's prefix; docs/format.md is the same in prose. */

export const storeMarkerKey = 'pgproof.json'

export const objectNames = {
  manifest: 'manifest.json',
  signature: 'manifest.json.sig',
  recovery: 'RECOVERY.md',
  evidence: 'evidence.json.pgp',
  dumpZstd: 'dump.zst.pgp',
  dump: 'dump.pgp',
  roles: 'roles.sql.pgp',
} as const

const ownNames: ReadonlySet<string> = new Set(Object.values(objectNames))

/** Whether pgproof puts an object of this name into the folder of a backup; whatever else is there is somebody's own. */
export function isOwnName(name: string): boolean {
  return ownNames.has(name)
}

/** Ends in a slash, so that `app` never matches `app_staging`. */
export const backupsPrefix = 'backups/'
export const rolesPrefix = 'roles/'
export const drillsPrefix = 'drills/'
export const fullDrillsPrefix = 'full-drills/'
export const prunesPrefix = 'prunes/'
/** Probes of `check`. */
export const checksPrefix = 'checks/'
export const holdsPrefix = 'holds/'
export const pausesPrefix = 'pauses/'

export type BackupPlace = {
  readonly kind: 'database' | 'roles'
  readonly server: string
  readonly database: string | null
  readonly label: string
}

/** Where manifests, and reports of drills, of one place lie: what is said of it. Each ends in a slash. */
export function documentPrefixes({ kind, server, database }: Omit<BackupPlace, 'label'>): readonly string[] {
  // Whose roles a database backup needs is known only while its manifest can be read.
  if (kind === 'roles') return [rolesPrefix, backupsPrefix].map((prefix) => `${prefix}${escapeName(server)}/`)
  const inside = `${escapeName(server)}/${escapeName(database ?? '')}/`
  return [`${backupsPrefix}${inside}`, `${drillsPrefix}${inside}`]
}

/** The folder of one backup, ending in a slash. */
export function backupFolder(place: BackupPlace): string {
  // Many are remembered, and in V8 a text that a template put together stays a tree of its pieces, three times as large.
  return [backupPrefix(place), place.label, '/'].join('')
}

/** Where the folders of all backups of one place are, ending in a slash. */
export function backupPrefix({ kind, server, database }: Omit<BackupPlace, 'label'>): string {
  return kind === 'roles'
    ? `${rolesPrefix}${escapeName(server)}/`
    : `${backupsPrefix}${escapeName(server)}/${escapeName(database ?? '')}/`
}

export function drillReportKey(server: string, database: string, label: string): string {
  return `${drillsPrefix}${escapeName(server)}/${escapeName(database)}/${label}.json`
}

/** The detached signature of a drill report. */
export function drillSignatureKey(server: string, database: string, label: string): string {
  return `${drillReportKey(server, database, label)}.sig`
}

/** The table-by-table part of a drill report, encrypted like the evidence because it names tables. */
export function drillTablesKey(server: string, database: string, label: string): string {
  return `${drillsPrefix}${escapeName(server)}/${escapeName(database)}/${label}.tables.json.pgp`
}

/** The same, from the key of the report. */
export function tablesKeyOf(reportKey: string): string {
  return reportKey.replace(/\.json$/, '.tables.json.pgp')
}

/** The report of a full drill: of a whole server. Its detached signature is beside it, with `.sig` at the end. */
export function fullDrillReportKey(server: string, label: string): string {
  return `${fullDrillsPrefix}${escapeName(server)}/${label}.json`
}

export function pruneRecordKey(label: string): string {
  return `${prunesPrefix}${label}.json`
}

/** Of a pause of schedules, or of its end. */
export function pauseKey(label: string): string {
  return `${pausesPrefix}${label}.json`
}

/** Of a note that backups are being read. `id` is a UUID: such an object is never written over. */
export function holdKey(id: string): string {
  return `${holdsPrefix}${id}.json`
}

export function isHoldKey(key: string): boolean {
  return (
    key.startsWith(holdsPrefix) &&
    /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json$/.test(key.slice(holdsPrefix.length))
  )
}

/**
 * A server's or database's name as one path segment: lower-case letters, digits, `_` and `-` stand for themselves,
 * every other byte of its UTF-8 is `=` and two upper-case hex digits. Upper case is escaped as well, so two names
 * that differ only by case stay apart on file systems that fold it; no result is `.`, `..` or empty.
 */
export function escapeName(name: string): string {
  // Most names, asked for tens of thousands of times.
  if (/^[a-z0-9_-]+$/.test(name)) return name
  let escaped = ''
  for (const byte of Buffer.from(name, 'utf8')) {
    const character = String.fromCharCode(byte)
    escaped += /[a-z0-9_-]/.test(character) ? character : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return escaped === '' ? '=' : escaped
}

/** The inverse of `escapeName`; undefined for anything it does not produce. */
export function unescapeName(escaped: string): string | undefined {
  if (escaped === '=') return ''
  if (!/^(?:[a-z0-9_-]|=[0-9A-F]{2})+$/.test(escaped)) return undefined
  const bytes: number[] = []
  for (let index = 0; index < escaped.length; index += 1) {
    if (escaped[index] === '=') {
      bytes.push(Number.parseInt(escaped.slice(index + 1, index + 3), 16))
      index += 2
    } else bytes.push(escaped.charCodeAt(index))
  }
  const name = Buffer.from(bytes).toString('utf8')
  return escapeName(name) === escaped ? name : undefined
}
