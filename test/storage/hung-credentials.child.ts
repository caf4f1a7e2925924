import { existsSync } from 'node:fs'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { openStore } from '../../src/storage/open-store.ts'

// Reads an object until the program that credentials come from hangs, cancels the reading then, and prints how that ended.
const [, , endpoint, marker = ''] = process.argv
const store = await openStore(
  { url: 's3://bucket/p', endpoint, region: 'us-east-1', provider: 'aws' },
  { clock: systemClock, log: silentLog },
)
const cancelling = new AbortController()
let cancelledAtMs = 0
const looking = setInterval(() => {
  if (cancelledAtMs > 0 || !existsSync(marker)) return
  cancelledAtMs = performance.now()
  cancelling.abort(new PgproofError('CANCELLED', { what: 'the reading' }))
}, 20)
let reads = 0
try {
  for (;;) {
    await store.get('a', { signal: cancelling.signal })
    reads += 1
  }
} catch (error) {
  if (!(error instanceof PgproofError)) throw error
  const { code, message } = error
  process.stdout.write(JSON.stringify({ code, message, reads, ms: performance.now() - cancelledAtMs }))
}
clearInterval(looking)
await store.close()
// Else this would wait for the programs, which wait for its end.
process.exit()
