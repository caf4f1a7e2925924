import { readFileSync } from 'node:fs'
import { isRunning } from '../../test/support/processes.ts'
import type { SoakDaemon } from './daemon.ts'
import { type SoakFault, soakFaults } from './faults.ts'
import type { SoakPlace } from './place.ts'
import {
  type Look,
  look,
  lookAtRest,
  lookAtServer,
  memoryOf,
  type NodeMemory,
  pause,
  type Rest,
  type Stretch,
} from './sample.ts'
import { startWriter } from './writer.ts'

export type SoakOptions = {
  readonly seconds: number
  /** It goes on until there were so many, however slow the machine: `drill succeeded` to how many. */
  readonly least: Readonly<Record<string, number>>
  readonly stretchSeconds: number
  readonly restEverySeconds: number
  readonly faultEverySeconds: number
  /** How long the bucket is away, in turn. */
  readonly outageSeconds: readonly number[]
  /** Beside the schedule, whose shortest interval is a minute, a backup is ordered so often, and a drill at every fifth. */
  readonly orderEverySeconds: number
  /** When the daemon is killed and started anew, as shares of the time. The last one must live through the second half. */
  readonly kills: readonly number[]
  readonly say: (text: string) => void
}

export type SoakResult = {
  readonly stretches: readonly Stretch[]
  readonly rests: readonly Rest[]
  /** Each fault to how often it came about. */
  readonly faults: ReadonlyMap<string, number>
  /** `backup succeeded` to how many, and the codes of errors, of all daemons. */
  readonly ended: ReadonlyMap<string, number>
  readonly codes: ReadonlyMap<string, number>
  readonly complaints: ReadonlyMap<string, number>
  readonly changes: number
  readonly reloads: number
  readonly exitCode: number | null
  readonly backups: BackupsAtEnd
  /** What was left after the end, in words. */
  readonly leftovers: readonly string[]
  /** Where the metrics of the last daemon say another number of runs than its log. */
  readonly untrueMetrics: readonly string[]
}

export type BackupsAtEnd = {
  /** Made, as the daemons have said. */
  readonly made: number
  readonly removedByPrunes: number
  readonly listed: number
  readonly verified: number
  /** Made, and neither in the list nor in the record of a prune. */
  readonly lost: readonly string[]
  /** What `pgproof list` finds fault with, and verifications that failed. */
  readonly troubles: readonly string[]
}

/** Lets a daemon work while a writer changes its databases and faults happen; then looks at what has come of it. */
export async function runSoak(place: SoakPlace, options: SoakOptions): Promise<SoakResult> {
  const { seconds, say } = options
  const began = performance.now()
  const elapsed = (): number => (performance.now() - began) / 1000
  const daemons: SoakDaemon[] = [await place.start()]
  const current = (): SoakDaemon => daemons.at(-1) as SoakDaemon
  const cycles = (): number => sumOf(daemons, ({ ended }) => ended.get('backup succeeded') ?? 0)
  const at = (): Pick<Stretch, 'minutes' | 'cycles' | 'daemon'> => ({
    minutes: elapsed() / 60,
    cycles: cycles(),
    daemon: daemons.length,
  })
  const isLacking = (): boolean =>
    Object.entries(options.least).some(([key, least]) => sumOf(daemons, ({ ended }) => ended.get(key) ?? 0) < least)
  const writer = startWriter(place.databases.map((name) => place.source.url(name)))
  const faults = new Map<string, number>()
  const rests: Rest[] = []
  const measuring = new AbortController()
  const state = { isResting: false }
  const rest = async (): Promise<void> => {
    state.isResting = true
    rests.push(await lookAtRest(place, current(), at()))
    state.isResting = false
  }
  const stretches = measure(place, {
    current,
    at,
    stretchSeconds: options.stretchSeconds,
    signal: measuring.signal,
    say,
  })

  const orders = orderBackups(place, {
    current,
    everySeconds: options.orderEverySeconds,
    signal: measuring.signal,
    isHeld: () => state.isResting,
  })

  // 1. Faults, rests and kills, one after the other, until the time is over.
  const kills = [...options.kills]
  let nextRest = options.restEverySeconds
  const names = Object.keys(soakFaults)
  try {
    for (let turn = 0; elapsed() < seconds || isLacking(); turn += 1) {
      const until = elapsed() + options.faultEverySeconds
      while (elapsed() < until) await pause(200)
      assertAlive(current())
      if (kills[0] !== undefined && elapsed() > kills[0] * seconds) {
        kills.shift()
        current().signal('SIGKILL')
        await current().exitCode()
        daemons.push(await place.start())
        count(faults, 'pgproof killed')
        say(`${clock(elapsed())} pgproof killed`)
      }
      const name = names[turn % names.length] as string
      const hasHappened = await (soakFaults[name] as SoakFault)(place, current(), {
        round: Math.floor(turn / names.length),
        outageSeconds: options.outageSeconds,
      })
      if (hasHappened) count(faults, name)
      if (elapsed() < nextRest) continue
      await rest()
      nextRest = elapsed() + options.restEverySeconds
    }
    await rest()
  } finally {
    measuring.abort()
    await Promise.all([stretches, orders])
  }
  const changes = await writer.stop()

  // 2. Nothing is going on any more: what metrics say is compared with the log, and the daemon ends.
  const goOn = await current().pause()
  while ((await current().unfinishedRuns()) > 0) await pause(200)
  const untrueMetrics = await compareMetrics(current())
  await goOn()
  current().signal('SIGTERM')
  const exitCode = await current().exitCode()

  // 3. What is left, and what has become of every backup that was made.
  const backups = await judgeBackups(place, daemons)
  const merged = (of: (daemon: SoakDaemon) => ReadonlyMap<string, number>): Map<string, number> => {
    const sum = new Map<string, number>()
    for (const daemon of daemons) for (const [key, value] of of(daemon)) sum.set(key, (sum.get(key) ?? 0) + value)
    return sum
  }
  return {
    ...{ rests, faults, changes, exitCode, backups, untrueMetrics },
    stretches: await stretches,
    ended: merged(({ ended }) => ended),
    codes: merged(({ codes }) => codes),
    complaints: merged(({ complaints }) => complaints),
    reloads: sumOf(daemons, (daemon) => daemon.reloads()),
    leftovers: await leftoversOf(place, daemons),
  }
}

