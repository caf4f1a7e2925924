import { MessageReader } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { MalformedPacket } from '../encryption/packets.ts'
import { type Block, BlockReader, BlockThread, threadBeside } from '../streams/block-thread.ts'
import { type PlainFile, type PlainOrder, writePlain } from './plain-file.ts'
import type { PlainAnswer } from './plain-thread.ts'

/**
 * Writes what an encrypted object holds to a file, as `writePlain` does, on a thread of its own: gigabytes of plaintext
 * stay out of this thread's memory, where each few of them would have V8 collect the whole heap. Ends the source and the
 * thread, however it ends. `what` names the object. Throws what the source throws, KEY_NO_MATCH, `MalformedPacket` and
 * what `writePlain` throws, by its message and its code.
 */
export async function writeDecrypted(
  source: AsyncIterable<Uint8Array>,
  order: Omit<PlainOrder, 'sessionKey'> & { readonly keys: PrivateKeys; readonly what: string },
  signal: AbortSignal,
): Promise<PlainFile> {
  const { keys, what, compression, fd } = order
  const message = new MessageReader(source, what)
  try {
    const { sessionKey, body } = await message.open(keys)
    const reader = new BlockReader(body)
    const first = await reader.first()
    const write = { sessionKey, compression, fd }
    const file =
      first.at(-1)?.isLast === true
        ? await writePlain(write, bytesOf(first), signal)
        : await onThread(write, first, reader, signal)
    await message.end()
    return file
  } finally {
    await message.close()
  }
}

async function* bytesOf(blocks: readonly Block[]): AsyncGenerator<Uint8Array, void, void> {
  for (const { memory, length } of blocks) if (length > 0) yield new Uint8Array(memory, 0, length)
}

async function onThread(
  order: PlainOrder,
  first: readonly Block[],
  reader: BlockReader,
  signal: AbortSignal,
): Promise<PlainFile> {
  await using thread = new BlockThread<PlainAnswer>(threadFile, 'the plain dump', { workerData: order, resourceLimits })
  for (const block of first) thread.send(block)
  let isRead = false
  for (;;) {
    const answer = await thread.answer(signal)
    if (answer.kind === 'written') return answer.file
    if (answer.kind === 'malformed') throw new MalformedPacket(answer.reason)
    if (answer.kind === 'failed') throw Object.assign(new Error(answer.message), { code: answer.code })
    if (isRead) continue
    const block = await reader.fill(answer.memory)
    isRead = block.isLast
    thread.send(block)
  }
}

/** Its heap holds the places of the data alone, and is cleared often: it is small, so that takes next to nothing. */
const resourceLimits = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 512 }

const threadFile = threadBeside(import.meta.url, 'plain-thread')
