// Run by s3-network.test.ts: uploads 600 MB and prints by how much the memory of this process grew.
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { openStore } from '../../src/storage/open-store.ts'
import { s3ServerOfEnvironment } from '../support/s3-server.ts'

const server = s3ServerOfEnvironment()
const { signal } = new AbortController()
const store = await openStore(
  {
    url: `s3://${process.argv[2]}/memory`,
    endpoint: server.endpoint,
    region: server.region,
    provider: server.provider,
    accessKeyId: server.accessKeyId,
    secretAccessKey: () => server.secretAccessKey,
    partSizeBytes: 8 * 2 ** 20,
  },
  { clock: systemClock, log: silentLog },
)
await store.put('warm-up', Buffer.alloc(100_000), { signal })

const before = process.memoryUsage.rss()
let peak = before
async function* source() {
  for (let sent = 0; sent < 600_000_000; sent += 100_000) {
    yield Buffer.alloc(100_000, sent)
    peak = Math.max(peak, process.memoryUsage.rss())
  }
}
const { bytes } = await store.write('dump', source(), { signal })
await store.close()
console.log(JSON.stringify({ bytes, growthBytes: peak - before }))
