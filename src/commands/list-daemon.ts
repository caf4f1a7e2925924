import type { z } from 'zod'
import { PgproofError } from '../errors.ts'
import type { Answer } from './context.ts'
import { type DaemonStatus, daemonBackup, daemonDrill, daemonStatus, pageOf } from './daemon-answers.ts'
import { askDaemon, type Daemon } from './daemon-client.ts'
import { backupDocument, drillSummary } from './documents.ts'
import { backupTable, drillTable, type ListFlags, type PlaceFlags } from './list.ts'
import { printable } from './print.ts'
import { daemonTroubles } from './status-daemon.ts'
import { serverUnknown } from './target.ts'

const perPage = 1000

/** Backups or drills as a daemon knows them, newest first, in the words of `pgproof list`. */
export async function listOfDaemon(daemon: Daemon, flags: ListFlags): Promise<Answer> {
  const { paint } = daemon.context
  if (flags.history === true)
    throw new PgproofError('USAGE_INVALID', {
      reason: '--history reads the store itself, it has no meaning with --url',
    })
  const status = await askDaemon(daemon, 'v1/status', daemonStatus)
  const now = status.time
  const backups = flags.drills === true ? [] : await allOf(daemon, 'v1/backups', flags, daemonBackup)
  const drills = flags.drills === true ? await allOf(daemon, 'v1/drills', flags, daemonDrill) : []
  const servers = serversOf(status)
  if (flags.server !== undefined && backups.length + drills.length === 0 && !servers.includes(flags.server))
    throw serverUnknown(
      flags.server,
      servers.map((name) => ({ name })),
    )

  const { orphanObjects, damagedObjects } = status.store
  const lists =
    flags.drills === true
      ? { drills: drills.map(drillSummary) }
      : { backups: backups.map((backup) => backupDocument(backup, now)) }
  const table = flags.drills === true ? drillTable(drills, now, paint) : backupTable(backups, now, paint)
  const troubles = daemonTroubles(status.store)
  const text = [table, ...(troubles.length === 0 ? [] : ['', ...troubles.map(printable)])].join('\n')
  return { document: { ...lists, orphanObjects, damagedObjects }, text }
}

/** Every page of a list. */
export async function allOf<T extends z.ZodType>(
  daemon: Daemon,
  path: string,
  { server, database }: PlaceFlags,
  item: T,
): Promise<z.output<T>[]> {
  const items: z.output<T>[] = []
  let cursor: string | null = null
  do {
    const query: URLSearchParams = new URLSearchParams({
      limit: String(perPage),
      ...(server === undefined ? {} : { server }),
    })
    if (database !== undefined) query.set('database', database)
    if (cursor !== null) query.set('cursor', cursor)
    const page: { items: z.output<T>[]; next: string | null } = await askDaemon(
      daemon,
      `${path}?${query}`,
      pageOf(item),
    )
    items.push(...page.items)
    cursor = page.next
  } while (cursor !== null)
  return items
}

/** The names of all servers that a daemon knows anything of. */
export function serversOf({ databases, roles }: Pick<DaemonStatus, 'databases' | 'roles'>): string[] {
  return [...new Set([...roles, ...databases].map(({ server }) => server))]
}
