import { setFlagsFromString } from 'node:v8'

/** From here on a full collection of the heap takes long enough to be noticed. */
const manyBackups = 1000

let areSpared = false

/**
 * Lets V8 weigh buffers together with the heap. By itself it collects the whole heap for every few megabytes of buffers that
 * pass, hundreds of times in a backup, and each time walks through the index; every answer waits for that. The price is some
 * 50 to 70 MB of memory, so a small index goes without. Once it is so, it stays so. Measured in `docs/performance.md`.
 */
export function spareFullCollections(backups: number): void {
  if (areSpared || backups < manyBackups) return
  areSpared = true
  // A V8 that does not know the flag says so on stderr; 13 is that of Node 23 to 25.
  if (process.versions.v8.startsWith('13.')) setFlagsFromString('--external-memory-accounted-in-global-limit')
}
