import type { Catalog } from '../catalog/catalog.ts'
import { sharedNames } from '../catalog/shared-names.ts'
import type { Installation } from '../jobs/installation.ts'
import { planPrune } from '../jobs/plan-prune.ts'
import { shareError } from '../jobs/prune.ts'
import { planSync } from '../jobs/sync.ts'
import type { StoreSet } from '../storage/store-set.ts'
import type { JsonDocument } from './documents.ts'
import { counted, formatAge, formatBytes, printable } from './print.ts'
import { placeName } from './target.ts'

/** Where the backups are; one line for each store. */
export function storeLines(stores: StoreSet, catalog: Catalog, storeId: string, now: Date): string[] {
  if (stores.named.length === 1) return [`${printable(stores.urls.join())}${storeId === '' ? ', not used yet' : ''}`]
  return stores.named.map(({ name, isRequired, writer }) => {
    const error = catalog.standings().find((standing) => standing.name === name)?.error ?? null
    const rank = isRequired ? '' : ', not required'
    if (error !== null) return `${printable(name)}  ${printable(writer.url)}  cannot be read${rank}`
    const backups = catalog.inStore(name).backups()
    const bytes = backups.reduce((sum, { storedBytes }) => sum + storedBytes, 0)
    const newest = backups[0]
    const parts = [
      `${counted(backups.length, 'backup')} of ${formatBytes(bytes)}`,
      ...(newest === undefined ? [] : [`the newest ${formatAge(newest.snapshotTime, now)}`]),
    ]
    return `${printable(name)}  ${printable(writer.url)}  ${parts.join(', ')}${rank}`
  })
}

/** What is wrong with each store; one line each. */
export function storeWorries(installation: Installation): string[] {
  const { catalog, stores, storeId } = installation
  if (storeId === '') return []
  const isAlone = stores.named.length === 1
  const shared = sharedNames(catalog).map(
    ({ server, systemIdentifiers }) =>
      `${server}: its backups come from ${systemIdentifiers.length} PostgreSQL servers in turn (${systemIdentifiers.join(', ')}); ` +
      'do two installations share this store?',
  )
  const each = catalog.standings().flatMap(({ name, error, isComplete }) => {
    const place = isAlone ? 'the store' : `store ${name}`
    if (error !== null) return [`${place} cannot be read: ${error.message}`]
    if (!isComplete) return [`${place} could not be read completely`]
    const { backups } = planSync(name, installation)
    const heldBack = heldBackIn(name, installation)
    if (backups.length === 0) return heldBack
    return [
      ...heldBack,
      `${place} lacks ${counted(backups.length, 'backup')} that another one has (\`pgproof sync\` copies them)`,
    ]
  })
  return [...each, ...shared]
}

/** What a prune would not remove without being forced, and why. */
function heldBackIn(store: string, installation: Installation): string[] {
  const plan = planPrune({ isDryRun: true }, store, installation)
  const reasons = plan.groups.flatMap((group) => {
    const reason = group.decisions.flatMap(({ reasons: all }) => all).find(({ rule }) => rule === 'held back')
    return reason === undefined
      ? []
      : [`${placeName(group)}: prunes hold back in store ${store}: ${reason.detail ?? ''}`]
  })
  const share = shareError(plan, store, { isDryRun: true }, installation)
  return share === null ? reasons : [...reasons, `${share.message} (\`pgproof prune --dry-run\`)`]
}

export function storeDocuments(stores: StoreSet, catalog: Catalog): JsonDocument[] {
  return stores.named.map(({ name, isRequired, writer }) => {
    const standing = catalog.standings().find((one) => one.name === name)
    const backups = catalog.inStore(name).backups()
    return {
      name,
      url: writer.url,
      isRequired,
      problem: standing?.error?.message ?? null,
      isComplete: standing?.isComplete ?? false,
      backups: backups.length,
      storedBytes: backups.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
    }
  })
}
