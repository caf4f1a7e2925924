import type { RetentionPolicy } from '../domain/retention.ts'
import type { Config, ServerConfig } from './config.ts'

type Kind = 'database' | 'roles'

/** What a store keeps of a server: its own policy if it has one, else the server's. */
export function retentionOf(
  store: string,
  { stores }: Pick<Config, 'stores'>,
  server: ServerConfig,
  kind: Kind,
): RetentionPolicy {
  const own = stores.find(({ name }) => name === store)
  return kind === 'roles' ? (own?.rolesRetention ?? server.rolesRetention) : (own?.retention ?? server.retention)
}

/** The same of each server by its name. Null for an unknown server. */
export function retentionIn(
  store: string,
  config: Pick<Config, 'stores' | 'servers'>,
): (server: string, kind: Kind) => RetentionPolicy | null {
  return (name, kind) => {
    const server = config.servers.find((one) => one.name === name)
    return server === undefined ? null : retentionOf(store, config, server, kind)
  }
}
