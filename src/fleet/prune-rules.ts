import type { Config } from '../config/config.ts'
import { retentionIn } from '../config/retention-in.ts'
import type { PruneRules } from '../jobs/queue-view.ts'
import { digestOf } from './server-hash.ts'

/** Younger folders without a manifest are nobody's to remove, however short a server's deadline. */
const leastOrphanAgeMs = 24 * 3_600_000

/**
 * Digests of everything by which a prune decides what goes: by the server it decides of, and of what it decides for all of
 * them. Two workers must agree on them, or one deletes what the other one keeps.
 */
export function pruneRulesOf(config: Config): PruneRules {
  const { stores, servers, timezone, prune, drill } = config
  const byDigest = Map.groupBy(servers, (server) =>
    digestOf({
      timezone,
      largestShare: prune.largestShare,
      objectiveMs: server.objectives.rpoMs ?? null,
      orphanAgeMs: Math.max(leastOrphanAgeMs, server.backupDeadlineMs),
      stores: stores.map(({ name, versions }) => {
        const retention = retentionIn(name, config)
        return { name, versions, database: retention(server.name, 'database'), roles: retention(server.name, 'roles') }
      }),
    }),
  )
  return {
    shared: digestOf({ keepReportsMs: drill.keepReportsMs }),
    // In the order of jsonb, so that what comes back from the control database is the same text.
    servers: Object.fromEntries(
      [...byDigest].sort(([a], [b]) => (a < b ? -1 : 1)).map(([digest, of]) => [digest, of.map(({ name }) => name)]),
    ),
  }
}

/** The digest of one server, or with null of what is for all; undefined where nothing is said of it. */
export function digestIn(rules: PruneRules, server: string | null): string | undefined {
  if (server === null) return rules.shared
  let known = byServer.get(rules)
  if (known === undefined) {
    known = new Map(Object.entries(rules.servers).flatMap(([digest, names]) => names.map((name) => [name, digest])))
    byServer.set(rules, known)
  }
  return known.get(server)
}

const byServer = new WeakMap<PruneRules, ReadonlyMap<string, string>>()
