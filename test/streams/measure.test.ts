import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createMeasure, measureBytes } from '../../src/streams/measure.ts'
import { collect, failureOf } from './processes.ts'

async function* pieces(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

describe('measure', () => {
  it('many pieces, empty ones among them - passed on unchanged; size and SHA-256 are those of the whole', async () => {
    const data = randomBytes(100_000)
    const totals: number[] = []
    const measure = createMeasure((total) => totals.push(total))
    const chunks = [data.subarray(0, 1), new Uint8Array(0), data.subarray(1, 70_000), data.subarray(70_000)]
    expect(await collect(measure.stage(pieces(...chunks)))).toEqual(data)
    const sha256 = createHash('sha256').update(data).digest('hex')
    expect(measure.result()).toEqual({ bytes: 100_000, sha256 })
    expect(measureBytes(data)).toEqual({ bytes: 100_000, sha256 })
    expect(totals).toEqual([1, 1, 70_000, 100_000])
  })

  it('nothing at all - zero bytes and the SHA-256 of nothing', async () => {
    const measure = createMeasure()
    await collect(measure.stage(pieces()))
    expect(measure.result()).toEqual(measureBytes(new Uint8Array(0)))
  })

  it('source fails in the middle - no result, only what has passed so far', async () => {
    const measure = createMeasure()
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('abc')
      throw new Error('cut')
    }
    expect(await failureOf(collect(measure.stage(broken())))).toMatchObject({ message: 'cut' })
    expect(measure.bytesSoFar()).toBe(3)
    expect(() => measure.result()).toThrow('before the end')
  })

  it('reader stops before the end - no result', async () => {
    const measure = createMeasure()
    for await (const _ of measure.stage(pieces(Buffer.from('abc'), Buffer.from('def')))) break
    expect(() => measure.result()).toThrow('before the end')
  })
})
