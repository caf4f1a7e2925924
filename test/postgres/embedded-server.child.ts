// Run by embedded-server.test.ts: starts an embedded server in a spool below the given root, prints the spool's folder,
// and waits to be killed.
import { systemClock } from '../../src/clock.ts'
import { startEmbeddedServer } from '../../src/postgres/embedded-server.ts'
import { openSpool } from '../../src/streams/spool.ts'

const [, , root = '', major = ''] = process.argv
const { signal } = new AbortController()
const spool = await openSpool(root, 0)
const request = {
  folder: spool.folder,
  major: Number(major),
  binDirs: [],
  bootstrapRole: 'postgres',
  runAs: 'nobody',
  jobs: 1,
}
await startEmbeddedServer(request, systemClock, signal)
process.stdout.write(`${spool.folder}\n`)
setInterval(() => {}, 60_000)
