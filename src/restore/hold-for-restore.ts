import type { CatalogBackup } from '../catalog/catalog.ts'
import { holdBackups } from '../stored/hold-backup.ts'
import { chooseRolesBackup } from '../stored/read-roles.ts'
import type { RestoreParts, RestoreRequest } from './restore-request.ts'

/** Until the scope ends no prune removes what the restore reads: the backup, and the roles backup if that is wanted. */
export async function holdForRestore(
  backup: CatalogBackup,
  { roles, from }: Pick<RestoreRequest, 'roles' | 'from'>,
  parts: Pick<RestoreParts, 'stores' | 'catalog' | 'clock' | 'log'>,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const rolesBackup = roles ? chooseRolesBackup(backup.manifest, parts.catalog) : undefined
  // Roles are read from any store, whatever was said of the backup.
  const wish = { by: 'restore', from: from === undefined || roles ? undefined : [from] } as const
  return await holdBackups(rolesBackup === undefined ? [backup] : [backup, rolesBackup], wish, parts, signal)
}
