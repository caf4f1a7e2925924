import { randomBytes } from 'node:crypto'
import { Readable, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { runProgram } from '../../src/streams/child-process.ts'
import { zstdCompress, zstdDecompress } from '../../src/streams/zstd.ts'
import { collect, failureOf } from './processes.ts'

// Three megabytes that compress, and one that does not: several blocks of either kind.
const data = Buffer.concat([Buffer.alloc(3_000_000, 'shop'), randomBytes(1_000_000)])
let compressed: Buffer

const through = async (bytes: Uint8Array, stage: Transform): Promise<Buffer> => {
  let result: Buffer = Buffer.alloc(0)
  const source = Readable.from(bytes.length === 0 ? [] : [bytes])
  await pipeline(source, stage, async (output: AsyncIterable<Uint8Array>) => {
    result = await collect(output)
  })
  return result
}

beforeAll(async () => {
  compressed = await through(data, zstdCompress(1))
})

describe('zstd', () => {
  it('there and back - the same bytes, at the lowest and at a high level, and for nothing at all', async () => {
    expect((await through(compressed, zstdDecompress())).equals(data)).toBe(true)
    const small = await through(data, zstdCompress(15))
    expect((await through(small, zstdDecompress())).equals(data)).toBe(true)
    expect(await through(await through(Buffer.alloc(0), zstdCompress(1)), zstdDecompress())).toHaveLength(0)
  })

  it('the zstd program opens it', async () => {
    const text = (await through(Buffer.from('shop\n'), zstdCompress(3))).toString('base64')
    const args = ['-c', `echo ${text} | base64 -d | zstd -dc`]
    const { signal } = new AbortController()
    expect(await runProgram({ path: '/bin/sh', args, env: { PATH: '/usr/bin:/bin' } }, { signal })).toBe('shop\n')
  })

  it('cut short anywhere - an error, never an early end', async () => {
    const lengths = [0, 1, 3, 4, 5, 12, 1000, 200_000, 900_000]
    for (const length of [...lengths, ...[-1, -2, -3, -4, -5, -100].map((end) => compressed.length + end)])
      expect(
        await failureOf(through(compressed.subarray(0, length), zstdDecompress())),
        `cut to ${length}`,
      ).toMatchObject({
        code: expect.stringMatching(/^(Z|ZSTD)_/),
      })
  })

  it('one bit flipped - an error', async () => {
    for (const place of [0, 3, 300, 2000, 500_000, compressed.length - 5, compressed.length - 1]) {
      const damaged = Buffer.from(compressed)
      damaged[place] = (damaged[place] ?? 0) ^ 0x10
      const failure = await failureOf(through(damaged, zstdDecompress()))
      expect(failure, `at ${place}`).toMatchObject({ code: expect.stringMatching(/^(Z|ZSTD)_/) })
    }
  })

  it('not zstd at all - an error', async () => {
    expect(await failureOf(through(Buffer.from('PGDMP and so on'), zstdDecompress()))).toMatchObject({
      code: expect.stringMatching(/^ZSTD_/),
    })
  })
})
