import type { Catalog } from '../catalog/catalog.ts'
import type { Clock } from '../clock.ts'
import type { Config, ServerConfig } from '../config/config.ts'
import {
  type PrivateKeys,
  type Recipients,
  readPrivateKeys,
  readRecipients,
  readSigningKey,
  readTrustedSigners,
  type SigningKey,
  type TrustedSigners,
} from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import type { Log } from '../log.ts'
import { type Connection, connect, parseConnectionUrl, withDatabase } from '../postgres/connect.ts'
import { listDatabases } from '../postgres/facts.ts'
import type { ObjectStore } from '../storage/object-store.ts'

/** Everything that jobs work with, built once by `wire.ts` and handed down as a plain parameter. */
export type Installation = {
  readonly config: Config
  readonly store: ObjectStore
  readonly storeId: string
  /** When the store was first used: nothing was due before. */
  readonly storeCreatedAt: Date
  readonly catalog: Catalog
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
}

/** What a job needs of an installation; it knows nothing of the configuration. */
export type JobParts = Omit<Installation, 'config' | 'storeCreatedAt'>

/** Throws SERVER_UNKNOWN. */
export function serverNamed(config: Config, name: string): ServerConfig {
  const server = config.servers.find((one) => one.name === name)
  if (server === undefined) {
    const known = config.servers.map((one) => one.name).join(', ')
    throw new PgproofError('SERVER_UNKNOWN', { server: name, known })
  }
  return server
}

export function connectionTo(server: ServerConfig, database?: string): Connection {
  const { password } = server
  const connection = parseConnectionUrl(server.name, server.url, password && (() => password.reveal()))
  return database === undefined ? connection : withDatabase(connection, database)
}

/** The databases that are backed up: those listed, or all there are now, without the excluded ones. */
export async function databasesOf(server: ServerConfig, signal: AbortSignal): Promise<string[]> {
  const isExcluded = (name: string): boolean => server.exclude.some((pattern) => matches(pattern, name))
  if (server.databases !== 'all') return server.databases.filter((name) => !isExcluded(name))
  await using held = await connect(connectionTo(server), signal)
  return (await listDatabases(held.client)).filter((name) => !isExcluded(name))
}

/** Whether the configuration covers a database, without asking the server. */
export function isConfigured(server: ServerConfig, database: string): boolean {
  if (server.exclude.some((pattern) => matches(pattern, database))) return false
  return server.databases === 'all' || server.databases.includes(database)
}

function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`, 's').test(name)
}

export type BackupKeys = { readonly recipients: Recipients; readonly signingKey: SigningKey | null }

/** Read anew for each job, so that a key replaced on disk is used by the next one. */
export async function readBackupKeys({ config, clock }: Pick<Installation, 'config' | 'clock'>): Promise<BackupKeys> {
  const { encryption } = config
  const now = clock.now()
  const recipients = await readRecipients(encryption.recipients, now)
  const passphrase = encryption.signingPassphrase
  const signingKey =
    encryption.signingKeyFile === undefined
      ? null
      : await readSigningKey(encryption.signingKeyFile, passphrase && (() => passphrase.reveal()), now)
  return { recipients, signingKey }
}

export type DrillKeys = {
  readonly keys: PrivateKeys
  readonly recipients: Recipients
  readonly trustedSigners: TrustedSigners | null
}

/** Throws KEY_NEEDED where no private key is configured. `what` names the job in that message. */
export async function readDrillKeys(
  { config, clock }: Pick<Installation, 'config' | 'clock'>,
  what: string,
): Promise<DrillKeys> {
  const { encryption } = config
  const now = clock.now()
  if (encryption.privateKeyFiles.length === 0)
    throw new PgproofError('KEY_NEEDED', { what, key: 'encryption.privateKeyFile' })
  const { passphrase } = encryption
  return {
    keys: await readPrivateKeys(encryption.privateKeyFiles, passphrase && (() => passphrase.reveal()), now),
    recipients: await readRecipients(encryption.recipients, now),
    trustedSigners: await readSigners(config, now),
  }
}

export async function readSigners(config: Config, now: Date): Promise<TrustedSigners | null> {
  const { trustedSigners } = config.encryption
  return trustedSigners.length === 0 ? null : await readTrustedSigners(trustedSigners, now)
}
