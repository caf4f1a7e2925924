import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serverBinDir } from './postgres-server.ts'

/**
 * A folder of programs in which one is replaced by a small shell script and the others are the real ones; given to
 * `postgres.binDirs`, so that the tested code is the shipped code. `$REAL` in the script is the real program.
 */
export function standIn(folder: string, program: string, script: string): string {
  const real = serverBinDir()
  const binDir = join(folder, `bin-${program}-${Math.random().toString(36).slice(2)}`)
  mkdirSync(binDir)
  for (const name of ['pg_dump', 'pg_dumpall', 'pg_restore', 'initdb', 'postgres'])
    if (name !== program) symlinkSync(join(real, name), join(binDir, name))
  const path = join(binDir, program)
  writeFileSync(
    path,
    `#!/bin/sh\nREAL=${join(real, program)}\n[ "$1" = --version ] && exec "$REAL" --version\n${script}\n`,
  )
  chmodSync(path, 0o755)
  return binDir
}
