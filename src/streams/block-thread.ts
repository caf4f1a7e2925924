import { Worker, type WorkerOptions } from 'node:worker_threads'

/** `length` bytes at the start of `memory`; the last of them may be none. */
export type Block = { readonly memory: ArrayBuffer; readonly length: number; readonly isLast: boolean }

/** Large, because each costs two messages between the threads. */
export const blockBytes = 512 << 10
/** One is filled or consumed while the thread works on another, and two more wait, so that neither side has to. */
export const blocksUnderWay = 4

/** Joins what comes in chunks of any size to blocks. */
export class BlockReader {
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array()
  #isDone = false

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]()
  }

  /** As many bytes as `memory` holds; fewer, or none, are the last. */
  async fill(memory: ArrayBuffer): Promise<Block> {
    const block = new Uint8Array(memory)
    let length = 0
    while (length < block.length && !this.#isDone) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next()
        if (next.done === true) this.#isDone = true
        else this.#rest = next.value
        continue
      }
      const piece = this.#rest.subarray(0, block.length - length)
      block.set(piece, length)
      length += piece.length
      this.#rest = this.#rest.subarray(piece.length)
    }
    return { memory, length, isLast: this.#isDone }
  }

  /** The first blocks of a stream, at most as many as are to be under way; fewer are the whole stream. */
  async first(): Promise<readonly Block[]> {
    const blocks: Block[] = []
    while (blocks.length < blocksUnderWay && blocks.at(-1)?.isLast !== true)
      blocks.push(await this.fill(new ArrayBuffer(blockBytes)))
    return blocks
  }

  /** Ends the source early; of no effect on one that has ended. */
  async close(): Promise<void> {
    await this.#chunks.return?.()
  }
}

/** A thread that blocks are handed to without a copy, and that answers; ended with the scope. */
export class BlockThread<Answer> implements AsyncDisposable {
  readonly #worker: Worker
  readonly #answers: Answer[] = []
  #failure: { readonly error: unknown } | undefined
  /** Wakes whoever waits for an answer. */
  #wake: (() => void) | undefined

  /** `what` it is for, in the message of an early end. */
  constructor(
    file: URL,
    what: string,
    { workerData, resourceLimits }: Pick<WorkerOptions, 'workerData' | 'resourceLimits'>,
  ) {
    // It needs nothing of the environment, which may hold secrets.
    this.#worker = new Worker(file, { workerData, env: {}, execArgv: [], ...(resourceLimits && { resourceLimits }) })
    this.#worker.on('message', (answer: Answer) => {
      this.#answers.push(answer)
      this.#wake?.()
    })
    const fail = (error: unknown): void => {
      this.#failure ??= { error }
      this.#wake?.()
    }
    this.#worker.on('error', fail)
    this.#worker.on('messageerror', fail)
    this.#worker.on('exit', (code) => fail(new Error(`the thread for ${what} ended early with ${code}`)))
  }

  send(block: Block): void {
    this.#worker.postMessage(block, [block.memory])
  }

  /** The next one; throws what ended the thread, or the signal's reason. */
  async answer(signal?: AbortSignal): Promise<Answer> {
    const onAbort = (): void => this.#wake?.()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      for (;;) {
        signal?.throwIfAborted()
        const answer = this.#answers.shift()
        if (answer !== undefined) return answer
        if (this.#failure !== undefined) throw this.#failure.error
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate()
  }
}

/** The file of a thread beside the module of `url`: sources run as they are, what was built from them has another ending. */
export function threadBeside(url: string, name: string): URL {
  return new URL(`./${name}${url.slice(url.lastIndexOf('.'))}`, url)
}
