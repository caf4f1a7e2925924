// Run by child-process.test.ts: starts the program at PATH, prints the process ids that it says on its standard error, and
// ends without waiting for it as soon as its own standard input does.
import { startProgram } from '../../src/streams/child-process.ts'

const [, , path = ''] = process.argv
startProgram(
  { path, args: [], env: { PATH: '/usr/bin:/bin' } },
  { signal: new AbortController().signal, onStderrLine: (line) => process.stdout.write(`${line}\n`) },
)
process.stdin.on('end', () => process.exit(1)).resume()
