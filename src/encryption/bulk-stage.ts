import { type Block, BlockReader, BlockThread, threadBeside } from '../streams/block-thread.ts'
import type { BulkAnswer } from './bulk-thread.ts'
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
    const first = await reader.first()
    yield* first.at(-1)?.isLast === true ? here(order, first) : onThread(order, first, reader)
  } finally {
    await reader.close()
  }
}

function* here(order: BulkOrder, stream: readonly Block[]): Generator<Uint8Array, void, void> {
  const bulk = createBulk(order)
  for (const { memory, length } of stream) yield* bulk.push(new Uint8Array(memory, 0, length))
  yield* bulk.end()
}

async function* onThread(
  order: BulkOrder,
  first: readonly Block[],
  reader: BlockReader,
): AsyncGenerator<Uint8Array, void, void> {
  const options = { workerData: order, resourceLimits }
  await using thread = new BlockThread<BulkAnswer>(threadFile, `${order.direction}ion`, options)
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

/** It keeps next to nothing, so a small heap is enough, and is cleared often. */
const resourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 }

const threadFile = threadBeside(import.meta.url, 'bulk-thread')
