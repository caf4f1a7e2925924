import { pauseText, type Pause as StoredPause } from '../domain/pause.ts'
import type { JsonDocument } from './documents.ts'

/** As a store or a daemon tells it. */
type Pause = Omit<StoredPause, 'format' | 'kind' | 'jobs'> & { readonly jobs: readonly string[] }

/** One line for each pause; not yet escaped. */
export function pauseLines(pauses: readonly Pause[]): string[] {
  return pauses.map((pause) => `${pausedPlace(pause)}: ${pause.jobs.join(', ')} ${pauseText(pause)}`)
}

/** `main/shop`, `main`, or `every server`. */
export function pausedPlace({ server, database }: Pick<Pause, 'server' | 'database'>): string {
  return server === null ? 'every server' : database === null ? server : `${server}/${database}`
}

export function pauseDocuments(pauses: readonly Pause[]): JsonDocument[] {
  return pauses.map(({ label, server, database, jobs, since, until, reason, by }) => {
    return { label, server, database, jobs, since, until, reason, by }
  })
}
