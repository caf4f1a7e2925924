import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import { parseServerUrl, resolveSslFiles } from '../config/server-url.ts'
import { PgproofError } from '../errors.ts'
import { type Connection, parseConnectionUrl } from '../postgres/connect.ts'
import { inspectTarget, type TargetUse } from '../postgres/target-database.ts'
import type { BackupChoice, RestoreRequest, TargetMode } from '../restore/restore-request.ts'
import { type Installation, readDrillKeys } from './installation.ts'

/** What may be said about a restore when it is ordered; the rest is as the configuration has it. */
export type RestoreWish = {
  readonly choice: BackupChoice
  /** Needed only where the store holds backups of several. */
  readonly server?: string | undefined
  readonly database?: string | undefined
  /** The name of the store to read; default: whichever has the backup. */
  readonly from?: string | undefined
  readonly target: Connection
  readonly mode: TargetMode
  /** Default of these three: false. */
  readonly disconnect?: boolean | undefined
  readonly roles?: boolean | undefined
  readonly verify?: boolean | undefined
  /** Default of these two: true. */
  readonly owners?: boolean | undefined
  readonly privileges?: boolean | undefined
  /** Default: one for each processor, at most eight. */
  readonly jobs?: number | undefined
}

/** Each job is a session on the target, which serves others too. */
const mostJobs = 64

/** Throws USAGE_INVALID for a number of jobs that cannot be, and keys' errors: KEY_NEEDED without a private key. */
export async function restoreRequest(wish: RestoreWish, installation: Installation): Promise<RestoreRequest> {
  const { config } = installation
  const jobs = wish.jobs ?? Math.min(8, availableParallelism())
  if (!Number.isInteger(jobs) || jobs < 1 || jobs > mostJobs)
    throw new PgproofError('USAGE_INVALID', { reason: `a restore works with 1 to ${mostJobs} jobs, not ${jobs}` })
  const { keys, recipients, trustedSigners } = await readDrillKeys(installation, 'a restore')
  return {
    choice: wish.choice,
    server: wish.server,
    database: wish.database,
    from: wish.from,
    target: wish.target,
    mode: wish.mode,
    disconnect: wish.disconnect ?? false,
    roles: wish.roles ?? false,
    owners: wish.owners ?? true,
    privileges: wish.privileges ?? true,
    verify: wish.verify ?? false,
    jobs,
    keys,
    recipients,
    trustedSigners,
    spoolRoot: config.drill.spool,
    binDirs: config.postgres.binDirs,
  }
}

/** Whether the server lets us in. Throws AUTHENTICATION_FAILED, SERVER_UNREACHABLE and what `inspectTarget` throws. */
export async function assertLogin(target: Connection, use: TargetUse, signal: AbortSignal): Promise<void> {
  await inspectTarget(target, signal, use)
}

/**
 * The database that a URL names. Its password is the one in the URL, else that of a configured server at that address
 * with that user; else libpq's own places are looked at when the server asks. Throws USAGE_INVALID, which never quotes
 * the URL.
 */
export function targetOf(url: string, { servers }: Pick<Config, 'servers'>, cwd: string): Connection {
  const parsed = parseServerUrl(url)
  if ('reason' in parsed)
    throw new PgproofError('USAGE_INVALID', { reason: `--to is not the URL of a database: ${parsed.reason}` })
  if (new URL(url).pathname.length < 2)
    throw new PgproofError('USAGE_INVALID', { reason: '--to names no database: postgres://user@host:5432/database' })
  const known = servers.find((server) => {
    const own = parseServerUrl(server.url)
    return !('reason' in own) && own.address === parsed.address && new URL(own.url).username === new URL(url).username
  })
  const password = parsed.password ?? known?.password?.reveal()
  const connection = parseConnectionUrl(
    parsed.address,
    resolveSslFiles(parsed.url, (path) => resolve(cwd, path)),
  )
  return { ...connection, password: password === undefined ? undefined : () => password }
}
