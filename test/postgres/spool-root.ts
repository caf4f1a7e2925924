import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { majorOf } from '../../src/postgres/programs.ts'
import { runProgram } from '../../src/streams/child-process.ts'
import { serverBinDir } from '../support/postgres-server.ts'

const { signal } = new AbortController()
const output = await runProgram({ path: join(serverBinDir(), 'postgres'), args: ['--version'], env: {} }, { signal })

/** The major of the newest server programs, which the tests' server runs as well. */
export const major = majorOf(output.replace(/^.*\(PostgreSQL\) /, ''))

/** A folder for spools that the unprivileged user of an embedded server can reach. */
export type SpoolRoot = AsyncDisposable & { readonly path: string; left(): string[] }

export async function openSpoolRoot(prefix = 'pgproof-test-spool-'): Promise<SpoolRoot> {
  const path = mkdtempSync(join(tmpdir(), prefix))
  chmodSync(path, 0o711)
  return {
    path,
    left: () => readdirSync(path),
    [Symbol.asyncDispose]: async () => rmSync(path, { recursive: true, force: true }),
  }
}
