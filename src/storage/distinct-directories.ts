import { stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../clock.ts'
import { PgproofError } from '../errors.ts'

/** How long a mount may take to say which directory it is, in milliseconds; one that does not is found out later. */
const lookMs = 5_000

/**
 * Throws USAGE_INVALID if two of the stores are one directory, by a link or another spelling: then there would be one copy
 * where two are wanted, and each write would find its key taken. What is not there is no directory yet.
 */
export async function assertDistinct(
  stores: readonly { readonly name: string; readonly url: string }[],
  clock: Clock,
): Promise<void> {
  const directories = stores.filter(({ url }) => url.startsWith('file:'))
  if (directories.length < 2) return
  const ended = new AbortController()
  const nothing = clock.sleep(lookMs, ended.signal).then(
    () => [],
    () => [],
  )
  const looking = Promise.all(directories.map(async (store) => ({ ...store, file: await identityOf(store.url) })))
  const found = await Promise.race([looking, nothing])
  ended.abort()
  const seen = new Map<string, string>()
  for (const { name, url, file } of found) {
    const other = file === undefined ? undefined : seen.get(file)
    if (other !== undefined)
      throw new PgproofError('USAGE_INVALID', {
        reason: `stores "${other}" and "${name}" are one and the same directory, ${url}; each needs one of its own`,
      })
    if (file !== undefined) seen.set(file, name)
  }
}

/** Undefined where there is nothing, or nobody may look. */
async function identityOf(url: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(fileURLToPath(url), { bigint: true })
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}
