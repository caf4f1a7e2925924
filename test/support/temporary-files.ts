import { chmodSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, statfsSync } from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'

const place = '/dev/shm'
/** Of statfs(2). */
const tmpfs = 0x01_02_19_94
/** Far more than a whole run holds at once, its servers included. */
const enoughBytes = 12 * 2 ** 30

/**
 * Keeps the temporary files of this process and of those that it starts in memory, for as long as it runs, where there is
 * plenty and TMPDIR names no other place. The tests make and drop hundreds of databases and servers; ext4 without a
 * journal, as virtual machines have it, looks at every inode that was freed in the last half minute before it makes a file,
 * which was a third of the processor time of such tests.
 */
export function keepTemporaryFilesInMemory(): void {
  if (process.env['TMPDIR'] !== undefined || !hasPlenty()) return
  // A process id says nothing outside of its namespace (pid_namespaces(7)), and containers may share the memory.
  const prefix = `pgproof-tests-${/\d+/.exec(readlinkSync('/proc/self/ns/pid'))}-`
  // Of a run that was killed.
  for (const name of readdirSync(place))
    if (name.startsWith(prefix) && !isThere(Number(name.slice(prefix.length)))) remove(join(place, name))
  const folder = join(place, `${prefix}${process.pid}`)
  mkdirSync(folder)
  // As /tmp: some programs that tests start run as another user.
  chmodSync(folder, 0o1777)
  process.env['TMPDIR'] = folder
  process.once('exit', () => remove(folder))
}

function hasPlenty(): boolean {
  try {
    const { type, bavail, bsize } = statfsSync(place)
    return type === tmpfs && Math.min(bavail * bsize, freemem()) > enoughBytes
  } catch {
    return false
  }
}

/** Also true of another user's process, which may not be signalled. */
function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** With the servers that a run which was killed left at work in it. What belongs to somebody else stays. */
function remove(folder: string): void {
  try {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
      if (worksIn(folder, pid)) process.kill(Number(pid), 'SIGKILL')
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  } catch {}
}

function worksIn(folder: string, pid: string): boolean {
  try {
    const isStartedWith = readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`${folder}/`)
    return isStartedWith || readlinkSync(`/proc/${pid}/cwd`).startsWith(`${folder}/`)
  } catch {
    return false
  }
}
