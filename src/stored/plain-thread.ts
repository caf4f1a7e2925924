import { parentPort, workerData } from 'node:worker_threads'
import { MalformedPacket } from '../encryption/packets.ts'
import type { Block } from '../streams/block-thread.ts'
import { type PlainFile, type PlainOrder, writePlain } from './plain-file.ts'

/* The thread of its own that makes a plain file out of one encrypted object; write-decrypted.ts starts it. */

export type PlainAnswer =
  /** To be filled again. */
  | { readonly kind: 'memory'; readonly memory: ArrayBuffer }
  | { readonly kind: 'written'; readonly file: PlainFile }
  /** Nothing follows. */
  | { readonly kind: 'malformed'; readonly reason: string }
  | { readonly kind: 'failed'; readonly message: string; readonly code: unknown }

const waiting: Block[] = []
let wake: (() => void) | undefined

parentPort?.on('message', (block: Block) => {
  waiting.push(block)
  wake?.()
})

answer(
  await writePlain(workerData as PlainOrder, received()).then(
    (file): PlainAnswer => ({ kind: 'written', file }),
    (error: unknown): PlainAnswer => {
      if (error instanceof MalformedPacket) return { kind: 'malformed', reason: error.message }
      const { message, code } = error as NodeJS.ErrnoException
      return { kind: 'failed', message, code }
    },
  ),
)
// Nothing follows, so the thread ends.
parentPort?.close()

async function* received(): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const block = waiting.shift()
    if (block === undefined) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      continue
    }
    const { memory, length, isLast } = block
    if (length > 0) yield new Uint8Array(memory, 0, length)
    if (isLast) return
    answer({ kind: 'memory', memory }, [memory])
  }
}

function answer(what: PlainAnswer, moved: ArrayBuffer[] = []): void {
  parentPort?.postMessage(what, moved)
}
