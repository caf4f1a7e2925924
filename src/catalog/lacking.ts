import { decideRetention, type RetentionPolicy } from '../domain/retention.ts'
import { rolesNeeded } from '../domain/roles-needed.ts'
import type { Catalog, CatalogBackup } from './catalog.ts'
import type { StoreView } from './store-view.ts'

export type LackingQuestion = {
  readonly store: string
  /** What the store keeps of a server; null where nothing is configured: that no prune touches. */
  readonly policyOf: (server: string, kind: 'database' | 'roles') => RetentionPolicy | null
  readonly now: Date
  readonly timezone: string
}

/**
 * The backups that other stores hold whole and this one does not, and which it would keep: neither what it has pruned, nor
 * what its next prune would remove. Newest first. What it holds under another manifest is no copy, and is not written
 * over: nobody knows which of the two is the true one.
 */
export function lackingIn(question: LackingQuestion, catalog: Catalog): readonly CatalogBackup[] {
  const here = catalog.inStore(question.store)
  const lacks = (backup: CatalogBackup): boolean => {
    // Under a label that it pruned nothing comes back, be it the same backup or another.
    if (backup.faults.length > 0 || here.prunedFolders.has(backup.folder)) return false
    const copy = backup.copies.find((one) => one.store === question.store)
    if (copy === undefined) return true
    return copy.faults.length > 0 && copy.manifestSha256 === backup.manifestSha256
  }
  const lacking = catalog.backups().filter(lacks)
  if (lacking.length === 0) return []
  const groups = [
    ...Map.groupBy(lacking, ({ manifest: { kind, server, database } }) =>
      JSON.stringify([kind, server, database]),
    ).values(),
  ].map((group): Group => {
    const { kind, server, database } = (group[0] as CatalogBackup).manifest
    return { group, kind, server, database }
  })
  const wanted = new Set<CatalogBackup>()
  const want = (group: Group, needed?: ReadonlyMap<string, string>): void => {
    for (const backup of wantedOf(group, needed, here, question)) wanted.add(backup)
  }
  // Databases first: what they need decides about the roles.
  for (const group of groups) if (group.kind === 'database') want(group)
  for (const group of groups) {
    if (group.kind === 'database') continue
    const { server } = group
    const databases = [
      ...here.backups({ server, kind: 'database' }),
      ...[...wanted].filter(({ manifest }) => manifest.kind === 'database' && manifest.server === server),
    ]
    const roles = [...here.backups({ server, kind: 'roles' }), ...group.group]
    want(group, rolesNeeded(databases.map(datedOf), roles.map(datedOf)))
  }
  return lacking.filter((backup) => wanted.has(backup))
}

type Group = {
  /** All lacking ones of one place. */
  readonly group: readonly CatalogBackup[]
  readonly kind: 'database' | 'roles'
  readonly server: string
  readonly database: string | null
}

function wantedOf(
  { group, kind, server, database }: Group,
  needed: ReadonlyMap<string, string> | undefined,
  here: StoreView,
  { policyOf, now, timezone }: LackingQuestion,
): readonly CatalogBackup[] {
  const policy = policyOf(server, kind)
  if (policy === null) return group
  const held = here.backups({ kind, server, ...(database === null ? {} : { database }) })
  const whole = held.filter(({ folder, faults }) => faults.length === 0 && !group.some((one) => one.folder === folder))
  const decisions = decideRetention({
    backups: [...whole, ...group].map((backup) => ({ ...datedOf(backup), verified: backup.verifiedAt !== null, kind })),
    policy,
    now,
    timezone,
    objectiveMs: null,
    isForced: true,
    needed,
  })
  const kept = new Set(decisions.filter(({ keep }) => keep).map(({ label }) => label))
  return group.filter(({ manifest }) => kept.has(manifest.label))
}

function datedOf({ manifest, snapshotTime }: CatalogBackup): {
  readonly label: string
  readonly snapshotTime: Date
  readonly isGood: boolean
} {
  return { label: manifest.label, snapshotTime, isGood: true }
}
