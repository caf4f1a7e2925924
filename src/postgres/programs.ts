import { access, constants } from 'node:fs/promises'
import { resolve } from 'node:path'
import { PgproofError } from '../errors.ts'
import { runProgram } from '../streams/child-process.ts'

export type ProgramName = 'pg_dump' | 'pg_dumpall' | 'pg_restore' | 'initdb' | 'postgres'
export type FoundProgram = { readonly path: string; readonly version: string }

/** The oldest server that pgproof backs up: `hash_record_extended` exists from 14 on, and 13 gets no more fixes. */
export const oldestMajor = 14

/**
 * Finds a program of exactly the given major version: client programs match the source's major, because a newer
 * pg_dump writes settings that an older server refuses, and an older one refuses the server. Looks in `binDirs`, then
 * where Debian, PGDG, Homebrew and source builds put them, then on the PATH. Throws PROGRAM_MISSING.
 */
export async function findProgram(
  name: ProgramName,
  major: number,
  binDirs: readonly string[],
  signal: AbortSignal,
): Promise<FoundProgram> {
  return await findProgramBetween(name, { preferred: major, oldest: major }, binDirs, signal)
}

/**
 * The same for a program that may be of any major from `preferred` down to `oldest`; the newest of them wins. For
 * pg_restore: one newer than the server makes settings that the server refuses, one older than the dump cannot read it.
 * Throws PROGRAM_MISSING for `preferred`, with a hint that names both.
 */
export async function findProgramBetween(
  name: ProgramName,
  { preferred, oldest }: { readonly preferred: number; readonly oldest: number },
  binDirs: readonly string[],
  signal: AbortSignal,
): Promise<FoundProgram> {
  for (let major = preferred; major >= oldest; major -= 1) {
    const found = await findExactly(name, major, binDirs, signal)
    if (found !== undefined) return found
  }
  const isServer = name === 'initdb' || name === 'postgres'
  const packageOf = (major: number): string => `${isServer ? 'postgresql' : 'postgresql-client'}-${major}`
  throw new PgproofError('PROGRAM_MISSING', {
    program: name,
    major: preferred,
    package: oldest < preferred ? `${packageOf(preferred)} or ${packageOf(oldest)}` : packageOf(preferred),
  })
}

/** The path of a program by its name alone; undefined if there is none on the PATH. */
export async function findOnPath(name: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(':')) {
    if (folder === '') continue
    const path = resolve(folder, name)
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return path
  }
  return undefined
}

/** `17` of `17.4 (Debian 17.4-1)`. */
export function majorOf(version: string): number {
  return Number.parseInt(version, 10)
}

async function findExactly(
  name: ProgramName,
  major: number,
  binDirs: readonly string[],
  signal: AbortSignal,
): Promise<FoundProgram | undefined> {
  for (const folder of [...binDirs, ...usualFolders(major), ...(process.env['PATH'] ?? '').split(':')]) {
    if (folder === '') continue
    const found = await probe(resolve(folder, name), signal)
    if (found !== undefined && majorOf(found.version) === major) return found
  }
  return undefined
}

async function probe(path: string, signal: AbortSignal): Promise<FoundProgram | undefined> {
  try {
    await access(path, constants.X_OK)
    const output = await runProgram({ path, args: ['--version'], env: { LC_ALL: 'C' } }, { signal })
    const version = /\(PostgreSQL\) (.+)/.exec(output)?.[1]?.trim()
    return version === undefined ? undefined : { path, version }
  } catch {
    signal.throwIfAborted()
    // What does not tell its version is not what is looked for, whatever keeps it from that.
    return undefined
  }
}

function usualFolders(major: number): string[] {
  return [
    `/usr/lib/postgresql/${major}/bin`,
    `/usr/pgsql-${major}/bin`,
    `/opt/homebrew/opt/postgresql@${major}/bin`,
    `/usr/local/opt/postgresql@${major}/bin`,
    '/usr/local/pgsql/bin',
  ]
}
