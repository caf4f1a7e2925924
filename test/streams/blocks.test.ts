import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { inBlocks } from '../../src/streams/blocks.ts'
import { collect } from './processes.ts'

describe('blocks', () => {
  it('any chunks - the same bytes, every block but the last at least 512 KiB', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 700_000 }), { maxLength: 6 }), async (sizes) => {
        const chunks = sizes.map((size, index) => Buffer.alloc(size, index + 1))
        const blocks: Uint8Array[] = []
        for await (const block of inBlocks(chunksOf(chunks))) blocks.push(block)
        expect(Buffer.concat(blocks).equals(Buffer.concat(chunks))).toBe(true)
        expect(blocks.slice(0, -1).every(({ length }) => length >= 512 << 10)).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  it('a source that throws - the same error, after nothing more', async () => {
    const broken = (async function* () {
      yield Buffer.alloc(1000)
      throw new Error('cut')
    })()
    await expect(collect(inBlocks(broken))).rejects.toThrow('cut')
  })
})

async function* chunksOf(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, void> {
  yield* chunks
}
