import { existsSync } from 'node:fs'
import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { PgproofError, reasonOf } from '../errors.ts'
import { isAlive } from './process-alive.ts'
import { showLife, showsLife } from './sign-of-life.ts'

/** One drill's or restore's files on disk, gone when the scope ends. */
export type Spool = AsyncDisposable & { readonly folder: string }

/** The folder of a scratch server's socket where the spool is too deep for one; below the system's folder for such. */
export const socketPrefix = 'pgproof-s-'

const ownerFile = 'owner.json'
const ownerSocket = 'owner.sock'
const prefix = 'pgproof-'
const openingPrefix = '.opening-'
/** Opening takes milliseconds; a folder that is still doing so has lost its owner. */
const longestOpeningMs = 600_000

/**
 * Makes a private folder under `root` after checking that `neededBytes` fit. Throws SPOOL_FULL or SPOOL_UNUSABLE.
 * The owner shows inside that it lives, so that a later start can tell a leftover from a drill at work.
 */
export async function openSpool(root: string, neededBytes: number): Promise<Spool> {
  try {
    await mkdir(root, { recursive: true, mode: 0o711 })
    const { bavail, bsize } = await statfs(root)
    const freeBytes = bavail * bsize
    if (freeBytes < neededBytes) {
      const reason = `${mebibytes(neededBytes)} needed, ${mebibytes(freeBytes)} free`
      throw new PgproofError('SPOOL_FULL', { path: root, reason })
    }
    return await makeOwnedFolder(root)
  } catch (thrown) {
    const error = asSpoolError(thrown, root)
    if (error instanceof PgproofError) throw error
    throw new PgproofError('SPOOL_UNUSABLE', { path: root, reason: reasonOf(error) }, { cause: error })
  }
}

