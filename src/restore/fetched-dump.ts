import { join } from 'node:path'
import type { Checklist } from '../domain/checklist.ts'
import { reasonOf } from '../errors.ts'
import { fetchDump } from '../stored/fetch-dump.ts'
import type { ReadManifest } from '../stored/read-backup.ts'
import { openDownload } from '../streams/downloads.ts'
import { openSpool } from '../streams/spool.ts'
import { eachCopy } from './each-copy.ts'
import type { RestoreParts, RestoreRequest } from './restore-request.ts'

/** A dump in the spool, decrypted; gone when the scope ends. What was downloaded stays, unless the restore is done. */
export type FetchedDump = AsyncDisposable & {
  readonly file: string
  /** Removes the download. Returns what is worth knowing if it cannot be: the restore has come to its end all the same. */
  finish(): Promise<readonly string[]>
}

type FetchParts = Pick<RestoreParts, 'stores'> & {
  /** Gets why a copy was passed over. */
  readonly notes: string[]
  readonly onProgress?: ((progress: FetchProgress) => void) | undefined
}
type FetchProgress = { readonly phase: 'fetch'; readonly doneBytes: number; readonly totalBytes: number }

/** Room first, then the dump; an interrupted download goes on where it was. Throws what `fetchDump` and the spool throw. */
export async function fetchForRestore(
  { read, from }: { readonly read: ReadManifest; readonly from: readonly string[] },
  { keys, spoolRoot }: Pick<RestoreRequest, 'keys' | 'spoolRoot'>,
  { stores, notes, onProgress }: FetchParts,
  checklist: Checklist,
  signal: AbortSignal,
): Promise<FetchedDump> {
  const { label, objects, dump } = read.manifest
  const { sha256, bytes } = objects.dump
  const download = await openDownload(spoolRoot, { label, sha256, bytes }, signal)
  const opened: AsyncDisposable[] = [download]
  const dispose = async (): Promise<void> => {
    for (const one of opened.toReversed()) await one[Symbol.asyncDispose]()
  }
  try {
    const spool = await openSpool(spoolRoot, dump.bytes + bytes - download.haveBytes)
    opened.push(spool)
    const file = join(spool.folder, 'dump')
    const onBytes = (doneBytes: number): void => onProgress?.({ phase: 'fetch', doneBytes, totalBytes: bytes })
    const fetch = (names: readonly string[], climbed: Checklist): Promise<unknown> => {
      const store = stores.reading(names)
      return fetchDump({ read, keys, store, file, keepDownload: download.path, onBytes }, climbed, signal)
    }
    await eachCopy(from, fetch, checklist, notes)
    const finish = (): Promise<readonly string[]> =>
      download.remove().then(
        () => [],
        (error: unknown) => [`what was downloaded is left in the spool and can be removed: ${reasonOf(error)}`],
      )
    return { file, finish, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}
