import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'

/** Wall time of a whole command, and what it took of memory. */
export type Timed = {
  readonly seconds: number
  /** MB: the sum over the processes of the command, each at its own peak; those that `notCounted` names left out. */
  readonly peakMegabytes: number
  readonly output: string
}

export type TimedOptions = {
  readonly env?: NodeJS.ProcessEnv
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
}

/** PostgreSQL's own, a scratch server with its shared memory among them, and what only starts other programs. */
const notCounted = new Set([
  ...['pg_dump', 'pg_dumpall', 'pg_restore', 'psql', 'postgres', 'initdb', 'pg_ctl'],
  ...['bash', 'sh', 'bwrap', 'unshare', 'setpriv', 'prlimit', 'gpg-agent', 'scdaemon'],
])

const running = new Set<ChildProcess>()
// A signal to the benchmark ends what it has started; what was set up is removed by whoever set it up.
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => {
    for (const child of running) endGroup(child)
  })

/** Runs a program; throws with what it said unless it exits with 0. */
export async function timed(path: string, args: readonly string[], options: TimedOptions = {}): Promise<Timed> {
  const started = performance.now()
  const child = spawn(path, [...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...options.env },
    cwd: '/',
    // A group of its own, so that a pipeline ends as a whole.
    detached: true,
    ...options.user,
  })
  running.add(child)
  const output: Buffer[] = []
  let errors = ''
  child.stdout.on('data', (chunk: Buffer) => {
    if (output.length < 1000) output.push(chunk)
  })
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4000)
  })
  const peaks = new Map<number, number>()
  const timer = setInterval(() => notePeaks(child.pid ?? 0, peaks), 100)
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) throw new Error(`${path} ${args.join(' ').slice(0, 200)} ended with ${code}: ${errors}`)
  } finally {
    clearInterval(timer)
    running.delete(child)
  }
  return {
    seconds: (performance.now() - started) / 1000,
    peakMegabytes: Math.round([...peaks.values()].reduce((sum, peak) => sum + peak, 0) / 1000),
    output: Buffer.concat(output).toString(),
  }
}

/** A pipeline of the shell, of which every command must succeed. */
export async function timedShell(script: string, options: TimedOptions = {}): Promise<Timed> {
  return await timed('bash', ['-c', `set -euo pipefail; ${script}`], options)
}

/** For the shell. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function endGroup(child: ChildProcess): void {
  try {
    process.kill(-(child.pid ?? 0), 'SIGTERM')
  } catch {
    // It has just ended.
  }
}

/** Kilobytes (1000) of VmHWM, proc(5), of all that descends from `root`. */
function notePeaks(root: number, peaks: Map<number, number>): void {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = read(`/proc/${name}/stat`)
    parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
  }
  for (const pid of parents.keys()) {
    let at: number | undefined = pid
    while (at !== undefined && at !== root) at = parents.get(at)
    if (at === undefined) continue
    const status = read(`/proc/${pid}/status`)
    const name = /^Name:\s+(\S+)/.exec(status)?.[1] ?? ''
    const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1.024
    if (notCounted.has(name)) peaks.delete(pid)
    else peaks.set(pid, Math.max(peak, peaks.get(pid) ?? 0))
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