type Measuring = {
  readonly current: () => SoakDaemon
  readonly at: () => Pick<Stretch, 'minutes' | 'cycles' | 'daemon'>
  readonly stretchSeconds: number
  readonly signal: AbortSignal
  readonly say: (text: string) => void
}

/** Looks twice a second, and asks the daemon and the server every few seconds. */
async function measure(
  place: SoakPlace,
  { current, at, stretchSeconds, signal, say }: Measuring,
): Promise<readonly Stretch[]> {
  const stretches: Stretch[] = []
  while (!signal.aborted) {
    const daemon = current()
    const looks: Look[] = []
    const memory: NodeMemory[] = []
    const sessions: number[] = []
    const spool: number[] = []
    const end = performance.now() + stretchSeconds * 1000
    for (let turn = 0; performance.now() < end && !signal.aborted && current() === daemon; turn += 1) {
      const found = look(daemon.pid)
      if (found !== undefined && Number.isFinite(found.rss)) looks.push(found)
      if (turn % 6 === 0) {
        const [own, server] = [await memoryOf(daemon), await lookAtServer(place)]
        if (own !== undefined) memory.push(own)
        if (server !== undefined) sessions.push(server.sessions)
        spool.push(place.spoolFiles().length)
      }
      await pause(500)
    }
    if (looks.length < 2 || memory.length === 0 || signal.aborted) continue
    const rss = spreadOf(looks.map((one) => one.rss))
    const most = (name: keyof Look): number => Math.max(...looks.map((one) => one[name]))
    const stretch: Stretch = {
      ...at(),
      rss,
      heap: Math.min(...memory.map(({ heap }) => heap)),
      heapSpace: spreadOf(memory.map(({ heapSpace }) => heapSpace)).middle,
      young: spreadOf(memory.map(({ young }) => young)).middle,
      external: spreadOf(memory.map(({ external }) => external)).middle,
      ...{ files: most('files'), sockets: most('sockets'), threads: most('threads'), children: most('children') },
      sessions: Math.max(0, ...sessions),
      spoolFiles: Math.max(...spool),
    }
    stretches.push(stretch)
    say(
      `${clock(stretch.minutes * 60)} ${stretch.cycles} backups, ${stretch.rss.middle.toFixed(0)} MB (heap ${stretch.heap.toFixed(1)} in ${stretch.heapSpace.toFixed(0)}, young ${stretch.young.toFixed(0)}, external ${stretch.external.toFixed(0)}), ` +
        `at most ${stretch.files} files, ${stretch.sockets} sockets, ${stretch.threads} threads, ${stretch.children} children, ` +
        `${stretch.sessions} sessions, ${stretch.spoolFiles} files in the spool`,
    )
  }
  return stretches
}

type Ordering = Pick<Measuring, 'current' | 'signal'> & {
  readonly everySeconds: number
  isHeld(): boolean
}

