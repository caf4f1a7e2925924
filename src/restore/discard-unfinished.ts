import type { Connection } from '../postgres/connect.ts'
import { inspectTarget, lockTarget } from '../postgres/target-database.ts'
import { removeOldDownloads } from '../streams/downloads.ts'
import { sweepSpool } from '../streams/spool.ts'
import { clearUnfinished } from './clear-unfinished.ts'

/**
 * Removes what restores into a database left that were killed: the half-restored databases, and the downloads of which
 * no living process makes use. Returns what, in words. Throws LOCKED while a restore goes on, TARGET_UNFINISHED if
 * somebody is at work in what is left.
 */
export async function discardUnfinished(target: Connection, spoolRoot: string, signal: AbortSignal): Promise<string[]> {
  const { server } = await inspectTarget(target, signal, 'tables')
  await using _lock = await lockTarget(server, target.database, signal)
  const { dropped } = await clearUnfinished(server, target.database, () => true, signal)
  const removed = dropped.map(({ name, label }) => `database "${name}", half restored from ${label}`)
  const folders = await sweepSpool(spoolRoot)
  if (folders > 0)
    removed.push(`what ${folders === 1 ? 'a restore or drill' : `${folders} restores or drills`} had left in the spool`)
  const downloads = await removeOldDownloads(spoolRoot, new Date(8.64e15))
  if (downloads > 0) removed.push(downloads === 1 ? '1 unfinished download' : `${downloads} unfinished downloads`)
  return removed
}
