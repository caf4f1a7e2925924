import { labelPrefix, labelTime } from '../domain/backup-label.ts'
import { decodeManifest } from '../domain/manifest.ts'
import { assertNotAborted, PgproofError, reasonOf } from '../errors.ts'
import type { JobParts } from '../parts.ts'
import { backupFolder, backupPrefix, objectNames } from '../storage/object-keys.ts'
import type { NamedStore } from '../storage/store-set.ts'

/** From a due time to the one after it. */
export type DuePeriod = { readonly time: Date; readonly until: Date }

type Place = { readonly kind: 'database' | 'roles'; readonly server: string; readonly database: string | null }

/**
 * Throws CANCELLED if a required store holds a backup of the place that began within the period. Asked by who holds its
 * lock: of two daemons that found it due, the one that had the lock before has written its manifest by now. What was made
 * later than the period was made by a clock that was ahead, and does not count; nor does a manifest that nobody can read.
 * A store that does not answer says nothing.
 */
export async function assertNotDoneElsewhere(
  place: Place,
  due: DuePeriod | undefined,
  { stores, log }: Pick<JobParts, 'stores' | 'log'>,
  signal: AbortSignal,
): Promise<void> {
  if (due === undefined) return
  const { kind, server, database } = place
  const what = kind === 'roles' ? `roles backup of ${server}` : `backup of ${server}/${database}`
  for (const store of stores.named.filter(({ isRequired }) => isRequired))
    try {
      if (!(await hasBackup(store, place, due, signal))) continue
      throw new PgproofError('CANCELLED', { what: `${what}, done elsewhere meanwhile,` })
    } catch (error) {
      assertNotAborted(signal)
      if (!(error instanceof PgproofError) || error.code === 'CANCELLED') throw error
      log.warn({ store: store.name, reason: reasonOf(error) }, 'whether another daemon was faster could not be asked')
    }
}

async function hasBackup(
  { reader }: NamedStore,
  place: Place,
  { time, until }: DuePeriod,
  signal: AbortSignal,
): Promise<boolean> {
  const prefix = backupPrefix(place)
  // Labels count in seconds.
  const from = Math.floor(time.getTime() / 1000) * 1000
  for await (const { key } of reader.list(prefix, { signal, after: `${prefix}${labelPrefix(time)}` })) {
    const [label = '', name] = key.slice(prefix.length).split('/')
    const began = labelTime(label)?.getTime()
    if (name !== objectNames.manifest || began === undefined || began < from || began >= until.getTime()) continue
    if (isOf(`${prefix}${label}/`, await reader.get(key, { signal, maxBytes: mostBytes }))) return true
  }
  return false
}

/** Of a manifest. */
const mostBytes = 1 << 20

/** Whether it is a manifest that belongs there. */
function isOf(folder: string, bytes: Uint8Array): boolean {
  try {
    return backupFolder(decodeManifest(bytes, folder)) === folder
  } catch (error) {
    if (error instanceof PgproofError && error.code === 'STORE_FORMAT_INVALID') return false
    throw error
  }
}
