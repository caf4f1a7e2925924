/** One start over a store with many backups, measured; bench-catalog.ts runs it and says what to read. */

import { BackupList } from '../src/catalog/backup-list.ts'
import { DrillIndex } from '../src/catalog/drill-index.ts'
import { History } from '../src/catalog/history.ts'
import { KnownCache } from '../src/catalog/known-cache.ts'
import { mergeContents } from '../src/catalog/merge.ts'
import { rebuildFromStore } from '../src/catalog/rebuild.ts'
import { systemClock } from '../src/clock.ts'
import { decideRetention } from '../src/domain/retention.ts'
import { readTrustedSigners } from '../src/encryption/keys.ts'
import { verifyDetached } from '../src/encryption/sign.ts'
import { silentLog } from '../src/log.ts'
import { storeMarkerKey } from '../src/storage/object-keys.ts'
import type { ObjectStore } from '../src/storage/object-store.ts'
import { openStore } from '../src/storage/open-store.ts'
import type { StoreSettings } from '../src/storage/store-settings.ts'

type StartJob = {
  readonly settings: Omit<StoreSettings, 'secretAccessKey'> & { readonly secret?: string }
  readonly storeId: string
  readonly cache: string
  readonly signers: readonly string[]
}

const job = JSON.parse(process.env['PGPROOF_BENCH'] ?? '') as StartJob
const signal = new AbortController().signal
const rows: string[][] = []

const { secret, ...settings } = job.settings
const opened = await openStore(
  { ...settings, ...(secret === undefined ? {} : { secretAccessKey: () => secret }) },
  { clock: systemClock, log: silentLog },
)
const counted = { lists: 0, reads: 0 }
const store = counting(opened)
const signers = await readTrustedSigners(job.signers, new Date())
const trust = {
  identity: signers.keys.map(({ key }) => key.armor()).join('\n'),
  storeId: job.storeId,
  verify: (bytes: Uint8Array, signature: Uint8Array, what: string) => verifyDetached(bytes, signature, signers, what),
}
// As each start does, before anything else of a store is believed.
await measured('look for the marker', () => store.get(storeMarkerKey, { signal }))
const cache = new KnownCache(job.cache, [job.storeId, store.url], silentLog)

// The cache is read while the store is listed.
const contents = await measured('the cache, list and read', () => rebuildFromStore(store, cache.open(), trust, signal))
await measured('write the cache', () => cache.write(contents.known, signal))
await measured('list once more', () => rebuildFromStore(store, contents.known, trust, signal))
const merged = await measured('merge the stores', () => mergeContents(new Map([['main', contents]])))
const view = await measured('put in order', () => {
  const drills = new DrillIndex(merged.drills)
  const sight = {
    backupIn: (folder: string) => merged.backups.get(folder),
    reportsOf: (folder: string) => drills.of(folder),
  }
  return new BackupList(sight, merged.backups.keys())
})
await measured('check the history', () => new History(merged).gaps())
const policy = { last: 7, daily: 30, weekly: 8, monthly: 12, yearly: 0, verified: 2 }
await measured('decide retention everywhere', () =>
  [...view.backupsByPlace.values()].map((placed) => {
    const backups = placed.map(({ manifest: { label, kind }, snapshotTime, verifiedAt, faults }) => {
      return { label, kind, snapshotTime, verified: verifiedAt !== null, isGood: faults.length === 0 }
    })
    return decideRetention({
      ...{ backups, policy, now: new Date(), timezone: 'Europe/Berlin' },
      ...{ objectiveMs: null, isForced: false },
    })
  }),
)
if (contents.damaged.size > 0 || view.backups.length !== contents.backups.size || view.backups.length === 0)
  throw new Error(`${contents.damaged.size} damaged, ${view.backups.length} backups`)
await store.close()
process.stdout.write(JSON.stringify(rows))

async function measured<T>(what: string, work: () => T | Promise<T>): Promise<T> {
  const [start, before, { lists, reads }] = [performance.now(), process.cpuUsage(), { ...counted }]
  const result = await work()
  const { user, system } = process.cpuUsage(before)
  const seconds = ((performance.now() - start) / 1000).toFixed(2)
  const calls = `${counted.lists - lists}, ${counted.reads - reads}`
  const resident = (process.memoryUsage.rss() / 2 ** 20).toFixed(0)
  rows.push([what, seconds, calls, ((user + system) / 1e6).toFixed(2), resident])
  return result
}

function counting(inner: ObjectStore): ObjectStore {
  return new Proxy(inner, {
    get(target, name) {
      if (name === 'list') counted.lists += 1
      if (name === 'get') counted.reads += 1
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
