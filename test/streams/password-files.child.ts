// Run by password-files.test.ts, in the TMPDIR that it names. `hold`: makes the password file of a program, prints where
// and waits to be killed. `sweep`: what a start does with those of others; prints its own process id.
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { programEnvironment } from '../../src/postgres/program-environment.ts'
import { sweepPasswordFiles } from '../../src/streams/spool.ts'

if (process.argv[2] === 'hold') {
  const connection = parseConnectionUrl('main', 'postgres://backup@localhost/shop', () => 'hunter2')
  const { env } = await programEnvironment(connection, 'pgproof test')
  process.stdout.write(`${process.pid} ${env['PGPASSFILE']}\n`)
  setInterval(() => {}, 60_000)
} else {
  await sweepPasswordFiles()
  process.stdout.write(`${process.pid}\n`)
}
