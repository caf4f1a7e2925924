import { lstat, mkdir, open, readdir, realpath, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import { PgproofError } from '../errors.ts'
import { codeOf } from './directory-errors.ts'
import { type FolderEntry, listedFile, plainEntries, readableEntries } from './directory-folder.ts'
import { ignoreAbsence, walkFolder } from './directory-walk.ts'
import type { FileCalls } from './file-calls.ts'
import { IdleThreads } from './folder-threads.ts'
import { temporaryName } from './key-rules.ts'
import type { ObjectInfo } from './object-store.ts'

/** The folders and files below one root; knows keys, and keeps everything inside the root. */
export class DirectoryTree {
  readonly #clock: Clock
  readonly #root: string
  readonly #calls: FileCalls
  /** Folders whose names are known to be on disk. */
  readonly #durable = new Set<string>()
  readonly #idle = new IdleThreads()

  constructor(root: string, clock: Clock, calls: FileCalls) {
    this.#clock = clock
    this.#calls = calls
    this.#root = root.length > 1 ? root.replace(/\/+$/, '') : root
  }

  pathOf(key: string): string {
    return join(this.#root, key)
  }

  close(): void {
    this.#idle.close()
  }

  /** The regular file that `key` names; undefined if there is none. Throws `STORE_BUCKET_MISSING`. */
  async findFile(key: string): Promise<ObjectInfo | undefined> {
    await this.#assertRoot()
    const path = this.pathOf(key)
    const stat = await ignoreAbsence(this.#assertNoLinks(folderOf(key)).then(() => this.#calls.run(() => lstat(path))))
    return stat?.isFile() === true ? listedFile(key, stat.size, stat.mtimeMs, stat.ctimeMs) : undefined
  }

  /** Makes the folders that `key` needs; `syncFoldersOf` makes them durable. */
  async makeFolderOf(key: string): Promise<string> {
    await this.#assertRoot()
    let folder = ''
    for (const name of folderOf(key).split('/')) {
      if (name === '') break
      folder = folder === '' ? name : `${folder}/${name}`
      try {
        await this.#calls.run(() => mkdir(this.pathOf(folder)))
        this.#durable.delete(folder)
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

  /**
   * Makes the name of `key` durable, and those of the folders on the way to it, once each: whoever made them may have
   * died before it could. A folder that is gone needs none.
   */
  async syncFoldersOf(key: string): Promise<void> {
    let folder = folderOf(key)
    await ignoreAbsence(sync(this.pathOf(folder), this.#calls))
    for (; folder !== '' && !this.#durable.has(folder); folder = folderOf(folder)) {
      await ignoreAbsence(sync(this.pathOf(folderOf(folder)), this.#calls))
      this.#durable.add(folder)
    }
  }

  /** Removes the folders of `key` from the innermost up, as far as they are empty; the root stays. */
  async removeEmptyFolders(key: string): Promise<void> {
    for (let folder = folderOf(key); folder !== ''; folder = folderOf(folder)) {
      try {
        await this.#calls.run(() => rmdir(this.pathOf(folder)))
        this.#durable.delete(folder)
      } catch {
        // Not empty, already gone or not ours to remove: an empty folder is no object and does no harm.
        return
      }
    }
  }

  /**
   * Regular files whose key starts with `prefix`, and beyond `after`, in the UTF-8 byte order of their keys, as S3 lists
   * them, some at a time. Abort `ended` when nobody waits for them any more.
   */
  async *walk(prefix: string, after: string, ended: AbortSignal): AsyncGenerator<readonly ObjectInfo[]> {
    await this.#assertRoot()
    const start = prefix.slice(0, prefix.lastIndexOf('/') + 1)
    await ignoreAbsence(this.#assertNoLinks(start.replace(/\/$/, '')))
    for await (const files of walkFolder(this.#root, start, {
      prefix,
      after,
      read: readFolder,
      calls: this.#calls,
      byThreads: true,
      idle: this.#idle,
      clock: this.#clock,
      ended,
    }))
      yield files.some(isHidden) ? files.filter((file) => !isTemporary(file) && !isNfsRemains(file)) : files
  }

  /** What unfinished writes left, in folders that a key of ours can have: `lost+found` and `.snapshot` are not ours. */
  async *walkTemporary(ended: AbortSignal): AsyncGenerator<readonly ObjectInfo[]> {
    await this.#assertRoot()
    for await (const files of walkFolder(this.#root, '', {
      prefix: '',
      after: '',
      read: readOwnFolder,
      calls: this.#calls,
      byThreads: false,
      idle: this.#idle,
      clock: this.#clock,
      ended,
    }))
      yield files.filter(isTemporary)
  }

  async #assertRoot(): Promise<void> {
    const isDirectory = await ignoreAbsence(
      this.#calls
        .run(() => realpath(this.#root))
        .then(async (path) => (await this.#calls.run(() => lstat(path))).isDirectory()),
    )
    if (isDirectory !== true) throw new PgproofError('STORE_BUCKET_MISSING', { bucket: this.#root })
  }

  /** A symbolic link below the root could lead out of it, or in circles; none is followed. */
  async #assertNoLinks(folder: string): Promise<void> {
    const expected = join(await this.#calls.run(() => realpath(this.#root)), folder)
    if ((await this.#calls.run(() => realpath(this.pathOf(folder)))) === expected) return
    throw new PgproofError('STORE_DENIED', {
      operation: `the way to ${folder}`,
      reason: 'a symbolic link below the store’s directory is not followed',
      advice: 'Move what it leads to into the directory, or name that directory in `store.url`.',
    })
  }
}

async function readFolder(path: string): Promise<readonly FolderEntry[]> {
  return (
    plainEntries(await readdir(path, { withFileTypes: true })) ??
    readableEntries(await readdir(path, { withFileTypes: true, encoding: 'buffer' }))
  )
}

async function readOwnFolder(path: string): Promise<readonly FolderEntry[]> {
  try {
    const entries = await readFolder(path)
    return entries.filter(({ name, isDirectory }) => !isDirectory || ownFolderName.test(name))
  } catch (error) {
    // Whoever may not look into it has not written there.
    if (codeOf(error) === 'EACCES' || codeOf(error) === 'EPERM') return []
    throw error
  }
}

/** Escaped names and labels are made of these. */
const ownFolderName = /^[A-Za-z0-9_=-]+$/

/** Whether it may be one of the two below; nearly none is. */
function isHidden({ key }: ObjectInfo): boolean {
  return key.startsWith('.', key.lastIndexOf('/') + 1)
}

function isTemporary({ key }: ObjectInfo): boolean {
  return temporaryName.test(key.slice(key.lastIndexOf('/') + 1))
}

/** What the client of NFS keeps of a file that was deleted while somebody reads it. */
function isNfsRemains({ key }: ObjectInfo): boolean {
  return /^\.nfs[0-9a-f]{8,}$/.test(key.slice(key.lastIndexOf('/') + 1))
}

/** The folder part of a key, without a slash at the end; empty for the root. */
function folderOf(key: string): string {
  return key.slice(0, Math.max(0, key.lastIndexOf('/')))
}

/** Makes the names in a folder durable. */
async function sync(path: string, calls: FileCalls): Promise<void> {
  const handle = await calls.run(() => open(path, 'r'))
  try {
    await calls.run(() => handle.sync())
  } catch (error) {
    // Some network file systems cannot sync a folder; they make names durable by themselves.
    if (!['EINVAL', 'ENOTSUP', 'EBADF', 'ENOSYS'].includes(codeOf(error))) throw error
  } finally {
    await calls.run(() => handle.close())
  }
}
