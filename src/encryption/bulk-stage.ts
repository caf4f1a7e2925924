import { Worker } from 'node:worker_threads'
import type { BulkAnswer, BulkBlock } from './bulk-thread.ts'
import { type BulkOrder, createBulk } from './integrity-protected.ts'
import { MalformedPacket } from './packets.ts'

/**
 * Puts a stream through encryption or decryption: on a thread of its own, so that the event loop has its time for
 * everything else; one that is over within the first blocks is done at once. The memory is that of a few blocks, whoever
 * is slower, the source or the consumer. `start` stands in front of what comes out. Ends the source and the thread, however it ends. Throws what the source throws,
 * `MalformedPacket` as `BulkOrder` says, and whatever ended the thread.
 */
export async function* throughBulk(
  order: BulkOrder,
  source: AsyncIterable<Uint8Array>,
  start: Uint8Array = new Uint8Array(),
): AsyncGenerator<Uint8Array, void, void> {
  const reader = new BlockReader(source)
  try {
    if (start.length > 0) yield start
    const first: BulkBlock[] = []
    while (first.length < blocks && first.at(-1)?.isLast !== true)
      first.push(await reader.fill(new ArrayBuffer(blockBytes)))
    yield* first.at(-1)?.isLast === true ? here(order, first) : onThread(order, first, reader)
  } finally {
    await reader.close()
  }
}

/** Large, because each costs two messages between the threads. */
const blockBytes = 512 << 10
/** One is filled or consumed while the thread works on another, and two more wait, so that neither side has to. */
const blocks = 4

function* here(order: BulkOrder, stream: readonly BulkBlock[]): Generator<Uint8Array, void, void> {
  const bulk = createBulk(order)
  for (const { memory, length } of stream) yield* bulk.push(new Uint8Array(memory, 0, length))
  yield* bulk.end()
}

async function* onThread(
  order: BulkOrder,
  first: readonly BulkBlock[],
  reader: BlockReader,
): AsyncGenerator<Uint8Array, void, void> {
  await using thread = new BulkThread(order)
  for (const block of first) thread.send(block)
  let isRead = false
  for (;;) {
    const { pieces, memory, isLast, malformed } = await thread.answer()
    yield* pieces
    if (malformed !== null) throw new MalformedPacket(malformed)
    if (isLast) return
    if (isRead) continue
    const block = await reader.fill(memory)
    isRead = block.isLast
    thread.send(block)
  }
}

/** Joins what comes in chunks of any size to blocks. */
class BlockReader {
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array()
  #isDone = false

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]()
  }

  /** As many bytes as `memory` holds; fewer, or none, are the last. */
  async fill(memory: ArrayBuffer): Promise<BulkBlock> {
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

  /** Ends the source early; of no effect on one that has ended. */
  async close(): Promise<void> {
    await this.#chunks.return?.()
  }
}

class BulkThread implements AsyncDisposable {
  readonly #worker: Worker
  readonly #answers: BulkAnswer[] = []
  #failure: { readonly error: unknown } | undefined
  #wake: () => void = () => {}

  constructor(order: BulkOrder) {
    // It needs nothing of the environment, which may hold secrets.
    this.#worker = new Worker(threadFile, { workerData: order, env: {}, execArgv: [], resourceLimits })
    this.#worker.on('message', (answer: BulkAnswer) => {
      this.#answers.push(answer)
      this.#wake()
    })
    const fail = (error: unknown): void => {
      this.#failure ??= { error }
      this.#wake()
    }
    this.#worker.on('error', fail)
    this.#worker.on('messageerror', fail)
    this.#worker.on('exit', (code) => fail(new Error(`the thread for ${order.direction}ion ended early with ${code}`)))
  }

  send(block: BulkBlock): void {
    this.#worker.postMessage(block, [block.memory])
  }

  /** The next one; throws what ended the thread. */
  async answer(): Promise<BulkAnswer> {
    for (;;) {
      const answer = this.#answers.shift()
      if (answer !== undefined) return answer
      if (this.#failure !== undefined) throw this.#failure.error
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate()
  }
}

/** It keeps next to nothing, so a small heap is enough, and is cleared often. */
const resourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 }

/** Sources run as they are, and what was built from them has another ending. */
const threadFile = new URL(`./bulk-thread${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url)
