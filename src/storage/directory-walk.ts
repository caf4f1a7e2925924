import type { Stats } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from './directory-errors.ts'

export type TreeFile = { readonly key: string; readonly path: string; readonly stat: Stats }
export type FolderEntry = { readonly name: string; readonly isDirectory: boolean }

export type Walk = {
  readonly prefix: string
  /** Only keys beyond it. */
  readonly after: string
  readonly read: (path: string) => Promise<readonly FolderEntry[]>
}

/**
 * The regular files below `folder` (empty, or ending in a slash) of the tree at `root`, in the UTF-8 byte order of their
 * keys. The next folders are opened meanwhile: one call of the file system after the other, ten thousand backups would
 * take ten times as long.
 */
export async function* walkFolder(root: string, folder: string, walk: Walk): AsyncGenerator<readonly TreeFile[]> {
  let files: TreeFile[] = []
  for await (const more of walkOpened(root, await openFolder(root, folder, walk), walk)) {
    files = files.concat(more)
    if (files.length < filesAtOnce) continue
    yield files
    files = []
  }
  yield files
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
const filesAtOnce = 256

/** What is in a folder, in the order of the keys; a folder's ends in a slash. */
type Opened = readonly (TreeFile | { readonly key: string; readonly isFolder: true })[]

async function* walkOpened(root: string, entries: Opened, walk: Walk): AsyncGenerator<readonly TreeFile[]> {
  const waiting = entries.flatMap((entry) => ('isFolder' in entry ? [entry.key] : []))
  const opening: Promise<Opened>[] = []
  let files: TreeFile[] = []
  for (const entry of entries) {
    if (!('isFolder' in entry)) {
      files.push(entry)
      continue
    }
    const room = opening.length < foldersAhead.least ? foldersAhead.most - opening.length : 0
    for (const key of waiting.splice(0, room)) {
      const opened = openFolder(root, key, walk)
      // Whoever stops early does not want to hear of it.
      opened.catch(() => {})
      opening.push(opened)
    }
    if (files.length > 0) yield files
    files = []
    yield* walkOpened(root, (await opening.shift()) ?? [], walk)
  }
  yield files
}

async function openFolder(root: string, folder: string, { prefix, after, read }: Walk): Promise<Opened> {
  const found = await ignoreAbsence(read(join(root, folder)))
  const start = Buffer.from(after)
  const entries = (found ?? [])
    // With its slash a folder sorts where its contents do: `a-b` before `a/c`.
    .map(({ name, isDirectory }) => ({ isDirectory, key: `${folder}${name}${isDirectory ? '/' : ''}` }))
    .filter(({ key }) => key.startsWith(prefix) || (key.endsWith('/') && prefix.startsWith(key)))
    .map(({ isDirectory, key }) => ({ isDirectory, key, order: Buffer.from(key) }))
    .filter(({ isDirectory, key, order }) => Buffer.compare(order, start) > 0 || (isDirectory && after.startsWith(key)))
    .sort((one, other) => Buffer.compare(one.order, other.order))
  const opened: (Opened[number] | undefined)[] = []
  for (let index = 0; index < entries.length; index += filesAtOnce) {
    const some = entries.slice(index, index + filesAtOnce)
    opened.push(
      ...(await Promise.all(
        some.map(({ isDirectory, key }) => (isDirectory ? { key, isFolder: true as const } : statFile(root, key))),
      )),
    )
  }
  return opened.filter((entry) => entry !== undefined)
}

async function statFile(root: string, key: string): Promise<TreeFile | undefined> {
  const path = join(root, key)
  const stat = await ignoreAbsence(lstat(path))
  // Removed since the folder was read, or a link, a socket, a device.
  return stat?.isFile() === true ? { key, path, stat } : undefined
}
