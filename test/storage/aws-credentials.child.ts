import { inspect } from 'node:util'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { openStore } from '../../src/storage/open-store.ts'

// Asks a store for an object as often as it is told, with the credentials of the environment, and prints how it went.
const [, , endpoint, times] = process.argv
const store = await openStore(
  { url: 's3://bucket/p', endpoint, region: 'us-east-1', provider: 'aws' },
  { clock: systemClock, log: silentLog },
)
const { signal } = new AbortController()
const start = performance.now()
let failure: PgproofError | undefined
for (let time = 1; time <= Number(times) && failure === undefined; time += 1) {
  try {
    await store.head('a', { signal })
  } catch (error) {
    if (!(error instanceof PgproofError)) throw error
    failure = error
  }
}
await store.close()
process.stdout.write(
  JSON.stringify({
    code: failure?.code,
    message: failure?.message,
    hint: failure?.hint,
    all: inspect(failure, { depth: Number.POSITIVE_INFINITY, showHidden: true }),
    ms: performance.now() - start,
  }),
)
