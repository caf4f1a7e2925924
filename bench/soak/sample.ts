import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { query } from '../../scripts/throw-away-postgres.ts'
import { descendantsOf } from '../../test/support/processes.ts'
import type { SoakDaemon } from './daemon.ts'
import type { SoakPlace } from './place.ts'

/** What a process holds at one moment. Memory in MB. */
export type Look = {
  readonly rss: number
  readonly threads: number
  /** Open files, pipes, devices and the like. */
  readonly files: number
  readonly sockets: number
  /** Processes that it has started, and theirs. */
  readonly children: number
}

/** A stretch of a minute: memory by its middle value, JS heap by its smallest, everything else by its largest. */
export type Stretch = {
  /** Since the beginning, at its end. */
  readonly minutes: number
  /** Backups that were made since the beginning. */
  readonly cycles: number
  /** Which daemon it was: one that was killed is followed by another. */
  readonly daemon: number
  readonly rss: { readonly least: number; readonly middle: number; readonly most: number }
  readonly heap: number
  /** Middle values, as in `NodeMemory`. */
  readonly heapSpace: number
  readonly young: number
  readonly external: number
  readonly files: number
  readonly sockets: number
  readonly threads: number
  readonly children: number
  readonly sessions: number
  readonly spoolFiles: number
}

/** What is left when nothing runs: the schedules are paused, and all that was running has ended. */
export type Rest = Look & {
  readonly minutes: number
  readonly cycles: number
  readonly daemon: number
  /** Of pgproof on the server. */
  readonly sessions: number
  /** Transactions that an autovacuum of the server could not clean up behind, because of pgproof's oldest snapshot. */
  readonly heldBack: number
  readonly advisoryLocks: number
  readonly spoolFiles: number
  /** JS heap in MB, after everything that nothing leads to was collected, and what was resident then. */
  readonly keptHeap: number
  readonly keptRss: number
}

/** Undefined when the process is gone. */
export function look(pid: number): Look | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const number = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? Number.NaN)
    const targets = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => targetOf(`/proc/${pid}/fd/${fd}`))
    const sockets = targets.filter((target) => target.startsWith('socket:')).length
    return {
      rss: number('VmRSS') / 1024,
      threads: number('Threads'),
      files: targets.length - sockets,
      sockets,
      children: descendantsOf(pid).length,
    }
  } catch {
    return undefined
  }
}

/**
 * What the main thread says of its memory, in MB: JS heap in use, what V8 has taken for it, how much of that for the young
 * generation, and what its objects hold outside of it.
 */
export type NodeMemory = {
  readonly heap: number
  readonly heapSpace: number
  readonly young: number
  readonly external: number
}

/** Undefined while the daemon does not answer. */
export async function memoryOf(daemon: SoakDaemon): Promise<NodeMemory | undefined> {
  const samples = await daemon.metrics()
  if (samples === undefined) return undefined
  const of = (name: string): number => {
    const bytes = samples.get(name)
    if (bytes === undefined) throw new Error(`/metrics has no ${name}`)
    return bytes / 2 ** 20
  }
  return {
    heap: of('nodejs_heap_size_used_bytes'),
    heapSpace: of('nodejs_heap_size_total_bytes'),
    young: of('nodejs_heap_space_size_total_bytes{space="new"}'),
    external: of('nodejs_external_memory_bytes'),
  }
}

export type ServerLook = { readonly sessions: number; readonly heldBack: number; readonly advisoryLocks: number }

/** Undefined while the server is down. */
export async function lookAtServer(place: SoakPlace): Promise<ServerLook | undefined> {
  const sql = `SELECT count(*)::int AS sessions, COALESCE(max(age(backend_xmin)), 0)::int AS held_back,
      (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory') AS locks
    FROM pg_stat_activity WHERE application_name LIKE 'pgproof%'`
  const rows = await query(place.source.url(), sql).catch(() => undefined)
  const row = rows?.[0]
  if (row === undefined) return undefined
  return { sessions: Number(row['sessions']), heldBack: Number(row['held_back']), advisoryLocks: Number(row['locks']) }
}

/** Waits until nothing runs, and looks. Throws if that does not come about within ten minutes. */
export async function lookAtRest(
  place: SoakPlace,
  daemon: SoakDaemon,
  at: Pick<Stretch, 'minutes' | 'cycles' | 'daemon'>,
): Promise<Rest> {
  const goOn = await daemon.pause()
  try {
    const deadline = Date.now() + 600_000
    const isOver = (): boolean => Date.now() > deadline
    while ((await daemon.unfinishedRuns()) > 0) {
      if (isOver()) throw new Error('runs do not end')
      await pause(200)
    }
    // A run has ended a moment before its last program and its session have; what stays for seconds is left behind.
    for (const patience = Date.now() + 15_000; ; await pause(200)) {
      const server = await lookAtServer(place)
      const own = look(daemon.pid)
      if (server === undefined || own === undefined) {
        if (isOver()) throw new Error('the server or the daemon is gone')
        continue
      }
      const isQuiet = server.sessions + server.advisoryLocks + own.children === 0
      if (!isQuiet && Date.now() < patience) continue
      const spoolFiles = place.spoolFiles().length
      const keptHeap = await daemon.keptHeap()
      const least = await leastOf(daemon.pid)
      return { ...at, ...own, ...server, files: least.files, spoolFiles, keptHeap, keptRss: least.rss }
    }
  } finally {
    await goOn()
  }
}

/**
 * The least of a few seconds: V8 gives back what a collection has freed little by little, and a thread that lists a directory,
 * with its five files, stays for a second after it. Throws if the process is gone.
 */
async function leastOf(pid: number): Promise<Pick<Look, 'rss' | 'files'>> {
  const least = { rss: Number.POSITIVE_INFINITY, files: Number.POSITIVE_INFINITY }
  for (let turn = 0; turn < 6; turn += 1) {
    await pause(500)
    const found = look(pid)
    if (found === undefined) throw new Error('the daemon is gone')
    least.rss = Math.min(least.rss, found.rss)
    least.files = Math.min(least.files, found.files)
  }
  return least
}

export async function pause(ms: number): Promise<void> {
  await new Promise((done) => setTimeout(done, ms))
}

function targetOf(link: string): string[] {
  try {
    return [readlinkSync(link)]
  } catch {
    return []
  }
}
