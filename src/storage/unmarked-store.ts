import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { PgproofError } from '../errors.ts'
import { storeMarkerKey } from './object-keys.ts'

/**
 * That nothing at `url` says it is a store, as an error. Where it is a directory, whatever store is right below it, or
 * around it, is named.
 */
export async function unmarkedStore(url: string): Promise<PgproofError> {
  const found = url.startsWith('file:') ? await storesAround(fileURLToPath(url)) : []
  const advice =
    found.length > 0
      ? `There is one at ${found.slice(0, mostNamed).join(' and ')}${found.length > mostNamed ? ', and more' : ''}.`
      : 'Check bucket and prefix, or the directory.'
  return new PgproofError('STORE_UNMARKED', { store: url, key: storeMarkerKey, advice })
}

const mostNamed = 5

async function storesAround(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const below = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name))
  const found: string[] = []
  for (const path of [...below.toSorted(), ...foldersAbove(folder)]) if (await isStore(path)) found.push(path)
  return found.map((path) => pathToFileURL(path).href)
}

function foldersAbove(folder: string): string[] {
  const above = dirname(folder)
  return above === folder ? [] : [above, ...foldersAbove(above)]
}

async function isStore(folder: string): Promise<boolean> {
  return await stat(join(folder, storeMarkerKey)).then(
    (found) => found.isFile(),
    () => false,
  )
}