/** One database after the other; what is refused because it is busy is not asked for again. */
async function orderBackups(place: SoakPlace, { current, everySeconds, signal, isHeld }: Ordering): Promise<void> {
  for (let turn = 0; !signal.aborted; turn += 1) {
    const named = (index: number): string => place.databases[index % place.databases.length] as string
    if (!isHeld()) await current().order('/v1/backups', named(turn))
    if (!isHeld() && turn % 5 === 4) await current().order('/v1/drills', named(Math.floor(turn / 5)))
    for (const end = performance.now() + everySeconds * 1000; performance.now() < end && !signal.aborted; )
      await pause(100)
  }
}

function assertAlive(daemon: SoakDaemon): void {
  if (!isRunning(daemon.pid)) throw new Error('the daemon has ended by itself')
}

async function compareMetrics(daemon: SoakDaemon): Promise<string[]> {
  const counted = new Map<string, number>()
  for (const [key, value] of (await daemon.metrics()) ?? []) {
    const labels = /^pgproof_runs_total\{(.*)\}$/.exec(key)?.[1]
    const [, job] = /job="(\w+)"/.exec(labels ?? '') ?? []
    const [, outcome] = /outcome="(\w+)"/.exec(labels ?? '') ?? []
    if (job !== undefined && value > 0)
      counted.set(`${job} ${outcome}`, (counted.get(`${job} ${outcome}`) ?? 0) + value)
  }
  // What was dropped while it waited has no end in the log.
  const all = [...new Set([...counted.keys(), ...daemon.ended.keys()])].filter((key) => !key.endsWith(' cancelled'))
  return all.flatMap((key) => {
    const [metric, log] = [counted.get(key) ?? 0, daemon.ended.get(key) ?? 0]
    return metric === log ? [] : [`${key}: ${metric} by the metrics, ${log} by the log`]
  })
}

type ListDocument = {
  readonly backups: readonly { readonly label: string; readonly faults: readonly unknown[] }[]
  readonly damaged: readonly unknown[]
  readonly historyGaps: readonly unknown[]
}

async function judgeBackups(place: SoakPlace, daemons: readonly SoakDaemon[]): Promise<BackupsAtEnd> {
  const { code, stdout, stderr } = await place.run(['list', '--history', '--json'])
  if (code !== 0) throw new Error(`pgproof list: ${stdout}${stderr}`)
  const list = JSON.parse(stdout) as ListDocument
  const troubles = [...list.damaged, ...list.historyGaps, ...list.backups.flatMap(({ faults }) => faults)].map((one) =>
    JSON.stringify(one),
  )
  const labels = list.backups.map(({ label }) => label)
  let verified = 0
  for (const label of labels) {
    const result = await place.run(['verify', label])
    if (result.code === 0) verified += 1
    else troubles.push(`verify ${label}: ${result.stderr}`)
  }
  const made = daemons.flatMap((daemon) => daemon.made)
  const removed = removedByPrunes(place)
  const lost = made.filter((label) => !labels.includes(label) && !removed.has(label))
  return { made: made.length, removedByPrunes: removed.size, listed: labels.length, verified, lost, troubles }
}

function removedByPrunes(place: SoakPlace): Set<string> {
  const records = place.objects().filter((path) => path.includes('/near/prunes/') && path.endsWith('.json'))
  return new Set(
    records.flatMap((path) => {
      const { removed } = JSON.parse(readFileSync(path, 'utf8')) as { removed: { label: string }[] }
      return removed.map(({ label }) => label)
    }),
  )
}

/** What a killed daemon, or one whose store was gone, has left in the stores is for a prune two days later. */
async function leftoversOf(place: SoakPlace, daemons: readonly SoakDaemon[]): Promise<string[]> {
  const swept = await place.run(['prune', '--force'], 49)
  if (swept.code !== 0) return [`the prune that sweeps: ${swept.stdout}${swept.stderr}`]
  const running = daemons.filter(({ pid }) => isRunning(pid)).map(({ pid }) => `process ${pid}`)
  const unfinished = [...(await place.source.unfinished()), ...(await place.unfinished())]
  return [...running, ...(await place.source.leftovers()), ...place.spoolFiles(), ...unfinished]
}

function sumOf(daemons: readonly SoakDaemon[], of: (daemon: SoakDaemon) => number): number {
  return daemons.reduce((sum, daemon) => sum + of(daemon), 0)
}

function spreadOf(values: readonly number[]): Stretch['rss'] {
  const sorted = values.toSorted((one, other) => one - other)
  return { least: sorted[0] ?? 0, middle: sorted[Math.floor(sorted.length / 2)] ?? 0, most: sorted.at(-1) ?? 0 }
}

function count(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1)
}

function clock(seconds: number): string {
  return `${String(Math.floor(seconds / 60)).padStart(3)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`
}
