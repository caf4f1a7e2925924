import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect } from 'vitest'

/** The path of a stand-in program. */
export function fixture(name: string): string {
  const path = resolve('test/fixtures/bin', name)
  if (!existsSync(path)) throw new Error(`no stand-in program ${path}`)
  return path
}

export async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** What a promise was rejected with; throws if it was not. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('resolved, but a failure was expected')
}

/** Asks again and again until the answer fits, for as long as a busy machine may need. */
export const eventually: typeof expect.poll = (ask) => expect.poll(ask, { timeout: 15_000 })
