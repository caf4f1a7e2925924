import { readdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'

/** What the machine did while something ran. */
export type Watched = {
  readonly seconds: number
  /** CPU seconds of all processors: at work for anybody, this look left out, and idle. */
  readonly busy: number
  readonly idle: number
  /** CPU seconds by name of the program (comm), of processes that were seen; this one left out. */
  readonly byProgram: ReadonlyMap<string, number>
  /** Of the process that `isWatched` names, when it was highest; undefined if none was seen. */
  readonly memory: Memory | undefined
}

/** MB that were resident, by kind of mapping; smaps, proc(5). */
export type Memory = {
  readonly resident: number
  /** Of files: the program and its libraries. */
  readonly files: number
  /** Without a name, up to 512 KB: V8's pages are 256 KB. Told by size alone. */
  readonly small: number
  /** glibc's: `[heap]`, and the arenas, which begin at multiples of 64 MB. */
  readonly glibc: number
  /** All else. */
  readonly larger: number
}

/** Ticks of /proc, sysconf(_SC_CLK_TCK); 100 on every Linux of today. */
const ticksPerSecond = 100
const lookEveryMs = 40
const arenaBytes = 64 * 2 ** 20

/** Runs `work` and looks at /proc every 40 ms. `isWatched` gets a command line, its words parted by spaces. */
export async function watch(work: () => Promise<unknown>, isWatched: (command: string) => boolean): Promise<Watched> {
  const before = cpuSeconds()
  const first = new Map(processes().map(({ pid, seconds }) => [pid, seconds]))
  const last = new Map<number, { readonly name: string; readonly seconds: number }>()
  let memory: Memory | undefined
  const own = process.cpuUsage()
  const started = performance.now()
  const look = (): void => {
    for (const { pid, name, seconds, rss } of processes()) {
      last.set(pid, { name, seconds: seconds - (first.get(pid) ?? 0) })
      // What it has risen by must be worth the look, which holds the process up.
      if (rss < (memory?.resident ?? 0) + 1 || !isWatched(commandOf(pid))) continue
      memory = memoryOf(pid) ?? memory
    }
  }
  const timer = setInterval(look, lookEveryMs)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  look()
  const seconds = (performance.now() - started) / 1000
  const after = cpuSeconds()
  const { user, system } = process.cpuUsage(own)
  const byProgram = new Map<string, number>()
  for (const one of last.values()) byProgram.set(one.name, (byProgram.get(one.name) ?? 0) + one.seconds)
  const busy = after.busy - before.busy - (user + system) / 1e6
  return { seconds, busy, idle: after.idle - before.idle, byProgram, memory }
}

/** Since the start of the machine, of all its processors. */
function cpuSeconds(): { readonly busy: number; readonly idle: number } {
  const all = cpus().map(({ times }) => times)
  const sum = (name: keyof (typeof all)[number]): number => all.reduce((total, times) => total + times[name], 0) / 1000
  return { busy: sum('user') + sum('nice') + sum('sys') + sum('irq'), idle: sum('idle') }
}

type Process = { readonly pid: number; readonly name: string; readonly seconds: number; readonly rss: number }

/** All but this one, CPU seconds with those of its threads, but not of its children; resident MB. */
function processes(): Process[] {
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry)
    if (!(pid > 0) || pid === process.pid) return []
    const stat = read(`/proc/${pid}/stat`)
    const end = stat.lastIndexOf(')')
    if (end === -1) return []
    // From the third field on: state, …, utime (14), stime (15), …, rss in pages (24).
    const fields = stat.slice(end + 2).split(' ')
    const seconds = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
    return [{ pid, name: stat.slice(stat.indexOf('(') + 1, end), seconds, rss: (Number(fields[21]) * 4096) / 1e6 }]
  })
}

/** Undefined if the process has ended. */
function memoryOf(pid: number): Memory | undefined {
  const kinds = { files: 0, small: 0, glibc: 0, larger: 0 }
  let kind: keyof typeof kinds = 'larger'
  for (const line of read(`/proc/${pid}/smaps`).split('\n')) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+\s*(.*)$/.exec(line)
    if (head !== null) kind = kindOf(Number(`0x${head[1]}`), Number(`0x${head[2]}`), head[3] ?? '')
    const rss = /^Rss:\s+(\d+) kB/.exec(line)?.[1]
    if (rss !== undefined) kinds[kind] += (Number(rss) * 1024) / 1e6
  }
  const resident = kinds.files + kinds.small + kinds.glibc + kinds.larger
  return resident === 0 ? undefined : { resident, ...kinds }
}

function kindOf(start: number, end: number, name: string): keyof Omit<Memory, 'resident'> {
  if (name === '[heap]') return 'glibc'
  if (name.startsWith('/')) return 'files'
  if (name !== '') return 'larger'
  if (start % arenaBytes === 0 && end - start <= arenaBytes) return 'glibc'
  return end - start <= 512 * 1024 ? 'small' : 'larger'
}

function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
