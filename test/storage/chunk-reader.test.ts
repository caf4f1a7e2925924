import { array, assert, asyncProperty, integer, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChunkReader } from '../../src/storage/chunk-reader.ts'

describe('chunk reader', () => {
  const { signal } = new AbortController()

  it('chunks and buffers of any sizes - the same bytes, full buffers up to the last, its end known at once', async () => {
    await assert(
      asyncProperty(
        array(uint8Array({ maxLength: 20 }), { maxLength: 20 }),
        integer({ min: 1, max: 25 }),
        async (chunks, size) => {
          const reader = new ChunkReader(from(chunks), signal, 'test')
          const filled: Buffer[] = []
          for (let ended = false; !ended; ) {
            const buffer = Buffer.alloc(size)
            const result = await reader.fill(buffer)
            ended = result.ended
            filled.push(buffer.subarray(0, result.bytes))
          }
          const whole = Buffer.concat(chunks)
          expect(Buffer.concat(filled)).toEqual(whole)
          expect(filled).toHaveLength(Math.max(1, Math.ceil(whole.length / size)))
          for (const buffer of filled.slice(0, -1)) expect(buffer).toHaveLength(size)
        },
      ),
    )
  })

  it('aborted while the source is silent - rejects at once, and closing does not wait for the source', async () => {
    const controller = new AbortController()
    const silent = (async function* () {
      yield Buffer.alloc(1)
      await new Promise(() => {})
    })()
    const reader = new ChunkReader(silent, controller.signal, 'test')
    const filling = reader.fill(Buffer.alloc(10))
    setImmediate(() => controller.abort())
    await expect(filling).rejects.toMatchObject({ code: 'CANCELLED' })
    await reader.close()
    expect(reader.hasFailed).toBe(false)
  })

  it('closed before the end - the source is ended and waited for', async () => {
    let isEnded = false
    const source = (async function* () {
      try {
        for (;;) yield Buffer.alloc(10)
      } finally {
        await new Promise((resolve) => setImmediate(resolve))
        isEnded = true
      }
    })()
    const reader = new ChunkReader(source, signal, 'test')
    await reader.fill(Buffer.alloc(15))
    await reader.close()
    expect(isEnded).toBe(true)
  })

  it('closed before the end, and the source cannot be ended - closed all the same', async () => {
    const source = (async function* () {
      try {
        for (;;) yield Buffer.alloc(10)
      } finally {
        // What the source throws while it is ended is nobody's concern any more.
        await Promise.reject(new Error('cannot close'))
      }
    })()
    const reader = new ChunkReader(source, signal, 'test')
    await reader.fill(Buffer.alloc(15))
    await reader.close()
    expect(await source.next()).toEqual({ done: true, value: undefined })
  })

  it('source throws - its own error, and it is known to be the source’s', async () => {
    const failure = new Error('pg_dump failed')
    const source = (async function* () {
      yield Buffer.alloc(1)
      throw failure
    })()
    const reader = new ChunkReader(source, signal, 'test')
    await expect(reader.fill(Buffer.alloc(10))).rejects.toBe(failure)
    expect(reader.hasFailed).toBe(true)
    await reader.close()
  })
})

async function* from(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}
