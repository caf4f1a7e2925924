import type { RetentionPolicy } from '../domain/retention.ts'
import type { Config } from './config.ts'

/** What a store keeps of each server: its own policy if it has one, else the server's. Null for an unknown server. */
export function retentionIn(
  store: string,
  { stores, servers }: Pick<Config, 'stores' | 'servers'>,
): (server: string, kind: 'database' | 'roles') => RetentionPolicy | null {
  const own = stores.find(({ name }) => name === store)
  return (name, kind) => {
    const server = servers.find((one) => one.name === name)
    if (server === undefined) return null
    return kind === 'roles' ? (own?.rolesRetention ?? server.rolesRetention) : (own?.retention ?? server.retention)
  }
}
