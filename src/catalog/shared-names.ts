import type { Catalog } from './catalog.ts'

/** A server's name under which the backups of several PostgreSQL servers come in turn. */
export type SharedName = {
  readonly server: string
  /** Of the newest backups, the newest first. */
  readonly systemIdentifiers: readonly string[]
}

/**
 * Names that two installations seem to share: backups of one PostgreSQL server, then of another, then of the first again.
 * A server that was replaced or restored from a physical backup changes once and does not come back.
 */
export function sharedNames(catalog: Pick<Catalog, 'backups'>): readonly SharedName[] {
  const byServer = Map.groupBy(catalog.backups(), ({ manifest }) => manifest.server)
  return [...byServer].flatMap(([server, newestFirst]) => {
    const turns: string[] = []
    for (const { manifest } of newestFirst.slice(0, lookedAt)) {
      const { systemIdentifier } = manifest.source
      if (turns.at(-1) !== systemIdentifier) turns.push(systemIdentifier)
    }
    const different = new Set(turns)
    return turns.length > different.size ? [{ server, systemIdentifiers: [...different] }] : []
  })
}

/** What is over for long is no worry. */
const lookedAt = 50
