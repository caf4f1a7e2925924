import { PgproofError } from '../errors.ts'

/** What `server/database` names; `database` is null where only a server is named. */
export type Target = { readonly server: string; readonly database: string | null }

/**
 * Reads `server` or `server/database`. Both names may contain slashes: the longest configured server that fits wins, and
 * what follows its slash is the database. Throws SERVER_UNKNOWN or USAGE_INVALID.
 */
export function parseTarget(text: string, servers: readonly { readonly name: string }[]): Target {
  const names = servers.map(({ name }) => name).toSorted((a, b) => b.length - a.length)
  if (names.includes(text)) return { server: text, database: null }
  const server = names.find((name) => text.startsWith(`${name}/`))
  if (server === undefined) throw serverUnknown(text.split('/')[0] ?? text, servers)
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
