import type { Clock } from '../clock.ts'
import { PgproofError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { ObjectStore } from './object-store.ts'
import type { StoreSettings } from './store-settings.ts'

/**
 * The store that `settings.url` names. Connects to nothing yet; throws `USAGE_INVALID` for settings that cannot work.
 * `directories` is how many of the stores that this process has are directories.
 * The S3 client is loaded only when it is needed, because loading it is most of a short command's start.
 */
export async function openStore(
  settings: StoreSettings,
  parts: { clock: Clock; log: Log; directories?: number },
): Promise<ObjectStore> {
  if (settings.url.startsWith('s3://')) {
    const { S3Store } = await import('./s3.ts')
    return new S3Store(settings, parts)
  }
  if (settings.url.startsWith('file://')) {
    const { DirectoryStore } = await import('./directory.ts')
    return new DirectoryStore(settings.url, parts)
  }
  throw new PgproofError('USAGE_INVALID', { reason: 'the store URL starts neither with s3:// nor with file://' })
}
