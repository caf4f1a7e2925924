import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect } from 'vitest'

/**
 * What a thread for blocks answers to all of these bytes, in two blocks. It gets this process's environment, so that what
 * it runs is counted; returns when it has ended by itself, with 0.
 */
export async function answersOfThread<Answer>(
  file: URL,
  workerData: unknown,
  bytes: Uint8Array,
): Promise<readonly Answer[]> {
  const thread = new Worker(file, { workerData, execArgv: [] })
  const answers: Answer[] = []
  thread.on('message', (answer: Answer) => answers.push(answer))
  const half = bytes.length >> 1
  for (const [index, part] of [bytes.subarray(0, half), bytes.subarray(half)].entries()) {
    const memory = Uint8Array.from(part).buffer
    thread.postMessage({ memory, length: part.length, isLast: index === 1 }, [memory])
  }
  expect(await once(thread, 'exit')).toEqual([0])
  return answers
}
