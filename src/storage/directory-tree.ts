import type { Stats } from 'node:fs'
import { lstat, mkdir, open, readdir, realpath, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PgproofError } from '../errors.ts'
import { codeOf } from './directory-errors.ts'
import { temporaryName } from './key-rules.ts'

export type TreeFile = { readonly key: string; readonly path: string; readonly stat: Stats }

/** The folders and files below one root; knows keys, and keeps everything inside the root. */
export class DirectoryTree {
  readonly #root: string

  constructor(root: string) {
    this.#root = root.length > 1 ? root.replace(/\/+$/, '') : root
  }

  pathOf(key: string): string {
    return join(this.#root, key)
  }

  /** The regular file that `key` names; undefined if there is none. Throws `STORE_BUCKET_MISSING`. */
  async findFile(key: string): Promise<TreeFile | undefined> {
    await this.#assertRoot()
    const path = this.pathOf(key)
    const stat = await ignoreAbsence(this.#assertNoLinks(folderOf(key)).then(() => lstat(path)))
    return stat?.isFile() === true ? { key, path, stat } : undefined
  }

  /** Makes the folders that `key` needs, durably. */
  async makeFolderOf(key: string): Promise<string> {
    await this.#assertRoot()
    let folder = ''
    for (const name of folderOf(key).split('/')) {
      if (name === '') break
      folder = folder === '' ? name : `${folder}/${name}`
      try {
        await mkdir(this.pathOf(folder))
        await sync(dirname(this.pathOf(folder)))
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error
        await this.#assertNoLinks(folder)
      }
    }
    return this.pathOf(folder)
  }

  /** Runs `action` in the folder of `key`, which another writer's delete may have just removed for being empty. */
  async inFolderOf<T>(key: string, action: () => Promise<T>): Promise<T> {
    for (let round = 1; ; round += 1) {
      try {
        return await action()
      } catch (error) {
        if (codeOf(error) !== 'ENOENT' || round === 5) throw error
        await this.makeFolderOf(key)
      }
    }
  }

  /** Makes the names in the folder of `key` durable; a folder that is gone needs none. */
  async syncFolderOf(key: string): Promise<void> {
    await ignoreAbsence(sync(this.pathOf(folderOf(key))))
  }

  /** Removes the folders of `key` from the innermost up, as far as they are empty; the root stays. */
  async removeEmptyFolders(key: string): Promise<void> {
    for (let folder = folderOf(key); folder !== ''; folder = folderOf(folder)) {
      try {
        await rmdir(this.pathOf(folder))
      } catch {
        // Not empty, already gone or not ours to remove: an empty folder is no object and does no harm.
        return
      }
    }
  }

  /** Regular files whose key starts with `prefix`, in the UTF-8 byte order of their keys, as S3 lists them. */
  async *walk(prefix: string, which: { readonly isTemporary: boolean }): AsyncGenerator<TreeFile> {
    await this.#assertRoot()
    const start = prefix.slice(0, prefix.lastIndexOf('/') + 1)
    await ignoreAbsence(this.#assertNoLinks(start.replace(/\/$/, '')))
    for await (const file of this.#walkFolder(start, prefix)) {
      if (temporaryName.test(file.key.slice(file.key.lastIndexOf('/') + 1)) === which.isTemporary) yield file
    }
  }

  /** `folder` is empty or ends in a slash. */
  async *#walkFolder(folder: string, prefix: string): AsyncGenerator<TreeFile> {
    const found = await ignoreAbsence(readdir(this.pathOf(folder), { withFileTypes: true }))
    const names = (found ?? [])
      // With its slash a folder sorts where its contents do: `a-b` before `a/c`.
      .map((entry) => ({ entry, key: `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}` }))
      .filter(({ key }) => key.startsWith(prefix) || (key.endsWith('/') && prefix.startsWith(key)))
      .map(({ entry, key }) => ({ entry, key, order: Buffer.from(key) }))
      .sort((one, other) => Buffer.compare(one.order, other.order))
    for (const { entry, key } of names) {
      if (entry.isDirectory()) yield* this.#walkFolder(key, prefix)
      else {
        const path = this.pathOf(key)
        // Removed since the folder was read, or a link, a socket, a device.
        const stat = await ignoreAbsence(lstat(path))
        if (stat?.isFile() === true) yield { key, path, stat }
      }
    }
  }

  async #assertRoot(): Promise<void> {
    const isDirectory = await ignoreAbsence(
      realpath(this.#root).then(async (path) => (await lstat(path)).isDirectory()),
    )
    if (isDirectory !== true) throw new PgproofError('STORE_BUCKET_MISSING', { bucket: this.#root })
  }

  /** A symbolic link below the root could lead out of it, or in circles; none is followed. */
  async #assertNoLinks(folder: string): Promise<void> {
    const expected = join(await realpath(this.#root), folder)
    if ((await realpath(this.pathOf(folder))) === expected) return
    throw new PgproofError('STORE_DENIED', {
      operation: `the way to ${folder}`,
      reason: 'a symbolic link below the store’s directory is not followed',
    })
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

/** The folder part of a key, without a slash at the end; empty for the root. */
function folderOf(key: string): string {
  return key.slice(0, Math.max(0, key.lastIndexOf('/')))
}

/** Makes the names in a folder durable. */
async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } catch (error) {
    // Some network file systems cannot sync a folder; they make names durable by themselves.
    if (!['EINVAL', 'ENOTSUP', 'EBADF'].includes(codeOf(error))) throw error
  } finally {
    await handle.close()
  }
}
