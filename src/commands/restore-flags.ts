import type { Config } from '../config/config.ts'
import type { StoreFlags } from '../config/store-flags.ts'
import { isLabel } from '../domain/backup-label.ts'
import { PgproofError } from '../errors.ts'
import type { BackupChoice } from '../restore/restore-request.ts'
import type { PlaceFlags } from './list.ts'
import { type KnownServer, parseTarget } from './target.ts'
import { parseTime } from './time.ts'

export type RestoreFlags = PlaceFlags &
  StoreFlags & {
    readonly to: string
    readonly at?: string
    /** The name of a store. */
    readonly from?: string
    readonly create?: boolean
    readonly force?: boolean
    readonly disconnect?: boolean
    readonly discard?: boolean
    readonly roles?: boolean
    /** Commander's way of `--no-owner` and `--no-privileges`. */
    readonly owner: boolean
    readonly privileges: boolean
    readonly verify?: boolean
    readonly jobs?: number
    readonly table?: readonly string[]
    readonly schema?: readonly string[]
    readonly intoSchema?: string
  }

/** Whether single tables are asked for. Throws USAGE_INVALID for flags that have no meaning together. */
export function isOfTables(flags: RestoreFlags): boolean {
  const { table = [], schema = [] } = flags
  const isOf = table.length + schema.length > 0
  if (!isOf && flags.intoSchema !== undefined) throw usage('--into-schema goes with --table or --schema')
  if (flags.create === true && flags.force === true) throw usage('--create makes a database and --force replaces one')
  if (!isOf) return false
  if (flags.intoSchema !== undefined && flags.create === true)
    throw usage('--into-schema is a schema of the database that is there, and --create makes a new one')
  const without = [
    ...(['force', 'disconnect', 'roles', 'verify'] as const).filter((name) => flags[name] === true),
    ...(flags.owner ? [] : ['no-owner']),
    ...(flags.privileges ? [] : ['no-privileges']),
  ]
  if (without.length > 0)
    throw usage(
      `--${without[0]} has no meaning with single tables: they go beside the live ones, belong to the login, and are always compared`,
    )
  return true
}

/** What the command line asks for. */
export type Asked = {
  readonly choice: BackupChoice
  readonly server?: string
  readonly database?: string
  /** `server/database`, to be read once the servers are known. */
  readonly place?: string
}

/** `LABEL`, `latest` or nothing with `--at`; then perhaps the database. Throws USAGE_INVALID. */
export function readOperands(
  operands: readonly string[],
  { at, server, database }: Pick<RestoreFlags, 'at' | 'server' | 'database'>,
  { timezone }: Pick<Config, 'timezone'>,
  now: Date,
): Asked {
  const [first] = operands
  const isBackup = first === 'latest' || (first !== undefined && isLabel(first))
  if (at !== undefined && (isBackup || operands.length > 1))
    throw usage(`--at chooses the backup by its time, so ${first} has no meaning`)
  const [which, place] = at === undefined ? operands : [undefined, ...operands]
  if (place !== undefined && (server !== undefined || database !== undefined))
    throw usage(`${place} names the database, so --server and --database have no meaning`)
  if (at === undefined && which === undefined) throw usage('say which backup: a label, latest, or --at with a time')
  const choice: BackupChoice =
    at !== undefined
      ? { by: 'time', at: parseTime(at, timezone, now) }
      : which === 'latest'
        ? { by: 'latest' }
        : { by: 'label', label: which ?? '' }
  return {
    choice,
    ...(server === undefined ? {} : { server }),
    ...(database === undefined ? {} : { database }),
    ...(place === undefined ? {} : { place }),
  }
}

export function placeOf(text: string, servers: readonly KnownServer[]): { server: string; database?: string } {
  const { server, database } = parseTarget(text, servers)
  return database === null ? { server } : { server, database }
}

function usage(reason: string): PgproofError {
  return new PgproofError('USAGE_INVALID', { reason })
}
