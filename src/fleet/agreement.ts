import type { Config } from '../config/config.ts'
import { PgproofError } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import type { PruneRules, Refused, WorkerSign } from '../jobs/queue-view.ts'
import { logKeys } from '../log.ts'
import type { Peers } from './peers.ts'
import { digestIn, pruneRulesOf } from './prune-rules.ts'

/** Of more servers that two workers disagree on, only the number is told. */
const mostNamed = 5

type Disputed = { readonly other: string; readonly at: Date }

/**
 * Whether all living workers would prune a server by the same rules. While two would not, none of them does: whichever
 * of them is right, the other one would delete for good what it keeps.
 */
export class Agreement {
  readonly #installation: Pick<Installation, 'config' | 'clock' | 'log'>
  readonly #own: string
  readonly #peers: Peers
  readonly #disputed = new Map<string | null, Disputed>()
  /** Set while another process has this worker's name: the signs are not read any more, and what they said may be long over. */
  superseded: PgproofError | null = null
  #known: { readonly config: Config; readonly rules: PruneRules } | undefined

  constructor(installation: Pick<Installation, 'config' | 'clock' | 'log'>, own: string, peers: Peers) {
    this.#installation = installation
    this.#own = own
    this.#peers = peers
  }

  /** This worker's own, for its sign of life. */
  rules(): PruneRules {
    const { config } = this.#installation
    if (this.#known?.config !== config) this.#known = { config, rules: pruneRulesOf(config) }
    return this.#known.rules
  }

  /** Why nothing of a server may be pruned now, and with null none of what is decided for all servers. */
  objection(server: string | null): PgproofError | null {
    if (this.superseded !== null) return this.superseded
    const other = this.#otherThan(server, this.#others())
    return other === null ? null : this.#differs(wordsFor(server), other)
  }

  /** What this worker does not prune now, since when and why; said in the log when it begins and ends. */
  list(): readonly Refused[] {
    const { config, clock, log } = this.#installation
    const others = this.#others()
    if (others.length === 0 && this.#disputed.size === 0) return []
    const places = new Set([null, ...config.servers.map(({ name }) => name)])
    for (const server of [...this.#disputed.keys()]) if (!places.has(server)) this.#disputed.delete(server)
    for (const server of places) {
      const other = this.#otherThan(server, others)
      const known = this.#disputed.get(server)
      const line = server === null ? {} : { [logKeys.server]: server }
      if (other === null) {
        if (!this.#disputed.delete(server)) continue
        log.info(line, 'all workers agree on what is kept: it is pruned again')
        continue
      }
      // Another one that differs is no news: nothing is pruned as before.
      this.#disputed.set(server, { other, at: known?.at ?? clock.now() })
      if (known !== undefined) continue
      const { code, message: reason, hint } = this.#differs(wordsFor(server), other)
      log.warn({ ...line, [logKeys.code]: code, reason, [logKeys.hint]: hint }, 'nothing of it is pruned')
    }
    const reports = this.#disputed.get(null)
    const ofServers = [...this.#disputed].flatMap(([server, { other, at }]) =>
      server === null ? [] : [{ server, other, at }],
    )
    return [
      ...(reports === undefined ? [] : [this.#refused(null, wordsFor(null), reports)]),
      ...[...Map.groupBy(ofServers, ({ other }) => other).values()].flatMap((alike) => {
        const [first] = alike
        // Each sign is read by every worker: hundreds of servers in each would be more than all the rest.
        if (alike.length > mostNamed && first !== undefined)
          return [{ ...this.#refused(null, `${alike.length} servers`, first), job: 'prune' }]
        return alike.map((one) => this.#refused(one.server, wordsFor(one.server), one))
      }),
    ]
  }

  #refused(server: string | null, what: string, { other, at }: Disputed): Refused {
    const { code, message: reason } = this.#differs(what, other)
    return { server, code, reason, at }
  }

  #differs(what: string, other: string): PgproofError {
    return new PgproofError('FLEET_RETENTION_DIFFERS', { what, one: this.#own, other })
  }

  /** The name of the first one that would prune it by other rules. */
  #otherThan(server: string | null, others: readonly WorkerSign[]): string | null {
    const own = digestIn(this.rules(), server)
    if (own === undefined) return null
    const other = others.find(({ pruneRules }) => {
      // One of an older version says nothing of it; nor does one that does not know the server.
      const theirs = pruneRules && digestIn(pruneRules, server)
      return theirs !== undefined && theirs !== own
    })
    return other?.name ?? null
  }

  /** Those that do not say exactly the same of all servers; nearly always none. */
  #others(): readonly WorkerSign[] {
    const own = textOf(this.rules())
    return this.#peers.living().filter(({ pruneRules }) => pruneRules !== undefined && textOf(pruneRules) !== own)
  }
}

function wordsFor(server: string | null): string {
  return server === null ? 'old drill reports' : `server "${server}"`
}

const texts = new WeakMap<PruneRules, string>()

function textOf(rules: PruneRules): string {
  const text = texts.get(rules) ?? JSON.stringify(rules)
  texts.set(rules, text)
  return text
}
