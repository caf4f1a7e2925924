import { describe, expect, it } from 'vitest'
import { callsAtOnce, FileCalls } from '../../src/storage/file-calls.ts'

const url = 'file:///mnt/backups'

function scene(atOnce: number) {
  let nowMs = 0
  const calls = new FileCalls(atOnce, { monotonicMs: () => nowMs }, url)
  const begun: number[] = []
  const ends: (() => void)[] = []
  return {
    begun,
    pass: (ms: number) => {
      nowMs += ms
    },
    call: () =>
      calls.run(async () => {
        begun.push(ends.length)
        await new Promise<void>((resolve) => ends.push(resolve))
      }),
    answer: async () => {
      ends.shift()?.()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

describe('calls of a directory store', () => {
  it('more than may be made at once - the rest waits, and each that ends makes room for one', async () => {
    const { call, answer, begun } = scene(2)
    const made = Array.from({ length: 5 }, call)
    await new Promise((resolve) => setImmediate(resolve))
    const counts = [begun.length]
    for (let round = 0; round < 5; round += 1) {
      await answer()
      counts.push(begun.length)
    }
    expect(counts).toEqual([2, 3, 4, 5, 5, 5])
    await Promise.all(made)
  })

  it('none of them answered for a minute - refused with STORE_UNREACHABLE until one is', async () => {
    const { call, answer, pass } = scene(2)
    const [first, second] = [call(), call()]
    pass(61_000)
    await expect(call()).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('2 calls have been waiting for its file system for 61 s'),
    })
    await answer()
    const third = call()
    await answer()
    await answer()
    await Promise.all([first, second, third])
  })

  it('a call that fails - makes room as well', async () => {
    const calls = new FileCalls(1, { monotonicMs: () => 0 }, url)
    const failing = calls.run(async () => {
      throw new Error('EIO')
    })
    await expect(failing).rejects.toThrow('EIO')
    expect(await calls.run(async () => 'next')).toBe('next')
  })

  it.each([
    [1, 4, 3],
    [2, 4, 1],
    [3, 4, 1],
    [9, 4, 1],
    [2, 16, 7],
    [1, 1, 1],
  ])('%i directories and %i threads - %i calls each, so that a thread is left', (stores, threads, expected) => {
    expect(callsAtOnce(stores, threads)).toBe(expected)
  })
})
