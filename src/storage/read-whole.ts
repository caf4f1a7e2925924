import type { Readable } from 'node:stream'
import { PgproofError } from '../errors.ts'

/** Whoever asks for what comes after the end of an object takes it for another one. */
export function offsetBeyondEnd(operation: string, offset: number, bytes: number): PgproofError {
  const reason = `the object has ${bytes} bytes, what comes after ${offset} was asked for`
  return new PgproofError('STORE_FAILED', { operation, reason })
}

/** What a small object may weigh unless the caller says otherwise. */
export const defaultMaxBytes = 64 * 2 ** 20

/** The whole object in memory; throws `STORE_FORMAT_INVALID` if it is larger than `maxBytes`. */
export async function readWhole(
  object: { readonly stream: Readable; readonly bytes: number },
  key: string,
  maxBytes = defaultMaxBytes,
): Promise<Uint8Array> {
  if (object.bytes > maxBytes) {
    object.stream.destroy()
    throw new PgproofError('STORE_FORMAT_INVALID', {
      what: key,
      reason: `it has ${object.bytes} bytes, at most ${maxBytes} were expected`,
    })
  }
  const chunks: Buffer[] = []
  for await (const chunk of object.stream as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}
