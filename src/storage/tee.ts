import type { Clock } from '../clock.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { abortError, whenAborted } from './abortable.ts'

/** Where one copy of a stream goes. */
export type Sink<T> = {
  readonly isRequired: boolean
  /** Takes the whole source, or rejects; an error of the source rejects it. */
  readonly take: (source: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<T>
}

export type SinkEnd<T> =
  | { readonly result: T; readonly error: undefined }
  | { readonly result: undefined; readonly error: PgproofError }

/**
 * Reads `source` once and hands every chunk to all sinks. The next chunk is read when all have taken the last one, so the
 * slowest sets the pace and no copy is queued up. Rejects, with all the others ended, when the source or a required sink
 * fails; a sink that is not required and fails, or takes nothing for `stalledMs`, goes on without. The ends are in the
 * order of the sinks.
 */
export async function tee<T>(
  source: AsyncIterable<Uint8Array>,
  sinks: readonly Sink<T>[],
  { clock, signal, stalledMs, what }: { clock: Clock; signal: AbortSignal; stalledMs: number; what: string },
): Promise<readonly SinkEnd<T>[]> {
  const iterator = source[Symbol.asyncIterator]()
  const halt = new AbortController()
  let failure: { readonly error: unknown } | undefined
  /** Ends the wait for a chunk that may never come. */
  let interrupt: (() => void) | undefined
  const fail = (error: unknown): void => {
    failure ??= { error }
    for (const branch of branches) branch.end(error)
    halt.abort(error)
    interrupt?.()
  }
  const branches: Branch<T>[] = sinks.map((sink) => new Branch(sink, halt.signal, fail))
  const release = whenAborted(signal, () => fail(abortError(signal, what)))
  try {
    while (failure === undefined) {
      await readiness(branches, { clock, stalledMs, what })
      if (failure !== undefined) break
      const next = await new Promise<IteratorResult<Uint8Array> | undefined>((resolve, reject) => {
        interrupt = () => resolve(undefined)
        iterator.next().then(resolve, reject)
      })
      interrupt = undefined
      if (next === undefined) break
      if (next.done === true) {
        for (const branch of branches) branch.end()
        break
      }
      for (const branch of branches) branch.give(next.value)
    }
  } catch (error) {
    fail(error)
  }
  const limitMs = failure === undefined ? finishingTakes * stalledMs : stalledMs
  const ends = await endOf(branches, { clock, limitMs, what })
  release()
  if (failure === undefined) return ends
  // Not waited for: a source that hangs in its next chunk does not come to an end.
  void Promise.resolve(iterator.return?.()).catch(() => undefined)
  throw failure.error
}

/** How many times `stalledMs` a store may take for its last parts and for putting them together. */
const finishingTakes = 10

/** The ends of all. One that may be left behind is, if it does not come to its end long after the others. */
async function endOf<T>(
  branches: readonly Branch<T>[],
  { clock, limitMs, what }: { clock: Clock; limitMs: number; what: string },
): Promise<readonly SinkEnd<T>[]> {
  await Promise.all(branches.filter(({ isRequired }) => isRequired).map(({ ended }) => ended))
  const all = Promise.all(branches.map(({ ended }) => ended))
  const timer = new AbortController()
  const leave = (): void => {
    for (const branch of branches) branch.leaveBehind(limitMs, what)
  }
  clock.sleep(limitMs, timer.signal).then(leave, () => {})
  const ends = await all
  timer.abort()
  return ends
}

/** Until every branch asks for a chunk, or has ended; those that may be left behind are, if all others wait too long. */
async function readiness<T>(
  branches: readonly Branch<T>[],
  { clock, stalledMs, what }: { clock: Clock; stalledMs: number; what: string },
): Promise<void> {
  await Promise.all(branches.filter(({ isRequired }) => isRequired).map((branch) => branch.asks))
  const slow = branches.filter((branch) => !branch.isAsking)
  if (slow.length === 0) return
  const timer = new AbortController()
  const limit = clock.sleep(stalledMs, timer.signal).then(
    () => true,
    () => false,
  )
  const isStalled = await Promise.race([limit, Promise.all(slow.map((branch) => branch.asks)).then(() => false)])
  timer.abort()
  if (isStalled) for (const branch of slow) if (!branch.isAsking) branch.leaveBehind(stalledMs, what)
}

/** One copy of the stream: what its sink asks for, and how it ended. */
class Branch<T> implements AsyncIterable<Uint8Array> {
  readonly isRequired: boolean
  readonly ended: Promise<SinkEnd<T>>
  readonly #stop = new AbortController()
  #leave: ((end: SinkEnd<T>) => void) | undefined
  #isOver = false
  #finish: { readonly error?: unknown } | undefined
  #answer: { resolve(result: IteratorResult<Uint8Array>): void; reject(error: unknown): void } | undefined
  #asks = Promise.withResolvers<void>()

  constructor(sink: Sink<T>, halt: AbortSignal, fail: (error: unknown) => void) {
    this.isRequired = sink.isRequired
    const left = new Promise<SinkEnd<T>>((resolve) => {
      this.#leave = resolve
    })
    const take = async (): Promise<T> => await sink.take(this, AbortSignal.any([halt, this.#stop.signal]))
    const taken = take().then(
      (result): SinkEnd<T> => ({ result, error: undefined }),
      (error: unknown): SinkEnd<T> => {
        if (sink.isRequired) fail(error)
        return { result: undefined, error: toPgproofError(error) }
      },
    )
    this.ended = Promise.race([taken, left]).finally(() => {
      this.#isOver = true
      this.#asks.resolve()
    })
  }

  /** Resolves when the sink has taken all that it was given, or wants no more. */
  get asks(): Promise<void> {
    return this.#asks.promise
  }

  get isAsking(): boolean {
    return this.#isOver || this.#answer !== undefined
  }

  give(value: Uint8Array): void {
    const answer = this.#answer
    if (this.#isOver || answer === undefined) return
    this.#answer = undefined
    this.#asks = Promise.withResolvers()
    answer.resolve({ done: false, value })
  }

  /** The end of the stream, with an error if that is how it ended. */
  end(...error: [] | [unknown]): void {
    this.#finish ??= error.length === 0 ? {} : { error: error[0] }
    this.#settle()
  }

  /** The end of this copy only. What its sink still does is not waited for: it may hang. */
  leaveBehind(waitedMs: number, what: string): void {
    if (this.#isOver) return
    const reason = `it took nothing for ${Math.round(waitedMs / 1000)} s`
    const error = new PgproofError('STORE_FAILED', { operation: what, reason })
    this.end(error)
    this.#stop.abort(error)
    this.#leave?.({ result: undefined, error })
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: () =>
        new Promise((resolve, reject) => {
          this.#answer = { resolve, reject }
          this.#settle()
          this.#asks.resolve()
        }),
    }
  }

  #settle(): void {
    const [answer, finish] = [this.#answer, this.#finish]
    if (answer === undefined || finish === undefined) return
    this.#answer = undefined
    if ('error' in finish) answer.reject(finish.error)
    else answer.resolve({ done: true, value: undefined })
  }
}
