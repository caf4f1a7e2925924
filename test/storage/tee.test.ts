import { setImmediate } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { type Sink, type SinkEnd, tee } from '../../src/storage/tee.ts'
import { MemoryStore } from '../support/memory-store.ts'

const what = 'write of some/dump'
const open = new AbortController().signal
const failure = (reason: string): PgproofError => new PgproofError('STORE_FAILED', { operation: 'test', reason })

/** Time that stands still until `pass`: then whoever sleeps wakes, if that is how long it wanted to sleep at most. */
function stoppedClock(): Clock & { pass(ms: number): void; readonly sleepers: () => number } {
  const sleeping = new Set<{ ms: number; wake: () => void }>()
  return {
    ...systemClock,
    sleepers: () => sleeping.size,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const sleeper = { ms, wake: resolve }
        sleeping.add(sleeper)
        signal?.addEventListener('abort', () => {
          sleeping.delete(sleeper)
          reject(signal.reason)
        })
      }),
    pass(ms) {
      for (const sleeper of [...sleeping])
        if (sleeper.ms <= ms) {
          sleeping.delete(sleeper)
          sleeper.wake()
        }
    },
  }
}

/** Numbered pieces, so that none can stand for another; says how many were read, and whether it was closed. */
function pieces(count: number, { failsAt = Number.POSITIVE_INFINITY }: { failsAt?: number } = {}) {
  const state = { read: 0, isClosed: false }
  const iterator: AsyncIterableIterator<Uint8Array> = {
    [Symbol.asyncIterator]: () => iterator,
    next: async () => {
      if (state.read === failsAt) throw failure('the source broke')
      if (state.read === count) return { done: true, value: undefined }
      state.read += 1
      return { done: false, value: Buffer.alloc(1000, `${state.read - 1},`) }
    },
    return: async () => {
      state.isClosed = true
      return { done: true, value: undefined }
    },
  }
  return { state, source: iterator }
}

const whole = (count: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => Buffer.alloc(1000, `${index},`)))

/** Takes everything, and does `before` ahead of each piece; -1 is the instant after the last. */
function collecting(
  before: (index: number, signal: AbortSignal) => unknown = () => {},
  isRequired = true,
): Sink<Buffer> & { readonly ended: { error?: unknown; isVisible?: boolean } } {
  const ended: { error?: unknown; isVisible?: boolean } = {}
  return {
    isRequired,
    ended,
    take: async (source, signal) => {
      try {
        const taken: Uint8Array[] = []
        await before(0, signal)
        for await (const piece of source) {
          taken.push(Buffer.from(piece))
          await before(taken.length, signal)
        }
        await before(-1, signal)
        if (signal.aborted) throw signal.reason
        ended.isVisible = true
        return Buffer.concat(taken)
      } catch (error) {
        ended.error = error
        throw error
      }
    },
  }
}

const run = (
  source: AsyncIterable<Uint8Array>,
  sinks: readonly Sink<Buffer>[],
  { clock = systemClock, signal = open }: { clock?: Clock; signal?: AbortSignal } = {},
): Promise<readonly SinkEnd<Buffer>[]> => tee(source, sinks, { clock, signal, stalledMs: 1000, what })

const caught = async (promise: Promise<unknown>): Promise<unknown> =>
  await promise.then(
    () => 'it did not fail',
    (error: unknown) => error,
  )

