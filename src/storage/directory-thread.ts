/**
 * A thread that looks into folders, for FolderThreads. It waits for each call of the file system, which is several times
 * cheaper than to be told of its end; nobody else waits with it, however long a mount takes to answer.
 */
import { lstatSync, readdirSync, type Stats } from 'node:fs'
import { parentPort } from 'node:worker_threads'
// The ending is that of this file: sources run as they are.
import { type FolderEntry, plainEntries, readableEntries, type WalkRange, wantedKeys } from './directory-folder.ts'

/** Some folders below a root. */
export type FolderRequest = WalkRange & { readonly root: string; readonly folders: readonly string[] }

/** Put together so that it is handed over at once, not object by object. */
export type FolderAnswer = {
  /** In order, without those of what is no file or folder, separated by NUL, which no file system allows in a name. */
  readonly keys: string
  /** How many of them are in each folder. */
  readonly counts: readonly number[]
  /** Bytes, modification and change time in milliseconds of each, zeros for a folder. */
  readonly stats: Float64Array
  /** What the file system says, if it fails. */
  readonly fault: FolderFault | null
}

export type FolderFault = {
  readonly message: string
  readonly code: string
  readonly errno: number
  readonly syscall: string
}

parentPort?.on('message', (request: FolderRequest) => {
  const answer = answerTo(request)
  parentPort?.postMessage(answer, [answer.stats.buffer as ArrayBuffer])
})

function answerTo({ root, folders, ...range }: FolderRequest): FolderAnswer {
  const keys: string[] = []
  const counts: number[] = []
  const stats: number[] = []
  let fault: FolderFault | null = null
  try {
    for (const folder of folders) {
      const before = keys.length
      const entries = unlessAbsent(() => read(`${root}/${folder}`))
      for (const key of wantedKeys(entries ?? [], folder, range)) {
        const stat = key.endsWith('/') ? noStat : statOfFile(`${root}/${key}`)
        if (stat === undefined) continue
        keys.push(key)
        stats.push(stat.size, stat.mtimeMs, stat.ctimeMs)
      }
      counts.push(keys.length - before)
    }
  } catch (error) {
    const { message, code = '', errno = 0, syscall = '' } = error as NodeJS.ErrnoException
    fault = { message, code, errno, syscall }
  }
  return { keys: keys.join('\0'), counts, stats: new Float64Array(stats), fault }
}

function read(path: string): readonly FolderEntry[] {
  return (
    plainEntries(readdirSync(path, { withFileTypes: true })) ??
    readableEntries(readdirSync(path, { withFileTypes: true, encoding: 'buffer' }))
  )
}

const noStat = { size: 0, mtimeMs: 0, ctimeMs: 0 }

function statOfFile(path: string): Stats | undefined {
  const stat = unlessAbsent(() => lstatSync(path))
  return stat?.isFile() === true ? stat : undefined
}

function unlessAbsent<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}
