import type { ServerConfig } from '../config/config.ts'
import { PgproofError } from '../errors.ts'
import { databasesOf } from '../jobs/installation.ts'

/**
 * The databases of a server that says so within `withinMs`. Connecting has limits of its own, a query has none. Throws
 * SERVER_UNREACHABLE, and what `databasesOf` throws.
 */
export async function databasesInTime(server: ServerConfig, withinMs: number, signal: AbortSignal): Promise<string[]> {
  const late = new AbortController()
  const reason = `it did not list its databases within ${withinMs / 1000} s`
  const error = new PgproofError('SERVER_UNREACHABLE', { server: server.name, reason })
  // Cleared, for until it is due a timer keeps what it is for.
  const timer = setTimeout(() => late.abort(error), withinMs)
  try {
    return await databasesOf(server, AbortSignal.any([signal, late.signal]))
  } catch (thrown) {
    // Not what the driver says of a connection that was cut.
    late.signal.throwIfAborted()
    throw thrown
  } finally {
    clearTimeout(timer)
  }
}