/** It takes its place only with its owner inside: a sweep at this very moment must not think it nobody's. */
async function makeOwnedFolder(root: string, kind = ''): Promise<Spool> {
  const opening = await mkdtemp(join(root, `${openingPrefix}${kind}`))
  let life: Server | null = null
  try {
    life = await showLife(join(opening, ownerSocket))
    await writeFile(
      join(opening, ownerFile),
      JSON.stringify({ ...(await processIdentity(process.pid)), hasSocket: life !== null }),
    )
    const folder = join(root, basename(opening).replace(openingPrefix, prefix))
    await rename(opening, folder)
    const dispose = async (): Promise<void> => {
      await removeOwnedFolder(folder)
      life?.close()
    }
    return { folder, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    life?.close()
    await rm(opening, { recursive: true, force: true })
    throw error
  }
}

/** Its owner goes last, so that what an interrupted removal leaves is still known as a leftover. */
async function removeOwnedFolder(folder: string): Promise<void> {
  const options = { recursive: true, force: true, maxRetries: 5 }
  for (const name of await readdir(folder).catch(() => []))
    if (name !== ownerFile && name !== ownerSocket) await rm(join(folder, name), options)
  await rm(folder, options)
}

/** Throws SPOOL_FULL for ENOSPC and EDQUOT, anything else as it is. */
export function asSpoolError(error: unknown, path: string): unknown {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? new PgproofError('SPOOL_FULL', { path, reason: reasonOf(error) }, { cause: error })
    : error
}

/**
 * Removes what drills of dead processes left: their embedded servers are killed, their folders deleted. Returns how
 * many. A folder whose owner still lives is left alone, and so is whatever names no owner: the spool may be a folder
 * that others use too, such as /tmp. What cannot be removed stays and is no error.
 */
export async function sweepSpool(root: string): Promise<number> {
  let swept = 0
  for (const name of await readdir(root).catch(() => [])) {
    if (!name.startsWith(prefix) && !name.startsWith(openingPrefix)) continue
    const folder = join(resolve(root), name)
    try {
      if (name.startsWith(prefix) ? await isOwnerAlive(folder) : await isOpening(folder)) continue
      await killServer(join(folder, 'data'))
      await removeOwnedFolder(folder)
      swept += 1
    } catch {}
  }
  return swept
}

/** The folder of a password file begins with it, in the system's temporary folder. */
const passwordPrefix = `${prefix}pass-`
const passwordKind = passwordPrefix.slice(prefix.length)
const keepNamelessMs = 86_400_000

/** A private folder for a password file. Its owner shows inside that it lives, as in a spool. */
export async function openPasswordFolder(): Promise<Spool> {
  return await makeOwnedFolder(tmpdir(), passwordKind)
}

/**
 * Removes password files of processes that died before they could. In a container each process has the id of the one
 * before it, and another container may share the folder: so the id alone says nothing.
 */
export async function sweepPasswordFiles(): Promise<void> {
  for (const name of await readdir(tmpdir()).catch(() => [])) {
    const isOpen = name.startsWith(passwordPrefix)
    if (!isOpen && !name.startsWith(`${openingPrefix}${passwordKind}`)) continue
    const folder = join(tmpdir(), name)
    try {
      // Another user's is none of ours, and may be there to mislead.
      if ((await lstat(folder)).uid !== process.getuid?.()) continue
      if (isOpen ? await isInUse(folder) : await isOpening(folder)) continue
      await removeOwnedFolder(folder)
    } catch {}
  }
}

/** One without an owner was made by a version of pgproof that named it otherwise. */
async function isInUse(folder: string): Promise<boolean> {
  if (existsSync(join(folder, ownerFile))) return await isOwnerAlive(folder)
  return Date.now() - (await stat(folder)).mtimeMs < keepNamelessMs
}

/** A process, told from a later one with the same id. */
export type ProcessIdentity = { readonly pid: number; readonly startTime: string | null }

/** A killed process may leave its folder before that has taken its place: told by the socket, or by its age before there is one. */
async function isOpening(folder: string): Promise<boolean> {
  const socket = join(folder, ownerSocket)
  // It may take its place at this very moment, and its socket with it.
  if (existsSync(socket)) return (await showsLife(socket)) || !existsSync(folder)
  return Date.now() - (await stat(folder)).mtimeMs < longestOpeningMs
}

/** Throws what reading throws: a folder that names no owner is none of ours. */
async function isOwnerAlive(folder: string): Promise<boolean> {
  const text = await readFile(join(folder, ownerFile), 'utf8')
  try {
    const owner = JSON.parse(text) as ProcessIdentity & { readonly hasSocket?: boolean }
    return owner.hasSocket === true ? await showsLife(join(folder, ownerSocket)) : await isSameProcessAlive(owner)
  } catch {
    return false
  }
}

export async function isSameProcessAlive({ pid, startTime }: ProcessIdentity): Promise<boolean> {
  const now = await processIdentity(pid)
  return isAlive(pid) && now.startTime === startTime
}

/** A process id is used again one day; with its start time (clock ticks since boot, proc(5)) it is not. */
export async function processIdentity(pid: number): Promise<ProcessIdentity> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  const [state, ...fields] = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
  // A zombie is dead, though its parent has not asked yet.
  return { pid, startTime: state === 'Z' ? 'zombie' : (fields[18] ?? null) }
}

/** Ends a scratch server that outlived its drill, and removes its socket; see "postmaster.pid" in miscadmin.h. */
async function killServer(dataFolder: string): Promise<void> {
  const text = await readFile(join(dataFolder, 'postmaster.pid'), 'utf8').catch(() => '')
  const [pidText, folder, , , socketFolder = ''] = text.split('\n')
  const pid = Number(pidText)
  if (folder !== dataFolder) return
  // One with processes of its own is the first of them, and has ended with its owner.
  const command = pid > 1 ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') : ''
  if (command.includes(dataFolder)) await endProcess(pid)
  const isOurs = dirname(socketFolder) === tmpdir() && basename(socketFolder).startsWith(socketPrefix)
  if (isOurs) await rm(socketFolder, { recursive: true, force: true })
}

async function endProcess(pid: number): Promise<void> {
  process.kill(pid, 'SIGQUIT')
  for (let attempt = 0; attempt < 100 && (await isRunning(pid)); attempt += 1)
    await new Promise((done) => setTimeout(done, 50))
  if (await isRunning(pid)) process.kill(pid, 'SIGKILL')
}

async function isRunning(pid: number): Promise<boolean> {
  return isAlive(pid) && (await processIdentity(pid)).startTime !== 'zombie'
}

/** For messages. */
export function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / (1 << 20)).toLocaleString('en')} MiB`
}
