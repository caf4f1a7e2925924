import { createHash } from 'node:crypto'
import type { Config, CredentialsConfig, StoreConfig } from './config.ts'
import { Secret } from './secret.ts'

/** What a running daemon can take of a new configuration: all but the places that it has opened already, and of them the credentials. */
export type Reloaded = {
  readonly config: Config
  /** Keys that differ and count only after a restart; `config` has them as they were. */
  readonly needsRestart: readonly string[]
}

/** The new configuration, with what cannot change as it is. */
export function reloaded(current: Config, next: Config): Reloaded {
  const stores = storesOf(current, next)
  const fixed = [
    ['store', stores, next.stores],
    ['drill.spool', current.drill.spool, next.drill.spool],
    ['http.listen', current.http.listen, next.http.listen],
    ['http.tls', current.http.tls === undefined, next.http.tls === undefined],
    ['fleet', current.fleet, next.fleet],
    ['log.format', current.log.format, next.log.format],
  ] as const
  const { listen, tls } = current.http
  return {
    config: Object.freeze({
      ...next,
      isStoreOnly: current.isStoreOnly,
      stores,
      fleet: current.fleet,
      drill: Object.freeze({ ...next.drill, spool: current.drill.spool }),
      // Other files of the same kind are taken, as renewed ones are.
      http: Object.freeze({ ...next.http, listen, tls: tls && (next.http.tls ?? tls) }),
      log: Object.freeze({ ...next.log, format: current.log.format }),
    }),
    needsRestart: fixed.filter(([, before, after]) => digest(before) !== digest(after)).map(([key]) => key),
  }
}

/** Only credentials can change: of stores that differ otherwise, new ones may not fit the places that are open. */
function storesOf(current: Config, next: Config): Config['stores'] {
  const places = ({ stores }: Config): string => digest(stores.map(withoutCredentials))
  return places(current) === places(next) ? next.stores : current.stores
}

function withoutCredentials(store: StoreConfig): object {
  const { reader, pruner } = store
  return {
    ...store,
    ...whetherThere(store),
    reader: reader && whetherThere(reader),
    pruner: pruner && whetherThere(pruner),
  }
}

/** A store that asks the AWS SDK for credentials goes on doing so. */
function whetherThere({ accessKeyId }: CredentialsConfig): object {
  return { accessKeyId: accessKeyId !== undefined, secretAccessKey: null, sessionToken: null }
}

/** Equal for equal values, secrets included, which compare as equal otherwise. */
function digest(value: unknown): string {
  const revealing = function (this: Record<string, unknown>, key: string, text: unknown): unknown {
    const original = this[key]
    return original instanceof Secret ? { secret: original.reveal() } : text
  }
  return createHash('sha256').update(JSON.stringify({ value }, revealing)).digest('hex')
}
