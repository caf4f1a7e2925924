#!/usr/bin/env node
import { systemClock } from './clock.ts'
import { endProcess } from './commands/end-process.ts'
import { runCommandLine } from './commands/table.ts'
import { PgproofError, reasonOf } from './errors.ts'

// The first signal, also a terminal that hangs up, cancels: whatever the command holds is released before it ends. The
// second one ends at once. Where no terminal can hang up, a daemon takes SIGHUP for "read the configuration again".
const cancelled = 130
const canceller = new AbortController()
let reload: (() => void) | undefined
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(name, () => {
    if (name === 'SIGHUP' && reload !== undefined && !process.stderr.isTTY) {
      reload()
      return
    }
    if (canceller.signal.aborted) {
      void endProcess(cancelled)
      return
    }
    if (process.stderr.isTTY) process.stderr.write('\ncancelling; once more ends at once\n')
    canceller.abort(new PgproofError('CANCELLED', { what: 'the command' }))
  })

// A reader that has seen enough (`| head`) is no failure, and a backup goes on without its audience.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })

// Nobody waits for what was thrown, so nobody would clean up after it: everything under way is cancelled by it.
let fault: PgproofError | undefined
let isFaultSaid = false
process.on('uncaughtException', (thrown) => {
  const details = thrown instanceof Error ? thrown.stack : undefined
  fault ??= new PgproofError('INTERNAL', { reason: reasonOf(thrown) }, { cause: thrown, details })
  if (canceller.signal.aborted) endByFault(fault)
  canceller.abort(fault)
  setTimeout(endByFault, 10_000, fault).unref()
})

/** The command has not ended, so that it does not say why. */
function endByFault(by: PgproofError): void {
  sayFault(by)
  void endProcess(by.exitCode)
}

/** Once: that it cannot be written is a fault as well. */
function sayFault({ message }: PgproofError): void {
  if (isFaultSaid) return
  isFaultSaid = true
  process.stderr.write(`error: ${message}\n`)
}

// Node ends with 13 when nothing is left that could settle the command; here 13 means keys.
const nodeUnsettled = 13
let hasEnded = false
process.on('exit', (code) => {
  if (hasEnded || code !== nodeUnsettled) return
  process.stderr.write('error: unexpected fault: the command stopped without an answer\n')
  process.exitCode = 1
})

// zstd is in Node from 22.15 on; without this check an older one fails much later and says something else.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 15)) {
  process.stderr.write(`error: pgproof needs Node 22.15 or newer, this is ${process.versions.node}\n`)
  process.stderr.write(
    'hint: Install a newer Node, or put the one of the clone first: export PATH=$PWD/node_modules/.bin:$PATH\n',
  )
  process.exit(2)
}

const exitCode = await runCommandLine(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  signal: canceller.signal,
  onReload: (handler) => {
    reload = handler
  },
  clock: systemClock,
})
hasEnded = true
// The answer said it. That the answer could not be written, to a disk that is full for example, is known a moment later.
isFaultSaid ||= fault !== undefined
await new Promise((resume) => setImmediate(resume))
if (fault !== undefined) sayFault(fault)
await endProcess(fault?.exitCode ?? exitCode)
