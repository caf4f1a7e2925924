// Run by s3-crash.test.ts: begins a multipart upload, says so, and waits to be killed.
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { openStore } from '../../src/storage/open-store.ts'
import { s3ServerOfEnvironment } from '../support/s3-server.ts'

const server = s3ServerOfEnvironment()
const store = await openStore(
  {
    url: String(process.argv[2]),
    endpoint: server.endpoint,
    region: server.region,
    provider: server.provider,
    accessKeyId: server.accessKeyId,
    secretAccessKey: () => server.secretAccessKey,
    partSizeBytes: 5 * 2 ** 20,
    partsInFlight: 1,
  },
  { clock: systemClock, log: silentLog },
)
async function* source() {
  // The third part is asked for when the first is stored.
  yield Buffer.alloc(15 * 2 ** 20 + 1)
  console.log('midway')
  await new Promise((resolve) => setTimeout(resolve, 600_000))
}
await store.write('backups/dump', source(), { signal: new AbortController().signal })
