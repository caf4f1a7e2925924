import { createHash } from 'node:crypto'
import type { ServerConfig } from '../config/config.ts'

/**
 * A digest of what decides what a backup of this server is of and what it holds: two workers must agree on it. Neither
 * passwords nor users are in it, nor is what only says how hard a worker tries.
 */
export function serverHash(server: ServerConfig): string {
  const { name, url, databases, exclude, evidence, compression, checks, label } = server
  const { host, pathname } = new URL(url)
  const said = { name, host, pathname, databases, exclude, evidence, compression, checks, label: label ?? null }
  return digestOf(said)
}

/** The same for what says the same, in whatever order. */
export function digestOf(said: object): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(said)))
    .digest('hex')
    .slice(0, 32)
}

/** The order of keys, and of names in lists, means nothing. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    const inner = value.map(sorted)
    return inner.sort((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1))
  }
  if (typeof value !== 'object' || value === null) return value
  const keys = Object.keys(value).sort()
  return Object.fromEntries(keys.map((key) => [key, sorted((value as Record<string, unknown>)[key])]))
}
