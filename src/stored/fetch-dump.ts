import { type FileHandle, open, rm } from 'node:fs/promises'
import type { Checklist } from '../domain/checklist.ts'
import { asDecryptionFailure } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { type DataPlace, writePlaces } from '../postgres/archive-places.ts'
import type { StoreReader } from '../storage/store-set.ts'
import { createMeasure, type Measured } from '../streams/measure.ts'
import { asSpoolError } from '../streams/spool.ts'
import { type KeptDownload, keptBytes, readKept } from './kept-download.ts'
import type { ReadManifest } from './read-backup.ts'
import { writeDecrypted } from './write-decrypted.ts'

export type FetchRequest = {
  readonly read: ReadManifest
  readonly keys: PrivateKeys
  readonly store: StoreReader
  /** Must not exist yet. */
  readonly file: string
  /**
   * A file that keeps the object as it comes: what an interrupted run left in it is not downloaded again. Created if
   * absent; nobody else may write to it. Default: nothing is kept.
   */
  readonly keepDownload?: string | undefined
  readonly onBytes?: ((storedBytes: number) => void) | undefined
}

/**
 * Fetches, decrypts and decompresses a dump into `file` in one pass, and reports it as two rungs: `SHA-256`, the object
 * is the one that was stored, and `decryption`, it opens to the very dump that was made. Then, and only then, its table
 * of contents is completed with the places of the data. After a failure there is no `file`, while what was downloaded is
 * kept if it was to be; it goes only where it is not the object that was stored.
 * Throws STORE_NOT_FOUND, OBJECT_MISMATCH, DECRYPTION_FAILED, KEY_NO_MATCH, SPOOL_FULL or SPOOL_UNUSABLE.
 */
export async function fetchDump(request: FetchRequest, checklist: Checklist, signal: AbortSignal): Promise<void> {
  const { manifest, folder } = request.read
  const key = `${folder}${manifest.objects.dump.name}`
  try {
    const fetched = await checklist.run('SHA-256', () => fetchObject(request, key, signal))
    const { places } = await checklist.run('decryption', async () => {
      if (fetched.failure !== null) throw fetched.failure
      assertMeasured(key, 'dump inside', manifest.dump, fetched.plain)
      return fetched
    })
    await writePlaces(request.file, places)
  } catch (error) {
    if (!isOfForeignFile(error)) await rm(request.file, { force: true }).catch(() => {})
    throw error
  }
}

type Decrypted = {
  readonly stored: Measured
  readonly plain: Measured
  readonly places: readonly DataPlace[]
  readonly failure: null
}
type Stumbled = { readonly stored: null; readonly failure: PgproofError }

async function fetchObject(request: FetchRequest, key: string, signal: AbortSignal): Promise<Decrypted | Stumbled> {
  const kept = keptDownloadOf(request, key)
  if (kept === null) return await fetchOnce(request, key, signal)
  const haveBytes = await keptBytes(kept, signal)
  try {
    return await fetchOnce(request, key, signal)
  } catch (error) {
    if (!isMismatch(error)) throw error
    await rm(kept.path, { force: true })
    if (haveBytes === 0) throw error
  }
  // What an interrupted run left may have been damaged here, or be of an object that was replaced since.
  await rm(request.file, { force: true })
  try {
    return await fetchOnce(request, key, signal)
  } catch (error) {
    if (isMismatch(error)) await rm(kept.path, { force: true })
    throw error
  }
}

async function fetchOnce(request: FetchRequest, key: string, signal: AbortSignal): Promise<Decrypted | Stumbled> {
  const outcome = await decryptInto(request, key, signal)
  // Where decryption stumbled, the object itself is still to be judged: read once more, only for its hash.
  const stored = outcome.stored ?? (await measureObject(request, key, signal))
  assertMeasured(key, 'object', request.read.manifest.objects.dump, stored)
  return outcome
}

/** What is wrong with the object's contents is returned, everything else is thrown. */
async function decryptInto(request: FetchRequest, key: string, signal: AbortSignal): Promise<Decrypted | Stumbled> {
  const { read, keys, file, onBytes } = request
  const { compression } = read.manifest.dump
  const stored = createMeasure(onBytes)
  await using object = await openObject(request, key, signal)
  const handle = await makeFile(file)
  try {
    const order = { keys, what: key, compression, fd: handle.fd }
    const { plain, places } = await writeDecrypted(stored.stage(object.bytes), order, signal)
    return { stored: stored.result(), plain, places, failure: null }
  } catch (error) {
    signal.throwIfAborted()
    const failure = asContentFailure(error, key)
    if (failure === null) throw asSpoolError(error, file)
    return { stored: null, failure }
  } finally {
    await handle.close()
  }
}

async function makeFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o600)
  } catch (thrown) {
    const error = asSpoolError(thrown, path)
    throw error instanceof PgproofError
      ? error
      : new PgproofError('SPOOL_UNUSABLE', { path, reason: reasonOf(error) }, { cause: error })
  }
}

/** Whether a file stood in the place of the dump already: that one is to stay. */
function isOfForeignFile(error: unknown): boolean {
  return error instanceof PgproofError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'EEXIST'
}

/** With the scope's end nothing is read or kept any more. */
async function openObject(
  request: FetchRequest,
  key: string,
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly bytes: AsyncIterable<Uint8Array> }> {
  const kept = keptDownloadOf(request, key)
  if (kept === null) {
    const stream = await request.store.read(key, { signal })
    return { bytes: stream, [Symbol.asyncDispose]: async () => void stream.destroy() }
  }
  const ending = new AbortController()
  const bytes = readKept(kept, AbortSignal.any([signal, ending.signal]))
  return {
    bytes,
    [Symbol.asyncDispose]: async () => {
      ending.abort()
      // Its failures are the pipeline's already; what is waited for is its last write.
      await bytes.return().catch(() => {})
    },
  }
}

function keptDownloadOf({ keepDownload: path, read, store }: FetchRequest, key: string): KeptDownload | null {
  return path === undefined ? null : { path, store, key, bytes: read.manifest.objects.dump.bytes }
}

function asContentFailure(thrown: unknown, key: string): PgproofError | null {
  const error = asDecryptionFailure(thrown, key)
  if (error instanceof PgproofError)
    return error.code === 'DECRYPTION_FAILED' || error.code === 'KEY_NO_MATCH' ? error : null
  const { code } = error as { code?: unknown }
  if (typeof code !== 'string' || !(code.startsWith('ZSTD_') || code === 'Z_BUF_ERROR')) return null
  const reason = 'its compressed content is damaged'
  return new PgproofError('DECRYPTION_FAILED', { what: key, reason }, { cause: error })
}

async function measureObject(request: FetchRequest, key: string, signal: AbortSignal): Promise<Measured> {
  const measure = createMeasure()
  await using object = await openObject(request, key, signal)
  for await (const _ of measure.stage(object.bytes));
  return measure.result()
}

function isMismatch(error: unknown): boolean {
  return error instanceof PgproofError && error.code === 'OBJECT_MISMATCH'
}

function assertMeasured(key: string, what: string, expected: Measured, measured: Measured): void {
  if (expected.sha256 === measured.sha256 && expected.bytes === measured.bytes) return
  throw new PgproofError('OBJECT_MISMATCH', {
    key,
    reason: `the SHA-256 of the ${what} is not the one in the manifest`,
  })
}
