import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { waitFor } from '../commands/cli.ts'
import { isRunning } from '../support/processes.ts'

/** A control group whose processes share so much memory and no more. */
export type MemoryGroup = {
  /** This process, and all that it starts from now on. */
  take(pid: number): void
  /** Allows no more than is in use, and has another process of the group ask for more: until the kernel has killed one. */
  press(): Promise<void>
  /** Waits until it is empty, and removes it. */
  remove(): Promise<void>
}

const root = '/sys/fs/cgroup'

/** Of version 2 or 1 of control groups, whichever counts memory here. */
export function makeMemoryGroup(): MemoryGroup {
  const isVersion2 = existsSync(join(root, 'cgroup.controllers'))
  const folder = join(root, isVersion2 ? '' : 'memory', `pgproof-test-${process.pid}-${Date.now()}`)
  const [limit, stat, events] = isVersion2
    ? ['memory.max', 'memory.stat', 'memory.events']
    : ['memory.limit_in_bytes', 'memory.stat', 'memory.oom_control']
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)
  const numberIn = (name: string, key: string): number =>
    Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(readFileSync(join(folder, name), 'utf8'))?.[1] ?? 0)
  try {
    if (isVersion2) writeFileSync(join(root, 'cgroup.subtree_control'), '+memory')
    mkdirSync(folder)
    write(limit as string, '4294967296')
  } catch (error) {
    throw new Error('a memory limit is a control group, which only root can make: run this as root, as CI does', {
      cause: error,
    })
  }
  return {
    take: (pid) => write('cgroup.procs', String(pid)),
    async press() {
      const used = numberIn(stat as string, isVersion2 ? 'anon' : 'total_rss')
      for (let extra = 0; ; extra += 2 ** 20)
        try {
          // Version 1 refuses what it cannot reach by giving back file pages.
          write(limit as string, String(used + extra))
          break
        } catch (error) {
          if (extra > 2 ** 26) throw error
        }
      const greedy = 'echo $$ > "$0/cgroup.procs"; head -c 64m /dev/zero | tail -c 64m'
      const child = spawn('sh', ['-c', greedy, folder], { stdio: 'ignore' })
      const ended = once(child, 'close')
      await waitFor('the kernel to kill a process', () => numberIn(events as string, 'oom_kill') > 0)
      child.kill('SIGKILL')
      await ended
    },
    async remove() {
      write(limit as string, isVersion2 ? 'max' : '-1')
      const left = (): number[] =>
        readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number)
      await waitFor('the control group to be empty', () => !left().some(isRunning) && left().length === 0)
      rmdirSync(folder)
    },
  }
}

/** What the process starts from now on gets at most a megabyte more than it has itself; undone by what is returned. */
export function limitAddressSpace(pid: number): () => void {
  const kilobytes = Number(/^VmSize:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  // As its own user: root has not everywhere the right to limit others.
  const { uid, gid } = statSync(`/proc/${pid}`)
  const limit = (bytes: string): void =>
    void execFileSync('prlimit', ['--pid', String(pid), `--as=${bytes}:`], { uid, gid })
  limit(String((kilobytes + 1024) * 1024))
  return () => limit('unlimited')
}

/**
 * Lines of a shell script that end as `$REAL "$@"` does when its memory runs out: with the smallest limit at which it
 * can be loaded at all, and so can say so itself. Once; whoever comes later has all the memory.
 */
export function outOfMemory(folder: string): string {
  return `[ -e ${folder}/limited ] && exec "$REAL" "$@"
touch ${folder}/limited
limit=8000
while [ $limit -lt 80000 ]; do
  (ulimit -v $limit; exec "$REAL" "$@") > ${folder}/.out 2> ${folder}/.err
  code=$?
  grep -q 'out of memory' ${folder}/.err && break
  limit=$((limit + 500))
done
cat ${folder}/.err >&2
exit $code`
}
