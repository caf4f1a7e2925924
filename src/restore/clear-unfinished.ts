import { PgproofError } from '../errors.ts'
import { dropUnfinished, listUnfinished, type Unfinished } from '../postgres/staging-database.ts'
import type { TargetServer } from '../postgres/target-database.ts'

/**
 * Drops the half-restored databases of one target that are meant; the lock of the target is held. Returns them, and
 * those that are left. Throws TARGET_UNFINISHED, before anything is dropped, if somebody is at work in one.
 */
export async function clearUnfinished(
  server: TargetServer,
  database: string,
  isMeant: (one: Unfinished) => boolean,
  signal: AbortSignal,
): Promise<{ readonly dropped: readonly Unfinished[]; readonly left: readonly Unfinished[] }> {
  const found = await listUnfinished(server, database, signal)
  const dropped = found.filter(isMeant)
  const busy = dropped.find(({ isBusy }) => isBusy)
  if (busy !== undefined) throw new PgproofError('TARGET_UNFINISHED', { label: busy.label, database, name: busy.name })
  for (const { name } of dropped) await dropUnfinished(server, name, signal)
  return { dropped, left: found.filter((one) => !isMeant(one)) }
}