/** Until nothing that is already possible is left to happen. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await setImmediate()
}

const never = (): Promise<never> => new Promise(() => {})
const untilAborted = (_: number, signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

const unhandled: unknown[] = []
const note = (reason: unknown): unknown => unhandled.push(reason)
beforeAll(() => void process.on('unhandledRejection', note))
afterAll(() => void process.off('unhandledRejection', note))
afterEach(async () => {
  await settled()
  expect(unhandled.splice(0)).toEqual([])
})

describe('all copies', () => {
  it.each([0, 1, 7, 300])('of %i pieces - each sink gets the same bytes as the source gave', async (count) => {
    const ends = await run(pieces(count).source, [collecting(), collecting(), collecting(undefined, false)])
    for (const { result, error } of ends) {
      expect(error).toBeUndefined()
      expect(result?.equals(whole(count))).toBe(true)
    }
  })

  it('one sink slow at random, one fast - same bytes, and nobody is more than one piece ahead of the slow one', async () => {
    const { state, source } = pieces(200)
    let slow = 0
    let mostAhead = 0
    const dawdle = async (index: number): Promise<void> => {
      if (index >= 0) slow = index
      for (let turn = 0; turn < (index * 7) % 5; turn += 1) await setImmediate()
    }
    const watch = (index: number): void => {
      if (index > 0) mostAhead = Math.max(mostAhead, index - slow, state.read - slow)
    }
    const ends = await run(source, [collecting(dawdle), collecting(watch)])
    expect(ends.map(({ result }) => result?.equals(whole(200)))).toEqual([true, true])
    expect(mostAhead).toBeLessThanOrEqual(1)
  })

  it('a sink that waits before its first piece - nothing is read from the source meanwhile but that piece', async () => {
    const { state, source } = pieces(50)
    const gate = Promise.withResolvers<void>()
    const running = run(source, [collecting((index) => (index === 1 ? gate.promise : undefined)), collecting()])
    await settled()
    expect(state.read).toBe(1)
    gate.resolve()
    expect((await running).map(({ result }) => result?.length)).toEqual([50_000, 50_000])
  })
})

describe('a required sink fails', () => {
  it.each([
    ['at the start', 0],
    ['in the middle', 10],
    ['after the last piece', 20],
    ['at its completion', -1],
  ])('%s - rejects with its error, the other ends with the same, and the source is closed', async (_, at) => {
    const { state, source } = pieces(20)
    const error = failure('disk on fire')
    const other = collecting((index, signal) => (index === -1 ? untilAborted(0, signal) : undefined))
    const failing = collecting((index) => {
      if (index === at) throw error
    })
    expect(await caught(run(source, [other, failing]))).toBe(error)
    expect(other.ended).toEqual({ error })
    await settled()
    expect(state.isClosed).toBe(true)
  })

  it('and the source cannot be closed - rejects with the error of the sink, and nothing is left unhandled', async () => {
    const source = (async function* () {
      try {
        for (;;) yield Buffer.from('piece')
      } finally {
        await Promise.reject(new Error('cannot close'))
      }
    })()
    const error = failure('disk on fire')
    const failing = collecting((index) => {
      if (index === 3) throw error
    })
    expect(await caught(run(source, [collecting(), failing]))).toBe(error)
    await settled()
    expect(unhandled).toEqual([])
  })

  it('into stores - no object and no unfinished write in the other', async () => {
    const [sound, broken] = [new MemoryStore(), new MemoryStore()]
    broken.before = (operation) => {
      if (operation === 'commit') throw failure('refused at the end')
    }
    const gate = Promise.withResolvers<void>()
    sound.before = (operation) => (operation === 'commit' ? gate.promise : undefined)
    const into = (store: MemoryStore): Sink<{ bytes: number }> => ({
      isRequired: true,
      take: (source, signal) => store.write('some/dump', source, { signal }),
    })
    const running = caught(
      tee(pieces(20).source, [into(sound), into(broken)], { clock: systemClock, signal: open, stalledMs: 1000, what }),
    )
    await settled()
    gate.resolve()
    expect(await running).toMatchObject({ message: expect.stringContaining('refused at the end') })
    expect([sound.keys(), sound.unfinished]).toEqual([[], []])
    expect([broken.keys(), broken.unfinished]).toEqual([[], []])
  })

  it('before it returns a promise - rejects with its error', async () => {
    const error = failure('thrown at once')
    const other = collecting()
    const throwing: Sink<Buffer> = {
      isRequired: true,
      take: () => {
        throw error
      },
    }
    expect(await caught(run(pieces(3).source, [other, throwing]))).toBe(error)
    expect(other.ended).toEqual({ error })
  })

  it('two at once - the first error is told, and the second is not lost track of', async () => {
    const [first, second] = [failure('first'), failure('second')]
    const throwing = (error: Error): Sink<Buffer> =>
      collecting((index) => {
        if (index === 5) throw error
      })
    expect(await caught(run(pieces(20).source, [throwing(first), throwing(second)]))).toBe(first)
  })

  it('while the source never gives its next piece - rejects all the same', async () => {
    async function* hanging(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(10)
      await never()
    }
    const gate = Promise.withResolvers<void>()
    const other = collecting()
    const failing: Sink<Buffer> = {
      isRequired: true,
      take: async (source) => {
        // It asks on, as one that uploads parts does, and fails meanwhile.
        const iterator = source[Symbol.asyncIterator]()
        await iterator.next()
        void iterator.next().catch(() => undefined)
        await gate.promise
        throw failure('connection lost')
      },
    }
    const running = caught(run(hanging(), [other, failing]))
    await settled()
    gate.resolve()
    expect(await running).toMatchObject({ message: expect.stringContaining('connection lost') })
    expect(other.ended.error).toMatchObject({ message: expect.stringContaining('connection lost') })
  })
})

describe('a sink that is not required', () => {
  it.each([
    ['at the start', 0],
    ['in the middle', 10],
    ['at its completion', -1],
  ])('fails %s - the others get everything, and its end says why', async (_, at) => {
    const error = failure('disk on fire')
    const failing = collecting((index) => {
      if (index === at) throw error
    }, false)
    const [first, second] = await run(pieces(20).source, [failing, collecting()])
    expect(first?.error).toBe(error)
    expect(second?.result?.equals(whole(20))).toBe(true)
  })

  it('stalls - after the limit and not before, it is left behind with its signal aborted, and the others go on', async () => {
    const clock = stoppedClock()
    const stalling = collecting((index, signal) => (index === 3 ? untilAborted(0, signal) : undefined), false)
    const running = run(pieces(20).source, [collecting(), stalling], { clock })
    await settled()
    clock.pass(999)
    await settled()
    expect(stalling.ended).toEqual({})
    clock.pass(1000)
    const [first, second] = await running
    expect(first?.result?.equals(whole(20))).toBe(true)
    expect(second?.error).toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('took nothing for 1 s'),
    })
    expect(stalling.ended.error).toBe(second?.error)
    expect(clock.sleepers()).toBe(0)
  })

  it('stalls and does not heed its signal - the others go on, and the whole ends', async () => {
    const clock = stoppedClock()
    const running = run(
      pieces(20).source,
      [collecting((index) => (index === 3 ? never() : undefined), false), collecting()],
      {
        clock,
      },
    )
    await settled()
    clock.pass(1000)
    expect((await running)[1]?.result?.equals(whole(20))).toBe(true)
  })

  it('never completes - long after the others it is left behind', async () => {
    const clock = stoppedClock()
    const running = run(
      pieces(20).source,
      [collecting((index) => (index === -1 ? never() : undefined), false), collecting()],
      {
        clock,
      },
    )
    await settled()
    clock.pass(9999)
    await settled()
    clock.pass(10_000)
    const [first, second] = await running
    expect(first?.error).toMatchObject({ message: expect.stringContaining('took nothing for 10 s') })
    expect(second?.result?.equals(whole(20))).toBe(true)
  })

  it('waits for a required one that stalls - neither is left behind, however long it takes', async () => {
    const clock = stoppedClock()
    const gate = Promise.withResolvers<void>()
    const running = run(
      pieces(20).source,
      [collecting((index) => (index === 3 ? gate.promise : undefined)), collecting(undefined, false)],
      { clock },
    )
    for (let turn = 0; turn < 5; turn += 1) {
      await settled()
      clock.pass(3_600_000)
    }
    gate.resolve()
    expect((await running).map(({ result }) => result?.equals(whole(20)))).toEqual([true, true])
  })

  it('hangs when a required one fails - the failure is told after the limit', async () => {
    const clock = stoppedClock()
    const error = failure('disk on fire')
    const failing = collecting((index) => {
      if (index === 5) throw error
    })
    const running = caught(
      run(pieces(20).source, [failing, collecting((index) => (index === 5 ? never() : undefined), false)], { clock }),
    )
    for (let turn = 0; turn < 3; turn += 1) {
      await settled()
      clock.pass(1000)
    }
    expect(await running).toBe(error)
  })
})

describe('the source or the caller ends it', () => {
  it.each([0, 5, 20])(
    'the source throws after %i pieces - every sink rejects, nothing becomes visible',
    async (failsAt) => {
      const sinks = [collecting(), collecting(), collecting(undefined, false)]
      const thrown = await caught(run(pieces(20, { failsAt }).source, sinks))
      expect(thrown).toMatchObject({ message: expect.stringContaining('the source broke') })
      for (const { ended } of sinks) expect(ended).toEqual({ error: thrown })
    },
  )

  it('aborted before it begins - rejects, nothing is read', async () => {
    const { state, source } = pieces(20)
    const sinks = [collecting(), collecting()]
    expect(await caught(run(source, sinks, { signal: AbortSignal.abort() }))).toMatchObject({ code: 'CANCELLED' })
    expect([state.read, sinks[0]?.ended.isVisible]).toEqual([0, undefined])
  })

  it.each([
    ['a sink is busy', untilAborted],
    ['both wait for the source', undefined],
  ])('aborted while %s - every sink rejects with CANCELLED', async (_, busy) => {
    const abort = new AbortController()
    async function* hanging(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(10)
      if (busy === undefined) await never()
    }
    const sinks = [collecting((index, signal) => (index === 1 ? busy?.(index, signal) : undefined)), collecting()]
    const running = caught(run(hanging(), sinks, { signal: abort.signal }))
    await settled()
    abort.abort()
    expect(await running).toMatchObject({ code: 'CANCELLED' })
    for (const { ended } of sinks) expect(ended.error).toMatchObject({ code: 'CANCELLED' })
  })
})
