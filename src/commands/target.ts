import type { Catalog } from '../catalog/catalog.ts'
import type { Config, ServerConfig } from '../config/config.ts'
import { PgproofError } from '../errors.ts'

/** What `server/database` names; `database` is null where only a server is named. */
export type Target = { readonly server: string; readonly database: string | null }

/** What commands need of a server that only read the store. */
export type KnownServer = Pick<ServerConfig, 'name' | 'databases' | 'exclude' | 'schedule' | 'objectives'>

/** The servers that are configured; where the store alone was named, those that it holds backups of, by name. */
export function knownServers(
  { servers, isStoreOnly }: Pick<Config, 'servers' | 'isStoreOnly'>,
  catalog: Catalog,
): readonly KnownServer[] {
  if (!isStoreOnly) return servers
  const stored = catalog.backups().map(({ manifest }) => manifest.server)
  const drilled = catalog.drills().map(({ server }) => server)
  const configured = new Map(servers.map((server) => [server.name, server]))
  return [...new Set([...configured.keys(), ...stored, ...drilled])]
    .toSorted()
    .map((name) => configured.get(name) ?? { name, databases: 'all', exclude: [], schedule: {}, objectives: {} })
}

/**
 * Reads `server` or `server/database`. Both names may contain slashes: the longest configured server that fits wins, and
 * what follows its slash is the database. Throws SERVER_UNKNOWN or USAGE_INVALID.
 */
export function parseTarget(text: string, servers: readonly { readonly name: string }[]): Target {
  const names = servers.map(({ name }) => name).toSorted((a, b) => b.length - a.length)
  if (names.includes(text)) return { server: text, database: null }
  const server = names.find((name) => text.startsWith(`${name}/`))
  if (server === undefined) {
    if (text.includes('/') || names.length === 0) throw serverUnknown(text.split('/')[0] ?? text, servers)
    const known = `${names.join(', ')}; a database is named with its server: ${names[0]}/${text}`
    throw new PgproofError('SERVER_UNKNOWN', { server: text, known })
  }
  const database = text.slice(server.length + 1)
  if (database === '')
    throw new PgproofError('USAGE_INVALID', { reason: `no database is named after the slash of ${text}` })
  return { server, database }
}

export function serverUnknown(server: string, servers: readonly { readonly name: string }[]): PgproofError {
  return new PgproofError('SERVER_UNKNOWN', { server, known: servers.map(({ name }) => name).join(', ') })
}

/** `main/shop`, or `main (roles)`. */
export function placeName({ server, database }: { readonly server: string; readonly database: string | null }): string {
  return database === null ? `${server} (roles)` : `${server}/${database}`
}
