import type { CredentialsConfig, StoreConfig } from '../config/config.ts'
import { assertDistinct } from './distinct-directories.ts'
import type { ObjectStore } from './object-store.ts'
import { openStore } from './open-store.ts'
import { type NamedStore, StoreSet, type StoreSetParts } from './store-set.ts'

/**
 * All configured stores. Connects to nothing yet; throws `USAGE_INVALID` for settings that cannot work. Each request takes
 * the credentials that `inForce` has for its store by then; whether there are any is settled now.
 */
export async function openStores(
  settings: readonly StoreConfig[],
  parts: StoreSetParts,
  inForce: () => readonly StoreConfig[] = () => settings,
): Promise<StoreSet> {
  const directories = settings.filter(({ url }) => url.startsWith('file:')).length
  const open = async (store: StoreConfig, role?: 'reader' | 'pruner'): Promise<ObjectStore> => {
    const credentials = (): CredentialsConfig => {
      const now = inForce().find(({ name }) => name === store.name) ?? store
      return (role && now[role]) ?? now
    }
    const { accessKeyId, secretAccessKey } = credentials()
    const secrets = {
      accessKeyId: accessKeyId && (() => credentials().accessKeyId ?? accessKeyId),
      secretAccessKey: secretAccessKey && (() => (credentials().secretAccessKey ?? secretAccessKey).reveal()),
      sessionToken: () => credentials().sessionToken?.reveal(),
    }
    // Which of them a retry is about.
    const log = settings.length === 1 ? parts.log : parts.log.child({ store: store.name })
    return await openStore({ ...store, ...secrets }, { ...parts, log, directories })
  }
  await assertDistinct(settings, parts.clock)
  const named: NamedStore[] = []
  for (const store of settings) {
    const writer = await open(store)
    const reader = store.reader === undefined ? writer : await open(store, 'reader')
    const pruner = store.pruner === undefined ? writer : await open(store, 'pruner')
    named.push({ name: store.name, isRequired: store.isRequired, writer, reader, pruner })
  }
  return new StoreSet(named, parts)
}
