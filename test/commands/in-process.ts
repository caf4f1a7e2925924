import { type Clock, systemClock } from '../../src/clock.ts'
import type { Surroundings } from '../../src/commands/context.ts'
import { runCommandLine } from '../../src/commands/table.ts'
import { PgproofError } from '../../src/errors.ts'
import { tokens } from '../http/test-server.ts'

export type Told = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** Of a command that is looked at and not carried out. */
export const bareSurroundings: Surroundings = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: {},
  cwd: '/',
  signal: new AbortController().signal,
  onReload: () => {},
  clock: systemClock,
}

/** One command line in this process, at that address; `cancel` is the first Ctrl-C. `changes` are of the process. */
export function command(
  url: string,
  args: readonly string[],
  env: Record<string, string> = {},
  { isTTY = false, clock = systemClock }: { readonly isTTY?: boolean; readonly clock?: Clock } = {},
) {
  const canceller = new AbortController()
  const output = { stdout: '', stderr: '' }
  const streamTo = (name: 'stdout' | 'stderr') => ({
    isTTY,
    write: (text: string) => {
      output[name] += text
    },
  })
  const ended = runCommandLine(url === '' ? args : [...args, '--url', url], {
    stdout: streamTo('stdout'),
    stderr: streamTo('stderr'),
    stdin: process.stdin,
    env: { PGPROOF_TOKEN: tokens.backup, ...env },
    cwd: '/',
    signal: canceller.signal,
    onReload: () => {},
    clock,
  }).then((code): Told => ({ code, ...output }))
  return { ended, output, cancel: () => canceller.abort(new PgproofError('CANCELLED', { what: 'the command' })) }
}
