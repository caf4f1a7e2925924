import type { Run } from '../catalog/runs.ts'

/** `backup of main/shop`, on one line whatever the database is called. */
export function described({ job, server, database }: Pick<Run, 'job' | 'server' | 'database'>): string {
  if (server === '') return job === 'prune' ? 'prune of everything' : `${job} of the stores`
  if (job === 'roles') return `roles backup of ${oneLine(server)}`
  return `${job} of ${placed(server, database)}`
}

/** ` on bk-2`, where a worker of a fleet carried it out. */
export function onWorker({ worker }: Pick<Run, 'worker'>): string {
  return worker == null ? '' : ` on ${oneLine(worker)}`
}

/** `main/shop`. */
export function placed(server: string, database: string | null): string {
  return oneLine(database === null ? server : `${server}/${database}`)
}

/**
 * The text without what would begin another line, hide or reorder it: control and format characters, line breaks, halves
 * of a character. A name from a database cannot add a header to an e-mail.
 */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]+/gu, '\u{fffd}')
}

/** `40 s`, `12 min`, `3 h 20 min`, `5 d 3 h`. */
export function spelled(durationMs: number): string {
  const seconds = Math.max(0, Math.round(durationMs / 1000))
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  if (minutes < 2 * 1440)
    return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
  const hours = Math.round(minutes / 60)
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** `2026-11-20 02:00 UTC`. */
export function instantText(instant: Date): string {
  return `${instant.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
