import { PgproofError } from '../errors.ts'
import { ProgramError, programOutput } from '../streams/child-process.ts'
import type { Connection } from './connect.ts'
import { programEnvironment } from './program-environment.ts'
import type { FoundProgram } from './programs.ts'

export type DumpCompression = { readonly method: 'zstd' | 'gzip' | 'lz4' | 'none'; readonly level: number }

export type DumpRequest = {
  readonly connection: Connection
  readonly program: FoundProgram
  readonly snapshotId: string
  readonly compression: DumpCompression
  readonly lockTimeoutMs: number
  /** The database's own: a `client_encoding` set for it or for our role could not hold every name and value. */
  readonly encoding?: string | undefined
}

/**
 * How many times the size of its database a dump may have, but for a tenth that stores keep in reserve. No bound is sure.
 * pg_dump writes `bytea` as hexadecimal digits, two for each byte, and values that TOAST had compressed as they were before.
 * zstd and gzip make up for it (of random bytes 1.01 to 1.09 times as much is left); lz4 gains nothing on such digits.
 */
const timesTheDatabase = { zstd: 1, gzip: 1, lz4: 2, none: 3 } as const

/** What to plan for; most dumps are far smaller. */
export function expectedDumpBytes(databaseBytes: number, method: DumpCompression['method']): number {
  return databaseBytes * timesTheDatabase[method]
}

/** `pg_dump -Fc` of one snapshot; ends only if pg_dump exits with 0, else throws DUMP_FAILED. */
export async function* dumpDatabase(request: DumpRequest, signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
  await using environment = await programEnvironment(request.connection, 'pgproof pg_dump')
  const args = [
    '--format=custom',
    '--no-password',
    `--snapshot=${request.snapshotId}`,
    `--lock-wait-timeout=${request.lockTimeoutMs}`,
    `--compress=${compressArgument(request.compression)}`,
    ...(request.encoding === undefined ? [] : [`--encoding=${request.encoding}`]),
  ]
  yield* outputOf({ path: request.program.path, args, env: environment.env }, 'pg_dump', signal)
}

export type RolesDumpRequest = {
  readonly connection: Connection
  readonly program: FoundProgram
  readonly withPasswords: boolean
}

/** `pg_dumpall --roles-only` as SQL. Holds password verifiers: encrypt it, never log it. */
export async function* dumpRoles(
  request: RolesDumpRequest,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  await using environment = await programEnvironment(request.connection, 'pgproof pg_dumpall')
  const { database } = request.connection
  const args = ['--roles-only', '--no-password', '--encoding=UTF8', `--database=${conninfoOf(database)}`]
  if (!request.withPasswords) args.push('--no-role-passwords')
  yield* outputOf({ path: request.program.path, args, env: environment.env }, 'pg_dumpall', signal)
}

/** A connection string naming just a database; quoted, since libpq would expand `host=evil` given as a bare name. */
export function conninfoOf(database: string): string {
  return `dbname='${database.replaceAll(/[\\']/g, '\\$&')}'`
}

async function* outputOf(
  program: Parameters<typeof programOutput>[0],
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* programOutput(program, { signal })
  } catch (error) {
    if (error instanceof ProgramError)
      throw new PgproofError(
        'DUMP_FAILED',
        { program: name, outcome: error.outcome },
        { cause: error, details: error.stderrTail },
      )
    throw error
  }
}

function compressArgument({ method, level }: DumpCompression): string {
  // zstd is applied by pgproof outside the archive, so pg_dump leaves the data alone.
  if (method === 'zstd' || method === 'none') return '0'
  return method === 'gzip' ? String(level) : `lz4:${level}`
}
