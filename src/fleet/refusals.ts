import { PgproofError, toPgproofError } from '../errors.ts'
import { type Installation, serverNamed } from '../jobs/installation.ts'
import type { Refused } from '../jobs/queue-view.ts'
import { logKeys } from '../log.ts'
import type { TakenEntry } from './control.ts'
import { type Payload, readPayload } from './payload.ts'
import { serverHash } from './server-hash.ts'

export type Judged =
  | { readonly payload: Payload }
  /** Poisoned is what no worker can do anything with. */
  | { readonly error: PgproofError; readonly isPoisoned: boolean }

/** So long a worker leaves alone what it has refused; the configuration may be another one then. */
const refusedMs = 300_000

/** Whether it was ordered by another configuration of a server than this one's; of an unknown server nothing is known. */
export function isOutdated(
  { server, serverHash: ordered }: Payload,
  { config }: Pick<Installation, 'config'>,
): boolean {
  const known = config.servers.find(({ name }) => name === server)
  return ordered !== null && known !== undefined && serverHash(known) !== ordered
}

/** Which entries are none of this worker's, and what it therefore does not take for a while. */
export class Refusals {
  readonly #installation: Installation
  readonly #servers = new Map<string, Refused & { readonly known: string | null }>()
  readonly #queues = new Map<string, Refused>()

  constructor(installation: Installation) {
    this.#installation = installation
  }

  judge(entry: TakenEntry): Judged {
    const { queue } = entry
    try {
      const payload = readPayload(entry.data, entry)
      this.#assertOurs(payload, queue)
      return { payload }
    } catch (thrown) {
      const error = toPgproofError(thrown, `an entry of queue ${queue}`)
      const isPoisoned = error.code === 'FLEET_ENTRY_INVALID' || error.code === 'INTERNAL'
      const line = { queue, [logKeys.code]: error.code, reason: error.message, [logKeys.hint]: error.hint }
      this.#installation.log.error(
        line,
        isPoisoned ? 'an entry of the queue is set aside' : 'an entry of the queue is refused',
      )
      if (isPoisoned) return { error, isPoisoned }
      const server = (entry.data as Partial<Payload>).server ?? ''
      const isOfServer = error.code === 'FLEET_CONFIG_DIFFERS' || error.code === 'SERVER_UNKNOWN'
      const refused = { code: error.code, reason: error.message, at: this.#installation.clock.now() }
      if (isOfServer) this.#servers.set(server, { server, ...refused, known: this.#hashOf(server) })
      else this.#queues.set(queue, { server: null, ...refused })
      return { error, isPoisoned }
    }
  }

  /** Whose entries are left alone now. */
  servers(): readonly string[] {
    this.#forget()
    return [...this.#servers.keys()]
  }

  isQueueRefused(queue: string): boolean {
    this.#forget()
    return this.#queues.has(queue)
  }

  list(): readonly Refused[] {
    this.#forget()
    const refused = [...this.#servers.values(), ...this.#queues.values()]
    return refused.map(({ server, code, reason, at }) => ({ server, code, reason, at }))
  }

  #assertOurs(payload: Payload, queue: string): void {
    const { config, storeId } = this.#installation
    if (payload.storeId !== storeId)
      throw new PgproofError('FLEET_STORE_DIFFERS', { queue, found: payload.storeId, expected: storeId })
    if (payload.serverHash === null) return
    const { server, by } = payload
    if (serverHash(serverNamed(config, server)) !== payload.serverHash)
      throw new PgproofError('FLEET_CONFIG_DIFFERS', { server, by })
  }

  #forget(): void {
    const { clock } = this.#installation
    const oldest = clock.now().getTime() - refusedMs
    for (const list of [this.#servers, this.#queues])
      for (const [key, { at }] of list) if (at.getTime() < oldest || at > clock.now()) list.delete(key)
    // Another configuration of it is in force since then, perhaps the right one.
    for (const [name, { known }] of this.#servers) if (this.#hashOf(name) !== known) this.#servers.delete(name)
  }

  /** Null for a server that is not configured. */
  #hashOf(name: string): string | null {
    const server = this.#installation.config.servers.find((one) => one.name === name)
    return server === undefined ? null : serverHash(server)
  }
}
