import assert from 'node:assert/strict'
import { Worker } from 'node:worker_threads'
import type { Clock } from '../clock.ts'
import { type FolderContents, listedFile, type WalkRange } from './directory-folder.ts'
import type { FolderAnswer, FolderFault, FolderRequest } from './directory-thread.ts'
import { ownText } from './own-text.ts'

/**
 * Looks into many folders by threads of its own: one, and more where the file system takes its time, as over a network.
 * None of Node's own four threads waits for it. Close it when the walk ends.
 */
export class FolderThreads {
  readonly #clock: Clock
  readonly #root: string
  readonly #range: WalkRange
  readonly #idle: IdleThreads
  #threads: readonly Thread[] = []
  readonly #queue: Job[] = []
  #isSlow = false
  #isClosed = false

  constructor(root: string, range: WalkRange, clock: Clock, idle: IdleThreads) {
    this.#clock = clock
    this.#idle = idle
    this.#root = root
    this.#range = range
  }

  /** A promise for some of the folders after the other, in their order. */
  open(folders: readonly string[]): Promise<readonly FolderContents[]>[] {
    const opened: Promise<readonly FolderContents[]>[] = []
    for (let index = 0; index < folders.length; index += foldersInJob) {
      const some = folders.slice(index, index + foldersInJob)
      const { promise, resolve, reject } = Promise.withResolvers<readonly FolderContents[]>()
      this.#queue.push({ folders: some, resolve, reject })
      // Whoever stops early does not want to hear of it.
      promise.catch(() => {})
      opened.push(promise)
    }
    if (this.#isClosed) this.close()
    else this.#work()
    return opened
  }

  /**
   * What still runs is left to itself: a call of the file system cannot be cancelled. Whoever waits for an answer is told
   * that there will be none, also if it asks only now.
   */
  close(): void {
    this.#isClosed = true
    const unanswered = this.#queue.splice(0)
    const threads = this.#threads
    this.#threads = []
    for (const { worker, jobs } of threads) {
      if (jobs.length === 0) this.#idle.keep(worker)
      else {
        unanswered.push(...jobs)
        void worker.terminate()
      }
    }
    for (const { reject } of unanswered) reject(new Error('the listing has ended'))
  }

  #work(): void {
    while (this.#queue.length > 0) {
      const thread = this.#threads.find((one) => one.jobs.length === 0) ?? this.#start() ?? this.#withRoom()
      const job = this.#queue[0]
      if (thread === undefined || job === undefined) return
      this.#queue.shift()
      this.#hand(thread, job)
    }
  }

  /** Undefined where there are enough. */
  #start(): Thread | undefined {
    if (this.#threads.length >= (this.#isSlow ? mostThreads : 1)) return undefined
    const started = this.#idle.take()
    const thread: Thread = {
      worker: started ?? new Worker(threadFile, { execArgv: [] }),
      jobs: [],
      startedMs: 0,
      hasAnswered: started !== undefined,
    }
    this.#threads = [...this.#threads, thread]
    thread.worker.on('message', (answer: FolderAnswer) => {
      const job = thread.jobs.shift()
      assert(job !== undefined, 'a thread answers each request once')
      const { startedMs } = thread
      thread.hasAnswered = true
      thread.startedMs = this.#clock.monotonicMs()
      this.#isSlow ||= thread.startedMs - startedMs > slowMs * job.folders.length
      if (answer.fault === null) job.resolve(contentsOf(answer))
      else job.reject(errorOf(answer.fault))
      this.#work()
    })
    thread.worker.on('error', (error) => {
      // It has ended: nobody hands it anything any more, and it is not kept for the next listing.
      this.#threads = this.#threads.filter((one) => one !== thread)
      thread.worker.removeAllListeners('message')
      for (const job of [...thread.jobs.splice(0), ...this.#queue.splice(0)]) job.reject(error)
    })
    return thread
  }

  /** One more waits with the thread, which need not wait then for this one to have a turn; not where a job takes its time. */
  #withRoom(): Thread | undefined {
    return this.#isSlow ? undefined : this.#threads.find((one) => one.hasAnswered && one.jobs.length < 2)
  }

  #hand(thread: Thread, job: Job): void {
    thread.jobs.push(job)
    if (thread.jobs.length === 1) thread.startedMs = thread.hasAnswered ? this.#clock.monotonicMs() : Number.NaN
    const request: FolderRequest = { ...this.#range, root: this.#root, folders: job.folders }
    thread.worker.postMessage(request)
  }
}

/** Threads that nobody needs now, for the next listing of the same store: to start one takes a twentieth of a second. */
export class IdleThreads {
  readonly #workers = new Set<Worker>()
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  /** Undefined if there is none. */
  take(): Worker | undefined {
    const [worker] = this.#workers
    if (worker === undefined) return undefined
    this.#workers.delete(worker)
    worker.removeAllListeners('error')
    worker.ref()
    return worker
  }

  /** It does not keep the process, and ends after a while. */
  keep(worker: Worker): void {
    worker.removeAllListeners('message').removeAllListeners('error')
    worker.on('error', () => this.#workers.delete(worker))
    worker.unref()
    if (this.#isClosed) return void worker.terminate()
    this.#workers.add(worker)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#end(), idleMs).unref()
  }

  /** None is kept any more, either. */
  close(): void {
    this.#isClosed = true
    this.#end()
  }

  #end(): void {
    clearTimeout(this.#timer)
    for (const worker of this.#workers) void worker.terminate()
    this.#workers.clear()
  }
}

/** The prefixes of a store are listed one right after the other. */
const idleMs = 1000

/**
 * What it works on and what is next, and since when it works, by the monotonic clock; for the first job, which waits for the
 * thread, not a number.
 */
type Thread = { readonly worker: Worker; readonly jobs: Job[]; startedMs: number; hasAnswered: boolean }

type Job = {
  readonly folders: readonly string[]
  readonly resolve: (contents: readonly FolderContents[]) => void
  readonly reject: (error: unknown) => void
}

const foldersInJob = 64
/** As many as Node would use. */
const mostThreads = 4
/** In milliseconds for a folder; a disk takes a tenth of it. */
const slowMs = 1
/** Sources run as they are, and what was built from them has another ending. */
const threadFile = new URL(
  `./directory-thread${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`,
  import.meta.url,
)

function contentsOf({ keys, counts, stats }: FolderAnswer): readonly FolderContents[] {
  // A key that is remembered would keep the text of all alive.
  const all = keys === '' ? [] : keys.split('\0').map(ownText)
  let at = 0
  return counts.map((count) => {
    const start = at
    at += count
    return all.slice(start, at).map((key, index) => {
      const from = 3 * (start + index)
      return key.endsWith('/')
        ? key
        : listedFile(key, stats[from] as number, stats[from + 1] as number, stats[from + 2] as number)
    })
  })
}

function errorOf({ message, ...fields }: FolderFault): Error {
  return Object.assign(new Error(message), fields)
}
