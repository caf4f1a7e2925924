import type { BigIntStats } from 'node:fs'
import { link, lstat, rename, unlink } from 'node:fs/promises'
import { PgproofError } from '../errors.ts'
import { codeOf } from './directory-errors.ts'
import { ignoreAbsence } from './directory-walk.ts'
import type { FileCalls } from './file-calls.ts'

/** A file that is written and on disk, on its way from a hidden name to its own. */
export type FinishedFile = {
  readonly temporary: string
  readonly target: string
  readonly key: string
  /** Of the file itself, whatever its name is. */
  readonly stat: BigIntStats
}

/** Takes the place of whatever has the name. */
export async function renameOver({ temporary, target, stat }: FinishedFile, calls: FileCalls): Promise<void> {
  try {
    await calls.run(() => rename(temporary, target))
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || !(await isAlready(target, stat, calls))) throw error
  }
}

/** The name must be free. Throws STORE_EXISTS. */
export async function linkNew(file: FinishedFile, calls: FileCalls): Promise<void> {
  const { temporary, target, key, stat } = file
  try {
    await calls.run(() => link(temporary, target))
  } catch (error) {
    if (codeOf(error) === 'EEXIST') {
      if (!(await isAlready(target, stat, calls))) throw new PgproofError('STORE_EXISTS', { key })
    } else if (noLinkCodes.has(codeOf(error))) {
      // A look before the rename is the best that such a file system allows.
      const taken = await ignoreAbsence(calls.run(() => lstat(target)))
      if (taken !== undefined) throw new PgproofError('STORE_EXISTS', { key })
      return await renameOver(file, calls)
    } else throw error
  }
  await ignoreAbsence(calls.run(() => unlink(temporary)))
}

/** Some network and FAT file systems have no hard links. */
const noLinkCodes = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/**
 * Whether the very file is under the name already. On NFS before 4.1 a call whose answer was lost is made again, and may
 * then fail because it had succeeded.
 */
async function isAlready(target: string, { dev, ino }: BigIntStats, calls: FileCalls): Promise<boolean> {
  // Numbers beyond 2^53 are common there; a file system without any says 0.
  const found = await ignoreAbsence(calls.run(() => lstat(target, { bigint: true })))
  return found !== undefined && ino !== 0n && found.dev === dev && found.ino === ino
}
