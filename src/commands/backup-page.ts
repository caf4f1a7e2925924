import type { CatalogBackup } from '../catalog/catalog.ts'
import type { Evidence } from '../domain/evidence.ts'
import type { Manifest } from '../domain/manifest.ts'
import type { ListedDrill } from './documents.ts'
import { drillTable } from './list.ts'
import {
  type Cell,
  counted,
  formatAge,
  formatBytes,
  formatCount,
  formatInstant,
  formatPairs,
  formatSeconds,
  formatTable,
  heading,
  type Painter,
  printable,
} from './print.ts'
import { placeName } from './target.ts'
import { evidenceText, omissionText, proofCell } from './wording.ts'

/** A backup, but for where its copies are. */
type ShownBackup = Pick<
  CatalogBackup,
  'manifest' | 'manifestSha256' | 'folder' | 'storedBytes' | 'snapshotTime' | 'hasSignature'
> &
  Pick<CatalogBackup, 'faults' | 'verifiedAt' | 'lastDrilledAt' | 'lastVerdict' | 'isKnownBad'>

export type BackupPage = {
  readonly backup: ShownBackup
  /** Newest first. */
  readonly drills: readonly ListedDrill[]
  /** `daily 2026-11-20`; null where no policy decides about this backup, empty where none keeps it; undefined where
   * nobody said. */
  readonly keepReasons: readonly string[] | null | undefined
  /** `valid`, or what is wrong with it; null where no signature is demanded. */
  readonly signature: string | null
  /** Null without a private key, and for roles. */
  readonly evidence: Evidence | null
}

/** Everything about one backup, on one page: what it is, what is proven of it, and what the database held. */
export function backupPage(page: BackupPage, now: Date, paint: Painter): string {
  const { backup, drills, evidence } = page
  const { label, kind } = backup.manifest
  const sections = [
    `${paint(`Backup ${label}`, 'strong')} of ${printable(placeName(backup.manifest))}`,
    formatPairs(facts(page, now), paint),
    heading(
      kind === 'roles' ? 'Drills that replayed it' : 'Drills of it',
      drills.length === 0 ? '' : drillTable(drills, now, paint),
      paint,
    ),
    evidence === null ? '' : heading('Tables, as of the snapshot', evidenceTable(evidence, paint), paint),
    evidence === null ? '' : heading('What is not inside, and why', leftOutTable(evidence, paint), paint),
  ]
  return sections.filter((section) => section !== '').join('\n\n')
}

function facts({ backup, keepReasons, signature }: BackupPage, now: Date): (readonly [string, Cell | null])[] {
  const { manifest } = backup
  const { source, dump, objects, encryption, omissions, previous } = manifest
  const seconds = (Date.parse(manifest.finishedAt) - Date.parse(manifest.startedAt)) / 1000
  const standby = source.isStandby ? ', a standby' : ''
  const isRoles = manifest.kind === 'roles'
  return [
    ['proof', proofCell(backup, now)],
    ['snapshot', `${formatInstant(backup.snapshotTime)}, ${formatAge(backup.snapshotTime, now)}`],
    ['took', formatSeconds(seconds)],
    ['source', `PostgreSQL ${source.version}${standby}; system identifier ${source.systemIdentifier}`],
    [
      'dump',
      `${formatBytes(dump.bytes)} by ${manifest.program.name} ${manifest.program.version}; ${compressionText(dump.compression)}`,
    ],
    ['stored', `${formatBytes(backup.storedBytes)} in ${backup.folder}`],
    ['dump object', `${objects.dump.name}, ${formatBytes(objects.dump.bytes)}, SHA-256 ${objects.dump.sha256}`],
    ['evidence', isRoles ? null : evidenceText(manifest.evidence)],
    ['not inside', isRoles ? null : omissions.length === 0 ? 'nothing was left out' : omissionText(omissions)],
    ['passwords', manifest.rolePasswords === null ? null : rolePasswordsCell(manifest.rolePasswords)],
    ['encrypted to', encryption.recipients.join(', ')],
    ['signed by', signerCell(encryption.signer, signature)],
    ['follows', previous?.label ?? 'nothing: it is the first, or the one before it was gone already'],
    ['kept because', keepReasons === undefined ? null : keepCell(keepReasons)],
    ['manifest', `SHA-256 ${backup.manifestSha256}, pgproof ${manifest.pgproofVersion}`],
  ]
}

function compressionText(compression: Manifest['dump']['compression']): string {
  if (compression === 'zstd') return 'compressed by zstd around it'
  return compression === 'none' ? 'not compressed' : `compressed by ${compression} inside it`
}

function signerCell(signer: string | null, signature: string | null): Cell {
  if (signature === null)
    return signer === null ? 'nobody' : `${signer} by its own account (no trusted signers to check it by)`
  return signature === 'valid' ? { text: `${signer}, valid`, tone: 'good' } : { text: signature, tone: 'bad' }
}

function rolePasswordsCell(passwords: 'present' | 'absent'): Cell {
  return passwords === 'present'
    ? 'inside'
    : { text: 'absent: the role of the backup may not read pg_authid', tone: 'doubtful' }
}

function keepCell(reasons: readonly string[] | null): Cell {
  if (reasons === null) return 'its server is not configured here: no policy decides about it'
  return reasons.length > 0
    ? reasons.join(', ')
    : { text: 'no rule keeps it: the next prune removes it', tone: 'doubtful' }
}

function evidenceTable({ tables, largeObjects }: Evidence, paint: Painter): string {
  const rows = tables.map(({ schema, name, rows: count, digest, condition }): Cell[] => [
    '',
    `${schema}.${name}`,
    count === null ? 'not counted' : formatCount(count),
    digest ?? 'not taken',
    condition === null ? '' : `only ${condition}`,
  ])
  const columns = [
    { title: '' },
    { title: 'TABLE' },
    { title: 'ROWS', align: 'right' },
    { title: 'DIGEST', align: 'right' },
    { title: '' },
  ] as const
  const table = rows.length === 0 ? '  no tables' : formatTable(columns, rows, paint)
  if (largeObjects.count === 0) return table
  return `${table}\n  ${counted(largeObjects.count, 'large object')}, ${formatBytes(largeObjects.bytes)}`
}

/** What a backup does not hold, object by object. */
export function leftOutTable({ omissions }: Pick<Evidence, 'omissions'>, paint: Painter): string {
  if (omissions.length === 0) return ''
  const rows = omissions.map(({ kind, object, reason }): Cell[] => ['', kind, object, reason])
  return formatTable([{ title: '' }, { title: '' }, { title: '' }, { title: '' }], rows, paint)
}
