import type { Config, ServerConfig, StoreConfig } from '../config/config.ts'
import type { WorkerDuty } from '../config/fleet-config.ts'
import type { NamedStore } from '../storage/store-set.ts'
import { checkDrills } from './check-drills.ts'
import { checkKeys, checkPrivateKeys } from './check-keys.ts'
import { checkDatabase, checkServer } from './check-server.ts'
import { checkStore } from './check-store.ts'
import { collect, type Finding, type Findings, goOn } from './findings.ts'
import { databasesOf, type Installation } from './installation.ts'
import { assertMarked, readStoreMarker } from './store-marker.ts'

/**
 * Looks at everything that tonight's backups, drills and prunes will need, and goes on after each problem. Changes
 * nothing but probe objects that it removes again.
 */
export async function runCheck(
  installation: Omit<Installation, 'storeId' | 'storeCreatedAt'>,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { config, stores, clock } = installation
  const all: Finding[] = []
  const look = async (subject: string, work: (findings: Findings) => Promise<void>): Promise<void> => {
    const findings = collect(subject, all)
    await goOn(findings, signal, () => work(findings))
  }
  const ids = new Set<string>()
  for (const settings of config.stores)
    await look(config.stores.length === 1 ? 'store' : `store ${settings.name}`, async (findings) => {
      const store = stores.one(settings.name)
      await goOn(findings, signal, () => checkMarker(store, settings, ids, findings, signal))
      await checkStore(store, settings, { findings, clock }, signal)
    })
  await look('keys', (findings) => checkKeys(installation, findings, signal))
  await look('private keys', (findings) => checkPrivateKeys(installation, findings, signal))
  for (const server of config.servers) {
    let databases: string[] = []
    await look(`server ${server.name}`, async (findings) => {
      // A worker that only drills or serves may have no login there.
      if (!mayTake(config, 'backup')) return void findings.ok('not asked: this worker takes no backups (`fleet.may`)')
      await checkServer(server, config, findings, signal)
      databases = await databasesOf(server, signal)
      if (databases.length === 0)
        findings.warn('no database is covered', 'Check `databases` and `exclude` of this server.')
    })
    for (const database of databases)
      await look(`database ${server.name}/${database}`, (findings) => checkDatabase(server, database, findings, signal))
  }
  if (runsDrills(config)) await look('drills', (findings) => checkDrills(installation, findings, signal))
  return all
}

/** Whether it is the store that it should be; `ids` are those of the stores before it. */
async function checkMarker(
  { name, reader }: NamedStore,
  { id }: StoreConfig,
  ids: Set<string>,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const marker = await readStoreMarker(reader, signal)
  const isNewBucket = marker === null && id === undefined && !reader.url.startsWith('file:')
  if (isNewBucket) findings.ok('not used yet: the first backup marks it')
  else {
    await assertMarked(reader, id ?? [...ids][0] ?? marker?.storeId ?? '', signal, name)
    if (marker !== null) ids.add(marker.storeId)
  }
}

function runsDrills(config: Config): boolean {
  const { encryption, servers } = config
  if (!mayTake(config, 'drill')) return false
  return (
    encryption.privateKeyFiles.length > 0 || servers.some(({ schedule }: ServerConfig) => schedule.drill !== undefined)
  )
}

/** Without a fleet one process does everything. */
function mayTake({ fleet }: Config, duty: WorkerDuty): boolean {
  return fleet === undefined || fleet.may.includes(duty)
}
