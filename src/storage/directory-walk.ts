import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import { codeOf } from './directory-errors.ts'
import { type FolderContents, type FolderEntry, listedFile, type WalkRange, wantedKeys } from './directory-folder.ts'
import type { FileCalls } from './file-calls.ts'
import { FolderThreads, type IdleThreads } from './folder-threads.ts'
import type { ObjectInfo } from './object-store.ts'

export type Walk = WalkRange & {
  readonly read: (path: string) => Promise<readonly FolderEntry[]>
  /** Whether threads may be started for it where there are many folders; they look into all of them. */
  readonly byThreads: boolean
  readonly idle: IdleThreads
  readonly calls: FileCalls
  readonly clock: Clock
  /** Aborted when nobody waits for it any more: its threads end then, wherever it is. */
  readonly ended: AbortSignal
}

/**
 * The regular files below `folder` (empty, or ending in a slash) of the tree at `root`, in the UTF-8 byte order of their
 * keys. The next folders are opened meanwhile: one call of the file system after the other, ten thousand backups would
 * take ten times as long.
 */
export async function* walkFolder(root: string, folder: string, walk: Walk): AsyncGenerator<readonly ObjectInfo[]> {
  const threads = new FolderThreads(root, { prefix: walk.prefix, after: walk.after }, walk.clock, walk.idle)
  const close = (): void => threads.close()
  walk.ended.addEventListener('abort', close, { once: true })
  try {
    let files: readonly ObjectInfo[] = []
    const tree = { root, walk, threads }
    for await (const more of walkOpened(await openFolder(folder, tree), tree)) {
      files = files.length === 0 ? more : files.concat(more)
      if (files.length < filesAtOnce) continue
      yield files
      files = []
    }
    yield files
  } finally {
    walk.ended.removeEventListener('abort', close)
    close()
  }
}

/** Undefined where the file or folder does not exist, or no longer. */
export async function ignoreAbsence<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
    throw error
  }
}

/** In bursts: what wakes a thread for every single call costs more than the call. */
const foldersAhead = { least: 16, most: 128 } as const
/** It takes a twentieth of a second to start a thread, in which so many folders are read without. */
const foldersForThreads = 100
/** Looked at without, they take as long as the start of a thread. */
const filesForThread = 400
const foldersAheadOfThreads = { least: 256, most: 512 } as const
const filesAtOnce = 256

type Tree = { readonly root: string; readonly walk: Walk; readonly threads: FolderThreads }

async function* walkOpened(contents: FolderContents, tree: Tree): AsyncGenerator<readonly ObjectInfo[]> {
  const { walk, threads } = tree
  if (isFilesOnly(contents)) return yield contents
  const waiting = contents.filter((entry) => typeof entry === 'string')
  const isMany = walk.byThreads && waiting.length >= foldersForThreads
  const ahead = isMany ? foldersAheadOfThreads : foldersAhead
  const opening: Promise<readonly FolderContents[]>[] = []
  let opened: FolderContents[] = []
  /** Of all that are being opened, or are and were not walked yet. */
  let underWay = 0
  let files: ObjectInfo[] = []
  for (const entry of contents) {
    if (typeof entry !== 'string') {
      files.push(entry)
      continue
    }
    if (underWay < ahead.least) {
      const next = waiting.splice(0, ahead.most - underWay)
      underWay += next.length
      const more = isMany ? threads.open(next) : next.map(async (folder) => [await openFolder(folder, tree)])
      for (const some of more) {
        // Whoever stops early does not want to hear of it.
        some.catch(() => {})
        opening.push(some)
      }
    }
    if (opened.length === 0) opened = [...((await opening.shift()) ?? [])].reverse()
    const inside = opened.pop() ?? []
    underWay -= 1
    // A folder of files only, as every backup's is, needs no generator of its own.
    if (isFilesOnly(inside)) {
      for (const file of inside) files.push(file)
      if (files.length < filesAtOnce) continue
      yield files
      files = []
      continue
    }
    if (files.length > 0) yield files
    files = []
    yield* walkOpened(inside, tree)
  }
  yield files
}

function isFilesOnly(contents: FolderContents): contents is readonly ObjectInfo[] {
  return !contents.some((entry) => typeof entry === 'string')
}

async function openFolder(folder: string, { root, walk, threads }: Tree): Promise<FolderContents> {
  const keys = wantedKeys(
    (await ignoreAbsence(walk.calls.run(() => walk.read(join(root, folder))))) ?? [],
    folder,
    walk,
  )
  // The reports of all drills of a database are in one: the thread reads the folder once more, and looks at each file.
  if (walk.byThreads && keys.length >= filesForThread && !keys.some((key) => key.endsWith('/')))
    return (await threads.open([folder])[0])?.[0] ?? []
  const opened: (FolderContents[number] | undefined)[] = []
  for (let index = 0; index < keys.length; index += filesAtOnce) {
    const some = keys.slice(index, index + filesAtOnce)
    opened.push(...(await Promise.all(some.map((key) => (key.endsWith('/') ? key : lookAt(root, key, walk.calls))))))
  }
  return opened.filter((entry) => entry !== undefined)
}

async function lookAt(root: string, key: string, calls: FileCalls): Promise<ObjectInfo | undefined> {
  const stat = await ignoreAbsence(calls.run(() => lstat(join(root, key))))
  // Removed since the folder was read, or a link, a socket, a device.
  return stat?.isFile() === true ? listedFile(key, stat.size, stat.mtimeMs, stat.ctimeMs) : undefined
}
