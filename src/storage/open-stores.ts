import type { CredentialsConfig, StoreConfig } from '../config/config.ts'
import { assertDistinct } from './distinct-directories.ts'
import type { ObjectStore } from './object-store.ts'
import { openStore } from './open-store.ts'
import { type NamedStore, StoreSet, type StoreSetParts } from './store-set.ts'

/** All configured stores. Connects to nothing yet; throws `USAGE_INVALID` for settings that cannot work. */
export async function openStores(settings: readonly StoreConfig[], parts: StoreSetParts): Promise<StoreSet> {
  const directories = settings.filter(({ url }) => url.startsWith('file:')).length
  const open = async (store: StoreConfig, credentials: CredentialsConfig): Promise<ObjectStore> => {
    const { accessKeyId, secretAccessKey, sessionToken } = credentials
    const secrets = {
      accessKeyId,
      secretAccessKey: secretAccessKey && (() => secretAccessKey.reveal()),
      sessionToken: sessionToken && (() => sessionToken.reveal()),
    }
    // Which of them a retry is about.
    const log = settings.length === 1 ? parts.log : parts.log.child({ store: store.name })
    return await openStore({ ...store, ...secrets }, { ...parts, log, directories })
  }
  await assertDistinct(settings, parts.clock)
  const named: NamedStore[] = []
  for (const store of settings) {
    const writer = await open(store, store)
    const reader = store.reader === undefined ? writer : await open(store, store.reader)
    const pruner = store.pruner === undefined ? writer : await open(store, store.pruner)
    named.push({ name: store.name, isRequired: store.isRequired, writer, reader, pruner })
  }
  return new StoreSet(named, parts)
}
