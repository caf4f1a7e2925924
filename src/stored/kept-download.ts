import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { PgproofError, reasonOf } from '../errors.ts'
import type { StoreReader } from '../storage/store-set.ts'
import { asSpoolError } from '../streams/spool.ts'

export type KeptDownload = {
  readonly path: string
  readonly store: StoreReader
  readonly key: string
  /** The size of the object by its manifest. */
  readonly bytes: number
}

/** How much of the object is in the file; a file that cannot be the beginning of it is emptied. */
export async function keptBytes({ path, store, key, bytes }: KeptDownload, signal: AbortSignal): Promise<number> {
  await using kept = await openKept(path)
  const { size } = await kept.handle.stat()
  if (size === 0 || size === bytes) return size
  // An object of another size is not the one that was stored: it is read from its beginning, and found out.
  const stored = size < bytes ? await store.head(key, { signal }) : undefined
  if (size < bytes && (stored === undefined || stored.bytes === bytes)) return size
  await kept.handle.truncate()
  return 0
}

/**
 * The object: first what the file holds, then the rest from the store, which is appended to the file as it comes. One
 * pass, in constant memory. Whatever ends it, the file is a beginning of the object. Throws SPOOL_FULL, SPOOL_UNUSABLE
 * and what the store throws.
 */
export async function* readKept(
  { path, store, key, bytes }: KeptDownload,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  await using kept = await openKept(path)
  let offset = 0
  for (;;) {
    const buffer = Buffer.allocUnsafeSlow(chunkBytes)
    const { bytesRead } = await kept.handle.read(buffer, 0, chunkBytes, offset).catch((error) => {
      throw toSpoolError(error, path)
    })
    if (bytesRead === 0) break
    offset += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
  // All of it needs no store.
  if (offset === bytes) return
  let written: Promise<void> = Promise.resolve()
  try {
    for await (const chunk of await store.read(key, { signal, offset })) {
      await written
      written = append(kept.handle, chunk as Uint8Array, offset).catch((error) => {
        throw toSpoolError(error, path)
      })
      // Awaited below; until then it is nobody's.
      written.catch(() => {})
      offset += (chunk as Uint8Array).length
      yield chunk as Uint8Array
    }
  } finally {
    await written
  }
}

const chunkBytes = 256 * 1024

async function openKept(path: string): Promise<AsyncDisposable & { readonly handle: FileHandle }> {
  try {
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
    return { handle, [Symbol.asyncDispose]: () => handle.close() }
  } catch (error) {
    throw toSpoolError(error, path)
  }
}

async function append(handle: FileHandle, chunk: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < chunk.length; )
    done += (await handle.write(chunk, done, chunk.length - done, offset + done)).bytesWritten
}

function toSpoolError(thrown: unknown, path: string): unknown {
  const error = asSpoolError(thrown, path)
  if (error instanceof PgproofError) return error
  return new PgproofError('SPOOL_UNUSABLE', { path, reason: reasonOf(error) }, { cause: error })
}
