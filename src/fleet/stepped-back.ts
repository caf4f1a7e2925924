import type { Run } from '../catalog/runs.ts'
import type { WorkerDuty } from '../config/fleet-config.ts'
import { mayBeWorkersOwn, workersOwnOfServer } from '../domain/workers-own.ts'
import type { ErrorCode } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import type { Refused, WorkerSign } from '../jobs/queue-view.ts'
import { logKeys } from '../log.ts'
import { dutyOf, isFor } from './entry-of.ts'
import type { Peers } from './peers.ts'
import { digestIn } from './prune-rules.ts'

/** So long a worker leaves to others what has failed here. */
const steppedBackMs = 300_000

/** A drill talks to no other server than the scratch server, which is the same for all it drills. */
const ofScratch: ReadonlySet<string> = new Set<ErrorCode>([
  ...(['SERVER_UNREACHABLE', 'AUTHENTICATION_FAILED', 'PRIVILEGE_MISSING'] as const),
])

type SteppedBackFrom = Refused & { readonly job: WorkerDuty; readonly until: Date }

/**
 * What this worker leaves to others for a while, because it failed here in a way that may be its own fault: what fails
 * within seconds would else take one entry after the other, and their retries. Only as long as there is another one.
 */
export class SteppedBack {
  readonly #installation: Pick<Installation, 'config' | 'clock' | 'log'>
  readonly #peers: Peers
  readonly #from = new Map<string, SteppedBackFrom>()

  constructor(installation: Pick<Installation, 'config' | 'clock' | 'log'>, peers: Peers) {
    this.#installation = installation
    this.#peers = peers
  }

  /** Takes note of how a run of this worker ended; true if the others should hear of it. */
  note({ server: name, state, error }: Pick<Run, 'server' | 'state' | 'error'>, queue: string): boolean {
    const { clock, log } = this.#installation
    const job = dutyOf(queue)
    if (error === null || state === 'cancelled' || !mayBeWorkersOwn(error.code)) {
      // It works again here.
      if (state === 'succeeded') for (const server of [name, null]) this.#from.delete(keyOf(job, server))
      return false
    }
    const isOfServer = workersOwnOfServer.has(error.code) && !(job === 'drill' && ofScratch.has(error.code))
    const server = isOfServer ? name : null
    const { code, message: reason } = error
    const at = clock.now()
    const until = new Date(at.getTime() + steppedBackMs)
    this.#from.set(keyOf(job, server), { server, job, code, reason, at, until })
    if (!this.#isShown({ server, job })) return false
    const line = {
      queue,
      ...(server === null ? {} : { [logKeys.server]: server }),
      [logKeys.code]: code,
      reason,
      until,
    }
    log.warn(line, 'left to other workers for a while')
    return true
  }

  /** Whether a healthy worker is there for the whole queue. */
  isQueueLeft(queue: string): boolean {
    this.#forget()
    return this.#from.has(keyOf(dutyOf(queue), null)) && this.#hasHealthy(queue, null)
  }

  /** The servers whose entries in this queue a healthy worker is there for. */
  serversLeft(queue: string): readonly string[] {
    this.#forget()
    const job = dutyOf(queue)
    return [...this.#from.values()].flatMap((one) =>
      one.job === job && one.server !== null && this.#hasHealthy(queue, one.server) ? [one.server] : [],
    )
  }

  /** Nothing of it where no other worker could do it: one that is alone goes on. */
  list(): readonly Refused[] {
    this.#forget()
    return [...this.#from.values()].filter((one) => this.#isShown(one))
  }

  #isShown({ server, job }: Pick<SteppedBackFrom, 'server' | 'job'>): boolean {
    const label = this.#installation.config.servers.find(({ name }) => name === server)?.label
    const queue = label === undefined ? job : `${job}.${label}`
    // What is for all servers may be left to whoever does any of it.
    return this.#peers.living().some((peer) => (server === null ? peer.may.includes(job) : isFor(peer, queue)))
  }

  #hasHealthy(queue: string, server: string | null): boolean {
    const job = dutyOf(queue)
    const takes = (peer: WorkerSign): boolean => peer.isClosing !== true && isFor(peer, queue)
    return this.#peers.living().some((peer) => takes(peer) && knows(peer, server) && !refuses(peer, job, server))
  }

  #forget(): void {
    const now = this.#installation.clock.now()
    for (const [key, { at, until }] of this.#from) if (until <= now || at > now) this.#from.delete(key)
  }
}

function keyOf(job: string, server: string | null): string {
  return JSON.stringify([job, server])
}

/** An older version does not say which servers it knows. */
function knows({ pruneRules }: WorkerSign, server: string | null): boolean {
  return pruneRules === undefined || server === null || digestIn(pruneRules, server) !== undefined
}

function refuses({ refused }: WorkerSign, job: string, server: string | null): boolean {
  return refused.some((one) => {
    if (one.code === 'FLEET_RETENTION_DIFFERS' || (one.job ?? job) !== job) return false
    return one.server === null || one.server === server
  })
}
