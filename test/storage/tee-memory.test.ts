import { createHash, randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type Sink, tee } from '../../src/storage/tee.ts'
import { collectGarbage } from '../support/collect-garbage.ts'

it('a gigabyte into two sinks, one at times slow - no more of it is held than a few pieces', async () => {
  const piece = randomBytes(2 ** 20)
  const count = 1024
  let most = 0
  const before = process.memoryUsage().arrayBuffers
  async function* generated(): AsyncGenerator<Uint8Array> {
    for (let index = 0; index < count; index += 1) {
      yield Buffer.from(piece)
      if (index % 64 !== 0) continue
      collectGarbage()
      most = Math.max(most, process.memoryUsage().arrayBuffers - before)
    }
  }
  const discarding = (pause: number): Sink<Buffer> => ({
    isRequired: true,
    take: async (source) => {
      let bytes = 0
      for await (const taken of source) {
        bytes += taken.length
        if (bytes % (pause * 2 ** 20) === 0) await setImmediate()
      }
      return createHash('sha256').update(String(bytes)).digest()
    },
  })
  const ends = await tee(generated(), [discarding(1), discarding(16)], {
    clock: systemClock,
    signal: new AbortController().signal,
    stalledMs: 1000,
    what: 'write of some/dump',
  })
  expect(ends[0]?.result?.equals(ends[1]?.result as Buffer)).toBe(true)
  expect(most).toBeLessThan(16 * 2 ** 20)
})
