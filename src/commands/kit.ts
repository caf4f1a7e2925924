import { basename } from 'node:path'
import type { Config } from '../config/config.ts'
import { type KitKey, type KitStore, recoveryKit } from '../domain/recovery-kit.ts'
import { readPublicKeys } from '../encryption/keys.ts'
import { version } from '../version.ts'
import type { Answer, CommandContext } from './context.ts'
import { openConfig } from './open.ts'

/** The recovery kit of the configuration as it is now. Touches neither the store nor a server. */
export async function kitCommand(context: CommandContext): Promise<Answer> {
  const config = await openConfig(context)
  const { encryption, servers } = config
  const madeAt = context.clock.now()
  const recipients = await kitKeys(encryption.recipients, 'encryption', madeAt)
  const trustedSigners = await kitKeys(encryption.trustedSigners, 'signing', madeAt)
  if (recipients.length < 2)
    context.warn('only one recipient: if its private key is lost, so is every backup; add an escrow key')
  const store = kitStore(config)
  const names = servers.map(({ name }) => name)
  const keyFile = basename(encryption.privateKeyFiles[0] ?? 'backup.key.asc')
  const kit = recoveryKit({ madeAt, version, store, recipients, trustedSigners, servers: names, keyFile })
  return { document: { kit, store, recipients, trustedSigners }, text: kit.trimEnd() }
}

/** Whatever the state of the keys: an expired one opens the backups that were encrypted to it. */
async function kitKeys(paths: readonly string[], use: 'encryption' | 'signing', now: Date): Promise<KitKey[]> {
  const { keys } = await readPublicKeys(paths, use, now)
  return keys.map(({ key, fingerprint }) => ({ fingerprint, name: key.getUserIDs()[0] ?? '' }))
}

function kitStore({ stores: [store] }: Config): KitStore {
  const { url, endpoint, region, provider } = store
  if (url.startsWith('file:')) return { url, endpoint: undefined, region: undefined, provider: undefined }
  const isUsual = provider === (endpoint === undefined ? 'aws' : 'generic')
  // Tools other than pgproof cannot sign without one, and servers that are not AWS mostly ignore it.
  const signed = region ?? (endpoint === undefined ? undefined : 'us-east-1')
  return { url, endpoint, region: signed, provider: isUsual ? undefined : provider }
}
