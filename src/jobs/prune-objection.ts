import { PgproofError } from '../errors.ts'
import type { Installation } from './installation.ts'
import type { PruneRequest } from './plan-prune.ts'

type HasConfig = Pick<Installation, 'config'>
type GuardedRequest = PruneRequest & { readonly objection: NonNullable<PruneRequest['objection']> }

/**
 * The same request, which objects to everything from the moment another configuration is in force: what the old one had
 * planned to remove may be what the new one keeps.
 */
export function whileConfigStays(request: PruneRequest, installation: HasConfig): GuardedRequest {
  const { config } = installation
  const { objection } = request
  return {
    ...request,
    objection: (server) =>
      installation.config === config ? (objection?.(server) ?? null) : new PgproofError('PRUNE_RULES_CHANGED'),
  }
}

/** Against the prune of anything that was asked for. */
export function objectionTo({ only, objection }: GuardedRequest, { config }: HasConfig): PgproofError | null {
  const asked = only === undefined ? [...config.servers.map(({ name }) => name), null] : [only.server]
  for (const server of asked) {
    const error = objection(server)
    if (error !== null) return error
  }
  return null
}
