import { parentPort, workerData } from 'node:worker_threads'
import { rethrowUnless } from '../errors.ts'
import type { Block } from '../streams/block-thread.ts'
import { type BulkOrder, createBulk } from './integrity-protected.ts'
import { MalformedPacket } from './packets.ts'

/* The thread of its own that encrypts or decrypts one stream; bulk-stage.ts starts it. */

/** One for each block, in their order; the block's memory comes back to be filled again. */
export type BulkAnswer = {
  readonly pieces: readonly Uint8Array[]
  readonly memory: ArrayBuffer
  readonly isLast: boolean
  /** Why the stream is not what it should be; nothing follows then. */
  readonly malformed: string | null
}

const bulk = createBulk(workerData as BulkOrder)

parentPort?.on('message', ({ memory, length, isLast }: Block) => {
  const pieces: Uint8Array[] = []
  let malformed: string | null = null
  try {
    for (const piece of bulk.push(new Uint8Array(memory, 0, length))) pieces.push(ownMemory(piece))
    if (isLast) for (const piece of bulk.end()) pieces.push(ownMemory(piece))
  } catch (error) {
    rethrowUnless(error, MalformedPacket)
    malformed = error.message
  }
  const answer: BulkAnswer = { pieces, memory, isLast, malformed }
  parentPort?.postMessage(answer, [memory, ...pieces.map((piece) => piece.buffer as ArrayBuffer)])
  // Nothing follows, so the thread ends.
  if (isLast || malformed !== null) parentPort?.close()
})

/** Sent without a copy, unless it is a small piece of memory that others use too. */
function ownMemory(piece: Uint8Array): Uint8Array {
  return piece.buffer.byteLength - piece.byteLength <= mostUnusedBytes ? piece : new Uint8Array(piece)
}

const mostUnusedBytes = 64
