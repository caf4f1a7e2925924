import assert from 'node:assert/strict'
import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config/config.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { type SettledMarkers, settleMarkers } from '../jobs/store-marker.ts'
import { directoryAdvice } from '../storage/directory-errors.ts'
import { wire } from '../wire.ts'
import type { Answer, CommandContext } from './context.ts'
import { commandLog, openConfig } from './open.ts'
import { printable } from './print.ts'

/**
 * Marks every configured store that has no marker yet, and makes the directory of one that is not there. From then on
 * a directory without its marker is a mount that is missing, and nothing is written there.
 */
export async function initCommand(context: CommandContext): Promise<Answer> {
  const config = await openConfig(context, undefined, { drillsNothing: true })
  const made: string[] = []
  for (const { url } of config.stores) {
    const path = url.startsWith('file:') ? fileURLToPath(url) : null
    if (path !== null && (await makeDirectory(path))) made.push(url)
  }
  const settled = await (async () => {
    using _marking = context.progress.begin('marking the stores')
    return await markStores(config, context)
  })()
  const { storeId, marked, faults } = settled
  const stores = config.stores.map(({ name, url }) => ({
    name,
    url,
    result: faults.has(name) ? 'failed' : marked.includes(name) ? 'marked' : 'was marked',
    isNewDirectory: made.includes(url),
    reason: faults.get(name)?.message ?? null,
  }))
  const [fault = null] = faults.values()
  return { document: { storeId, stores }, text: pageOf(storeId, stores, config, context), error: fault }
}

type InitResult = {
  readonly name: string
  readonly url: string
  readonly result: string
  readonly isNewDirectory: boolean
  readonly reason: string | null
}

function pageOf(storeId: string, stores: readonly InitResult[], config: Config, { paint }: CommandContext): string {
  const lines = stores.map(({ name, url, result, isNewDirectory, reason }) => {
    const place = config.stores.length === 1 ? url : `${name} (${url})`
    const what = {
      failed: `${paint('not marked', 'bad')}: ${printable(reason ?? '')}`,
      marked: `${paint('marked', 'good')}${isNewDirectory ? ', its directory is new' : ''}`,
      'was marked': 'was marked already',
    }[result]
    return `${printable(place)}: ${what}`
  })
  return [...lines, `Store id: ${storeId}`].join('\n')
}

async function markStores(config: Config, context: CommandContext): Promise<SettledMarkers> {
  const log = commandLog(context, config.log)
  const { signal, clock } = context
  await using wired = await wire(config, { writes: false, needsCatalog: false, needsMarker: false, log }, signal)
  const ids = new Map(config.stores.map(({ name, id }) => [name, id]))
  const stores = wired.installation.stores.named.map((store) => ({
    ...store,
    url: store.writer.url,
    id: ids.get(store.name),
  }))
  const settled = await settleMarkers(stores, { mayMark: true, isInit: true }, clock, signal)
  assert(settled !== null, 'an init marks every store, or says why not')
  return settled
}

/** Whether it had to be made. Only the last folder is: a parent that is missing is a typing error, or no mount. */
async function makeDirectory(path: string): Promise<boolean> {
  try {
    await mkdir(path)
    await syncFolder(dirname(path))
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    if (code === 'EEXIST') return false
    if (code === 'ENOENT') throw new PgproofError('STORE_BUCKET_MISSING', { bucket: dirname(path) }, { cause: error })
    if (code === 'EROFS') throw new PgproofError('STORE_READ_ONLY', { reason: reasonOf(error) }, { cause: error })
    throw new PgproofError(
      'STORE_DENIED',
      { operation: `making ${path}`, reason: reasonOf(error), advice: directoryAdvice },
      { cause: error },
    )
  }
}

/** Makes the names in a folder durable, where the file system can. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r').catch(() => undefined)
  await handle?.sync().catch(() => undefined)
  await handle?.close()
}
