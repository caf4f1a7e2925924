import type { Clock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import {
  type Control,
  deadQueue,
  type EntryRow,
  type EntryState,
  mostRetries,
  type NewEntry,
  type TakenEntry,
} from '../../src/fleet/control.ts'
import type { WorkerSign } from '../../src/jobs/queue-view.ts'

type Entry = NewEntry & {
  state: EntryState
  retries: number
  readonly order: number
  readonly queuedAt: Date
  wasTaken: boolean
  startedAt: Date | null
  finishedAt: Date | null
  heartbeatAt: number
  notBefore: number
  output: unknown
}

/** The queue of a simulated fleet: what pg-boss does in PostgreSQL, over a fake clock. Several workers share one. */
export class MemoryQueue {
  readonly clock: Clock
  readonly heartbeatMs: number
  isUp = true
  /** Questions asked, by their kind. */
  readonly calls = new Map<string, number>()
  readonly dead: EntryRow[] = []
  #entries = new Map<string, Entry>()
  #open = new Map<string, string>()
  #waiting = new Map<string, Entry[]>()
  #active = new Set<Entry>()
  #ended: Entry[] = []
  #signs = new Map<string, WorkerSign>()
  #turn: string | null = null
  #count = 0

  constructor(clock: Clock, heartbeatMs: number) {
    this.clock = clock
    this.heartbeatMs = heartbeatMs
  }

  /** As after the control database was dropped and made anew. */
  lose(): void {
    this.#entries = new Map()
    this.#open = new Map()
    this.#waiting = new Map()
    this.#active = new Set()
    this.#ended = []
    this.#signs = new Map()
    this.#turn = null
  }

  /** Its connections are gone. */
  kill(worker: string): void {
    if (this.#turn === worker) this.#turn = null
  }

  control(worker: string): Control {
    const ask = async <T>(kind: string, answer: () => T): Promise<T> => {
      if (!this.isUp) throw new PgproofError('FLEET_UNREACHABLE', { reason: 'it is down' })
      this.calls.set(kind, (this.calls.get(kind) ?? 0) + 1)
      return answer()
    }
    return {
      add: (entries) => ask('add', () => new Set(entries.filter((one) => this.#add(one)).map(({ id }) => id))),
      take: (rules) =>
        ask('take', () => {
          const counts = new Map<string, number>()
          let all = 0
          for (const { queue, server } of this.#active)
            if (queue.startsWith('backup')) {
              all += 1
              counts.set(server, (counts.get(server) ?? 0) + 1)
            }
          for (const queue of rules.queues) {
            const isBackup = queue.startsWith('backup')
            if (isBackup && all >= (rules.backupsInAll ?? Number.POSITIVE_INFINITY)) continue
            const waiting = this.#waiting.get(queue) ?? []
            const index = waiting.findIndex(({ server, notBefore }) => {
              const isLeft = rules.ignored.includes(server) || rules.ignoredIn.get(queue)?.includes(server) === true
              if (isLeft || notBefore > this.#now()) return false
              return !isBackup || (counts.get(server) ?? 0) < (rules.perServer.get(server) ?? Number.POSITIVE_INFINITY)
            })
            const [entry] = index === -1 ? [] : waiting.splice(index, 1)
            if (entry !== undefined) return this.#start(entry)
          }
          return null
        }),
      touch: (entries) =>
        ask('touch', () => {
          const ours = entries.filter((taken) => this.#held(taken) !== undefined)
          for (const taken of ours) (this.#held(taken) as Entry).heartbeatAt = this.#now()
          return new Set(ours.map(({ id }) => id))
        }),
      finish: (taken, outcome) => ask('finish', () => this.#end(this.#held(taken), 'completed', outcome)),
      putBack: (taken, afterMs = 0) =>
        ask('putBack', () => {
          const entry = this.#held(taken)
          if (entry === undefined) return
          this.#active.delete(entry)
          entry.wasTaken = false
          entry.notBefore = this.#now() + afterMs
          this.#wait(entry, 'created')
        }),
      setAside: (taken, aside) =>
        ask('setAside', () => {
          const entry = this.#held(taken)
          if (entry === undefined) return
          this.dead.push({ ...rowOf(entry), queue: deadQueue, state: 'created', data: aside })
          this.#end(entry, 'completed', { aside })
        }),
      discard: (_queue, id) =>
        ask('discard', () => {
          const entry = this.#entries.get(id)
          if (entry === undefined || entry.state === 'active') return
          this.#end(entry, 'cancelled', null)
          this.#ended = this.#ended.filter((one) => one !== entry)
          this.#entries.delete(id)
        }),
      cancel: (id) => ask('cancel', () => this.#end(this.#entries.get(id), 'cancelled', null)),
      changes: (since) =>
        ask('changes', () => {
          const open = [...this.#open.values()].flatMap((id) => this.#entries.get(id) ?? [])
          const from = since?.getTime() ?? 0
          const first = this.#ended.findIndex(({ finishedAt }) => (finishedAt?.getTime() ?? 0) >= from)
          const ended = first === -1 ? [] : this.#ended.slice(first)
          return { rows: [...open, ...ended].map(rowOf).concat(this.dead), now: this.clock.now() }
        }),
      find: (ids) =>
        ask('find', () =>
          ids.flatMap((id) => {
            const entry = this.#entries.get(id)
            return entry === undefined ? [] : [rowOf(entry)]
          }),
        ),
      forget: (id) =>
        ask('forget', () => {
          const index = this.dead.findIndex((row) => row.id === id)
          if (index !== -1) this.dead.splice(index, 1)
        }),
      sign: (sign) =>
        ask('sign', () => {
          const isFirst = !this.#signs.has(sign.name)
          this.#signs.set(sign.name, sign)
          return { now: this.clock.now(), isFirst }
        }),
      signs: () => ask('signs', () => [...this.#signs.values()]),
      signOff: (name) => ask('signOff', () => void this.#signs.delete(name)),
      takeTurn: () =>
        ask('takeTurn', () => {
          this.#turn ??= worker
          return this.#turn === worker
        }),
      leaveTurn: () => ask('leaveTurn', () => this.kill(worker)),
      supervise: () => ask('supervise', () => this.#supervise()),
      close: async () => this.kill(worker),
    }
  }

  #add(entry: NewEntry): boolean {
    if (this.#entries.has(entry.id) || this.#open.has(entry.key)) return false
    this.#count += 1
    const made: Entry = {
      ...{ ...entry, state: 'created', retries: 0, order: this.#count, queuedAt: this.clock.now(), wasTaken: false },
      ...{ startedAt: null, finishedAt: null, heartbeatAt: 0, notBefore: 0, output: null },
    }
    this.#entries.set(entry.id, made)
    this.#open.set(entry.key, entry.id)
    this.#wait(made, 'created')
    return true
  }

  #wait(entry: Entry, state: 'created' | 'retry'): void {
    entry.state = state
    const waiting = this.#waiting.get(entry.queue) ?? []
    this.#waiting.set(entry.queue, waiting)
    const isAfter = (other: Entry): boolean =>
      other.priority < entry.priority || (other.priority === entry.priority && other.order > entry.order)
    let low = 0
    for (let high = waiting.length; low < high; ) {
      const middle = (low + high) >> 1
      if (isAfter(waiting[middle] as Entry)) high = middle
      else low = middle + 1
    }
    waiting.splice(low, 0, entry)
  }

  #start(entry: Entry): TakenEntry {
    if (entry.wasTaken) entry.retries += 1
    entry.wasTaken = true
    entry.state = 'active'
    entry.startedAt = this.clock.now()
    entry.heartbeatAt = this.#now()
    this.#active.add(entry)
    const { id, queue, retries, queuedAt, payload: data } = entry
    return { id, queue, retries, queuedAt, data }
  }

  #held({ id, retries }: TakenEntry): Entry | undefined {
    const entry = this.#entries.get(id)
    return entry?.state === 'active' && entry.retries === retries ? entry : undefined
  }

  #end(entry: Entry | undefined, state: 'completed' | 'cancelled' | 'failed', output: unknown): void {
    if (entry === undefined || entry.finishedAt !== null) return
    if (entry.state !== 'active')
      this.#waiting.get(entry.queue)?.splice(this.#waiting.get(entry.queue)?.indexOf(entry) ?? 0, 1)
    this.#active.delete(entry)
    this.#open.delete(entry.key)
    entry.state = state
    entry.output = output
    entry.finishedAt = this.clock.now()
    this.#ended.push(entry)
  }

  #supervise(): void {
    for (const entry of [...this.#active]) {
      if (entry.heartbeatAt + this.heartbeatMs >= this.#now()) continue
      this.#active.delete(entry)
      if (entry.retries < mostRetries) this.#wait(entry, 'retry')
      else {
        this.dead.push({ ...rowOf(entry), queue: deadQueue, state: 'created' })
        this.#end(entry, 'failed', null)
      }
    }
    // As pg-boss deletes what ended two days ago.
    const old = this.#now() - 2 * 86_400_000
    while ((this.#ended[0]?.finishedAt?.getTime() ?? old) < old) this.#entries.delete(this.#ended.shift()?.id ?? '')
  }

  #now(): number {
    return this.clock.now().getTime()
  }
}

function rowOf({ id, queue, state, payload, output, queuedAt, startedAt, finishedAt, retries }: Entry): EntryRow {
  return { id, queue, state, data: payload, output, queuedAt, startedAt, finishedAt, retries, source: null }
}
