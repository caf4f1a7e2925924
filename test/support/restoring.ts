import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { RestorePhase, RestoreResult } from '../../src/domain/restore-result.ts'
import { type RestoreWish, restoreRequest, targetOf } from '../../src/jobs/order-restore.ts'
import { runRestore } from '../../src/restore/restore.ts'
import type { TestInstallation } from './installation.ts'
import { query } from './postgres-server.ts'

export type Restoring = Partial<Omit<RestoreWish, 'target'>> & {
  readonly signal?: AbortSignal
  readonly onPhase?: (phase: RestorePhase) => void
}

/** Restores as the command does; without more into a database that does not exist yet. */
export async function restoreTo(
  test: TestInstallation,
  url: string,
  restoring: Restoring = {},
): Promise<RestoreResult> {
  const { signal = new AbortController().signal, onPhase = () => {}, ...wish } = restoring
  const { installation } = test
  await installation.catalog.refresh(installation.stores, signal)
  const target = targetOf(url, installation.config, test.folder)
  const choice = { by: 'latest' } as const
  const request = await restoreRequest({ choice, mode: 'create', jobs: 2, ...wish, target }, installation)
  let last: RestorePhase | undefined
  const onProgress = ({ phase }: { readonly phase: RestorePhase }): void => {
    if (phase !== last) onPhase(phase)
    last = phase
  }
  return await runRestore(request, { ...installation, onProgress }, signal)
}

/** A name that no database has, and its URL on the server of `base`; the database is dropped with the scope, and whatever was made of it. */
export function targetName(base: string): AsyncDisposable & { readonly name: string; readonly url: string } {
  const name = `r_${randomBytes(6).toString('hex')}`
  const url = new URL(base)
  url.pathname = `/${name}`
  return {
    name,
    url: url.href,
    [Symbol.asyncDispose]: async () => {
      for (const one of await databasesOf(base, name))
        await query(base, `DROP DATABASE IF EXISTS "${one}" WITH (FORCE)`)
    },
  }
}

/** Databases whose name begins so, and half-restored ones that are to become one of that name. */
export async function databasesOf(base: string, name: string): Promise<string[]> {
  const rows = await query(
    base,
    `SELECT datname FROM pg_database WHERE starts_with(datname, $1)
        OR strpos(COALESCE(shobj_description(oid, 'pg_database'), ''), $1) > 0 ORDER BY 1`,
    [name],
  )
  return rows.map(({ datname }) => String(datname))
}

/** What is left of downloads in the spool, besides their claims. */
export function downloadsLeft(test: TestInstallation): string[] {
  try {
    return readdirSync(join(test.folder, 'spool', 'downloads'))
  } catch {
    return []
  }
}
