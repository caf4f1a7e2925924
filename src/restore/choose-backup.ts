import type { Catalog, CatalogBackup } from '../catalog/catalog.ts'
import { signatureMissing } from '../catalog/contents.ts'
import { PgproofError } from '../errors.ts'
import { objectNames } from '../storage/object-keys.ts'
import type { RestoreRequest } from './restore-request.ts'

type Question = Pick<RestoreRequest, 'choice' | 'server' | 'database' | 'trustedSigners'>

export type ChosenBackup = {
  readonly backup: CatalogBackup
  /** Younger ones that were passed over. */
  readonly skipped: readonly CatalogBackup[]
}

/**
 * The backup to restore. By time or as the latest only whole ones count; `skipped` are younger ones of which objects are
 * missing. Throws LABEL_UNKNOWN, NO_BACKUP, NO_BACKUP_BEFORE, or USAGE_INVALID where it is not clear of which database.
 */
export function chooseBackup(question: Question, catalog: Catalog): ChosenBackup {
  const { choice } = question
  if (choice.by === 'label') return { backup: labelled(choice.label, question, catalog), skipped: [] }
  const place = onlyPlace(question, catalog)
  const what = `${place.server}/${place.database}`
  const all = catalog.backups({ ...place, kind: 'database' })
  const early = choice.by === 'latest' ? all : all.filter(({ snapshotTime }) => snapshotTime <= choice.at)
  // Where no signature is asked for, none is needed to get the data back.
  const isNeeded = (fault: string): boolean => question.trustedSigners !== null || fault !== signatureMissing
  const at = early.findIndex(({ copies }) => copies.some(({ faults }) => !faults.some(isNeeded)))
  const backup = early[at]
  if (backup !== undefined) return { backup, skipped: early.slice(0, at) }
  if (choice.by === 'time' && early.length === 0) {
    const oldest = all.at(-1)?.snapshotTime.toISOString() ?? ''
    throw new PgproofError('NO_BACKUP_BEFORE', { what, at: choice.at.toISOString(), oldest })
  }
  const details = early.map(({ manifest, faults }) => `${manifest.label}: ${faults.join('; ')}`).join('\n')
  throw new PgproofError('NO_BACKUP', { what }, { details })
}

function labelled(label: string, { server, database }: Question, catalog: Catalog): CatalogBackup {
  const place = { ...(server === undefined ? {} : { server }), ...(database === undefined ? {} : { database }) }
  const found = catalog.find(label, place)
  if (found === undefined) throw whyNotFound(label, catalog)
  if (found.manifest.kind === 'database') return found
  const reason = `${label} is a backup of roles; --roles restores them along with a database`
  throw new PgproofError('USAGE_INVALID', { reason })
}

function whyNotFound(label: string, catalog: Catalog): PgproofError {
  const drill = catalog.drills().find((one) => one.label === label)
  if (drill === undefined) return catalog.absenceOf(label)
  const reason = `${label} is a drill, not a backup; what it restored is backup ${drill.backup.label}`
  return new PgproofError('USAGE_INVALID', { reason })
}

/** The one database that fits what was said. */
function onlyPlace(
  { server, database }: Question,
  catalog: Catalog,
): { readonly server: string; readonly database: string } {
  const places = catalog
    .databases()
    .filter((one) => (server ?? one.server) === one.server && (database ?? one.database) === one.database)
  const [place] = places
  if (place === undefined)
    throw new PgproofError('NO_BACKUP_OF', {
      what: [server, database].filter((part) => part !== undefined).join('/') || 'any database',
      known: knownText(catalog),
    })
  if (places.length === 1) return place
  const names = places.map((one) => `${one.server}/${one.database}`).join(', ')
  throw new PgproofError('USAGE_INVALID', {
    reason: `the store holds backups of several databases; say which: ${names}`,
  })
}

function knownText(catalog: Catalog): string {
  const all = catalog.databases().map((one) => `${one.server}/${one.database}`)
  if (all.length === 0) {
    const unreadable = catalog.damaged().filter(({ key }) => key.endsWith(`/${objectNames.manifest}`))
    if (unreadable.length === 0) return 'Look whether this is the right store: it holds no backup of any database'
    const what = unreadable.length === 1 ? 'one whose manifest' : `${unreadable.length} whose manifests`
    return `It holds ${what} cannot be read (\`pgproof status\`); docs/recovery.md restores without manifests`
  }
  const rest = all.length - 20
  return `It holds backups of ${all.slice(0, 20).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`
}
