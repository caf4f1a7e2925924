import { readFileSync } from 'node:fs'
import type { Config, ServerConfig } from '../config/config.ts'
import type { Secret } from '../config/secret.ts'
import { readKeyFile } from '../encryption/key-files.ts'
import {
  type AskPassphrase,
  type Passphrase,
  type PrivateKeys,
  type Recipients,
  readPrivateKeys,
  readPublicKeys,
  readRecipients,
  readSigningKey,
  readTrustedSigners,
  type SigningKey,
  type TrustedSigners,
} from '../encryption/keys.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import type { Log } from '../log.ts'
import type { JobParts } from '../parts.ts'
import { type Connection, connect, parseConnectionUrl, withDatabase } from '../postgres/connect.ts'
import { listDatabases } from '../postgres/facts.ts'

/** Everything that there is, built once by `wire.ts`. */
export type Installation = JobParts & {
  readonly config: Config
  /** When the store was first used: nothing was due before. */
  readonly storeCreatedAt: Date
  /** For keys whose passphrase is not configured; undefined where nobody sits at a terminal. */
  readonly askPassphrase?: AskPassphrase | undefined
}

type KeyParts = Pick<Installation, 'config' | 'clock' | 'askPassphrase'>

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
  const { password, passwordFile } = server
  const reveal = password && (() => passwordNow(passwordFile) ?? password.reveal())
  const connection = parseConnectionUrl(server.name, server.url, reveal)
  return database === undefined ? connection : withDatabase(connection, database)
}

/** A password that was changed in its file counts from the next connection on; undefined where it cannot be read now. */
function passwordNow(file: string | undefined): string | undefined {
  if (file === undefined) return undefined
  try {
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '') || undefined
  } catch {
    return undefined
  }
}

/** The databases that are backed up: those listed, or all there are now, without the excluded ones. */
export async function databasesOf(server: ServerConfig, signal: AbortSignal): Promise<string[]> {
  const isWanted = (name: string): boolean => !isExcluded(server, name)
  if (server.databases !== 'all') return server.databases.filter(isWanted)
  await using held = await connect(connectionTo(server), signal)
  return (await listDatabases(held.client)).filter(isWanted)
}

/** Whether somebody said that a database is none of ours. */
export function isExcluded(server: Pick<ServerConfig, 'exclude'>, database: string): boolean {
  return server.exclude.some((pattern) => matches(pattern, database))
}

/** Whether the configuration covers a database, without asking the server. */
export function isConfigured(server: Pick<ServerConfig, 'databases' | 'exclude'>, database: string): boolean {
  if (isExcluded(server, database)) return false
  return server.databases === 'all' || server.databases.includes(database)
}

function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`, 's').test(name)
}

export type BackupKeys = { readonly recipients: Recipients; readonly signingKey: SigningKey | null }

/** Read anew for each job, so that a key replaced on disk is used by the next one. */
export async function readBackupKeys({ config, clock, askPassphrase }: KeyParts): Promise<BackupKeys> {
  const { encryption } = config
  const now = clock.now()
  const recipients = await readRecipients(encryption.recipients, now)
  const signingKey =
    encryption.signingKeyFile === undefined
      ? null
      : await readSigningKey(encryption.signingKeyFile, passphraseOf(encryption.signingPassphrase, askPassphrase), now)
  return { recipients, signingKey }
}

export type DrillKeys = {
  readonly keys: PrivateKeys
  /** To check for whom a backup is encrypted; nothing may be encrypted to them, because they may have expired. */
  readonly recipients: Recipients
  readonly trustedSigners: TrustedSigners | null
}

/**
 * What opens a backup. Throws KEY_NEEDED where there is no private key. `what` names the job in that message. There may be
 * fewer recipients than configured, or none: whether a backup is encrypted to everyone it names is then known as far as
 * keys are at hand.
 */
export async function readDrillKeys(
  { config, clock, log, askPassphrase }: KeyParts & Pick<Installation, 'log'>,
  what: string,
): Promise<DrillKeys> {
  const { encryption } = config
  const now = clock.now()
  if (encryption.privateKeyFiles.length === 0)
    throw new PgproofError('KEY_NEEDED', { what, key: config.isStoreOnly ? '--key' : 'encryption.privateKeyFile' })
  const passphrase = passphraseOf(encryption.passphrase, askPassphrase)
  return {
    keys: await readPrivateKeys(encryption.privateKeyFiles, passphrase, now),
    recipients: await readKnownRecipients(encryption.recipients, now, log),
    trustedSigners: await readSigners(config, now),
  }
}

/**
 * Expired and revoked ones as well, and without those that cannot be read: a recipient that is no longer good for the next
 * backup must not keep anybody from the last one.
 */
async function readKnownRecipients(paths: readonly string[], now: Date, log: Log): Promise<Recipients> {
  const readable: string[] = []
  for (const path of paths)
    try {
      await readKeyFile(path)
      readable.push(path)
    } catch (error) {
      log.warn({ reason: reasonOf(error) }, 'whether backups are encrypted to a recipient cannot be checked')
    }
  return await readPublicKeys(readable, 'encryption', now)
}

function passphraseOf(
  configured: Secret | undefined,
  askPassphrase: AskPassphrase | undefined,
): Passphrase | AskPassphrase | undefined {
  return configured === undefined ? askPassphrase : () => configured.reveal()
}

export async function readSigners(config: Config, now: Date): Promise<TrustedSigners | null> {
  const { trustedSigners } = config.encryption
  return trustedSigners.length === 0 ? null : await readTrustedSigners(trustedSigners, now)
}
