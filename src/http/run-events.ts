import type { ServerResponse } from 'node:http'
import type { Catalog } from '../catalog/catalog.ts'
import { isFinished, type Run } from '../catalog/runs.ts'
import { PgproofError } from '../errors.ts'
import type { RunAnswer } from './answers.ts'
import { Refusal } from './problem.ts'

const usualHeartbeatMs = 15_000
/** A dump reports every chunk; a person sees no more than this. */
const intervalMs = 250
const streamCapacity = 100

/** `Last-Event-ID` of a client that has seen the end. */
export const endEventId = 'end'

/** Sends the changes of runs to whoever asked for them, as server-sent events. */
export class RunEvents {
  readonly #catalog: Catalog
  readonly #answer: (run: Run) => RunAnswer
  readonly #streams = new Set<() => void>()
  readonly #heartbeatMs: number
  #isClosed = false

  constructor(catalog: Catalog, answer: (run: Run) => RunAnswer, heartbeatMs = usualHeartbeatMs) {
    this.#catalog = catalog
    this.#answer = answer
    this.#heartbeatMs = heartbeatMs
  }

  /** Throws SHUTTING_DOWN, or RATE_LIMITED if too many listen already. */
  assertRoom(): void {
    if (this.#isClosed) throw new PgproofError('SHUTTING_DOWN')
    if (this.#streams.size >= streamCapacity)
      throw new Refusal('RATE_LIMITED', { reason: 'too many event streams are open' }, { 'retry-after': '15' })
  }

  /**
   * `progress` with the run as it is now and whenever it changes, at most four times a second, then `end`. A client that
   * reads slowly misses what was overtaken meanwhile, never the end. `response` has its head already.
   */
  stream(run: Run, response: ServerResponse): void {
    // It left before the stream began, and would never be missed.
    if (response.destroyed) return
    let latest = run
    let sequence = 0
    let lastSent = ''
    let timer: NodeJS.Timeout | undefined
    const send = (): void => {
      timer = undefined
      if (response.writableEnded || response.writableNeedDrain) return
      const data = JSON.stringify(this.#answer(latest))
      if (isFinished(latest)) {
        response.end(`id: ${endEventId}\nevent: end\ndata: ${data}\n\n`)
        return
      }
      if (data === lastSent) return
      lastSent = data
      sequence += 1
      response.write(`id: ${sequence}\nevent: progress\ndata: ${data}\n\n`)
    }
    const sendSoon = (delayMs: number): void => {
      if (timer !== undefined && delayMs > 0) return
      clearTimeout(timer)
      timer = setTimeout(send, delayMs)
    }
    // Called in the middle of a job, which must not feel what goes wrong here: so only note it.
    const unwatch = this.#catalog.watchRuns((changed) => {
      if (changed.id === run.id) {
        latest = changed
        sendSoon(isFinished(changed) ? 0 : intervalMs)
      } else if (latest.state === 'queued') sendSoon(intervalMs)
    })
    const heartbeat = setInterval(() => {
      if (!response.writableNeedDrain && !response.writableEnded) response.write(': still here\n\n')
    }, this.#heartbeatMs)
    const end = (): void => void response.end()
    this.#streams.add(end)
    response.on('drain', send)
    response.on('error', () => {})
    response.on('close', () => {
      this.#streams.delete(end)
      unwatch()
      clearInterval(heartbeat)
      clearTimeout(timer)
    })
    response.write('retry: 3000\n\n')
    send()
  }

  /** Ends every stream; from now on none begins. */
  close(): void {
    this.#isClosed = true
    for (const end of this.#streams) end()
  }
}
