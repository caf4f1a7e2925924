import { chmod, mkdir, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { assertNotAborted, PgproofError, reasonOf } from '../errors.ts'
import { asSpoolError, isSameProcessAlive, mebibytes, type ProcessIdentity, processIdentity } from './spool.ts'

/** Which object it is, as its manifest has it. */
export type DownloadOf = { readonly label: string; readonly sha256: string; readonly bytes: number }

/** The file that keeps what has been downloaded of an object, claimed for this process until the scope ends. */
export type Download = AsyncDisposable & {
  /** Absent until something is written to it. */
  readonly path: string
  /** What an interrupted run has left in it. */
  readonly haveBytes: number
  /** Deletes it and gives up the claim; for after the restore. */
  remove(): Promise<void>
}

/**
 * Claims `<spoolRoot>/downloads/<label>-<sha256>.part` after checking that what is missing of the object fits. The end
 * of the scope gives up the claim and keeps the file, for a later run. Throws LOCKED while a living process has it
 * claimed, SPOOL_FULL or SPOOL_UNUSABLE.
 */
export async function openDownload(
  spoolRoot: string,
  { label, sha256, bytes }: DownloadOf,
  signal?: AbortSignal,
): Promise<Download> {
  const what = `the download of ${label}`
  if (signal !== undefined) assertNotAborted(signal, what)
  const folder = join(resolve(spoolRoot), folderName)
  try {
    await mkdir(spoolRoot, { recursive: true, mode: 0o711 })
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await chmod(folder, 0o700)
    const part = `${label}-${sha256.slice(0, 12)}${partSuffix}`
    const path = join(folder, part)
    const claim = await claimPart(folder, part)
    if (claim === null) throw new PgproofError('LOCKED', { what })
    try {
      const haveBytes = await sizeOf(path)
      await assertFits(folder, bytes - haveBytes)
      const remove = async (): Promise<void> => {
        await rm(path, { force: true })
        await claim.release()
      }
      // A longer one is no beginning of this object; whoever fetches begins anew.
      return { path, haveBytes: haveBytes > bytes ? 0 : haveBytes, remove, [Symbol.asyncDispose]: claim.release }
    } catch (error) {
      await claim.release()
      throw error
    }
  } catch (thrown) {
    const error = asSpoolError(thrown, folder)
    if (error instanceof PgproofError) throw error
    throw new PgproofError('SPOOL_UNUSABLE', { path: folder, reason: reasonOf(error) }, { cause: error })
  }
}

/**
 * Removes what was last written to before `olderThan` and is claimed by no living process. Returns how many. What
 * cannot be removed stays and is no error.
 */
export async function removeOldDownloads(spoolRoot: string, olderThan: Date): Promise<number> {
  const folder = join(resolve(spoolRoot), folderName)
  let removed = 0
  for (const name of await readdir(folder).catch(() => [])) {
    try {
      const claimed = claimPattern.exec(name)
      if (claimed !== null && !(await isSameProcessAlive(ownerOf(claimed)))) await rm(join(folder, name))
      if (!name.endsWith(partSuffix)) continue
      if ((await stat(join(folder, name))).mtime >= olderThan) continue
      const claim = await claimPart(folder, name)
      if (claim === null) continue
      await rm(join(folder, name))
      await claim.release()
      removed += 1
    } catch {}
  }
  return removed
}

const folderName = 'downloads'
const partSuffix = '.part'
/** What is claimed, and the claimer's process id and start time. */
const claimPattern = /^(.+\.part)\.(\d+)-(\w*)\.claim$/

type Claim = { release(): Promise<void> }

/** Claims of this very process, by path. */
const ownClaims = new Set<string>()

/**
 * A claim is an empty file with its owner in its name, so it is whole the moment it is there, and nobody ever takes
 * over the claim of another. Each process puts its own first and looks for others then: of two at the same moment at
 * least one sees the other, and gives up. Null while another has it.
 */
async function claimPart(folder: string, part: string): Promise<Claim | null> {
  const own = await processIdentity(process.pid)
  const name = `${part}.${own.pid}-${own.startTime ?? ''}.claim`
  const path = join(folder, name)
  if (ownClaims.has(path)) return null
  ownClaims.add(path)
  let isReleased = false
  const release = async (): Promise<void> => {
    // The next claim of this process has the same name.
    if (isReleased) return
    isReleased = true
    await rm(path, { force: true }).finally(() => ownClaims.delete(path))
  }
  try {
    await writeFile(path, '', { mode: 0o600 })
    for (const other of await readdir(folder)) {
      const claimed = claimPattern.exec(other)
      if (other === name || claimed?.[1] !== part) continue
      if (await isSameProcessAlive(ownerOf(claimed))) {
        await release()
        return null
      }
      await rm(join(folder, other), { force: true })
    }
    return { release }
  } catch (error) {
    await release().catch(() => {})
    throw error
  }
}

function ownerOf([, , pid, startTime]: RegExpExecArray): ProcessIdentity {
  return { pid: Number(pid), startTime: startTime || null }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}

async function assertFits(folder: string, missingBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  const freeBytes = bavail * bsize
  if (freeBytes >= missingBytes) return
  const reason = `${mebibytes(missingBytes)} needed, ${mebibytes(freeBytes)} free`
  throw new PgproofError('SPOOL_FULL', { path: folder, reason })
}
