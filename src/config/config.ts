import { resolve } from 'node:path'
import type { EvidenceLevel } from '../domain/evidence.ts'
import type { RetentionPolicy } from '../domain/retention.ts'
import type { LogSettings } from '../log.ts'
import { buildFleet, type FleetConfig } from './fleet-config.ts'
import type { Path } from './keys.ts'
import type { CredentialsSettings, NotifySettings, Settings, StoreSettings } from './schema.ts'
import { Secret } from './secret.ts'
import { resolveSslFiles, type ServerUrl } from './server-url.ts'
import { defaultStoreName } from './store-keys.ts'

/** The configuration as the program uses it: frozen, paths absolute, secrets read, times in milliseconds, sizes in bytes. */
export type Config = {
  /** Named by `--store`, without a configuration: then there may be no servers and no recipients. */
  readonly isStoreOnly: boolean
  /** IANA. */
  readonly timezone: string
  /** At least one; the order is that in which they are read. */
  readonly stores: readonly [StoreConfig, ...StoreConfig[]]
  readonly prune: PruneConfig
  readonly encryption: EncryptionConfig
  readonly servers: readonly ServerConfig[]
  /** Where further servers stand, which are among `servers`. */
  readonly serversFrom: string | undefined
  readonly drill: DrillConfig
  readonly postgres: { readonly binDirs: readonly string[] }
  readonly http: HttpConfig
  readonly notify: readonly NotifyConfig[]
  readonly daemon: DaemonConfig
  /** Undefined: the queue is in this process. */
  readonly fleet: FleetConfig | undefined
  readonly log: Readonly<LogSettings>
}

/** One key pair; undefined in places of it: the credential chain of the AWS SDK. */
export type CredentialsConfig = {
  readonly accessKeyId: string | undefined
  readonly secretAccessKey: Secret | undefined
  readonly sessionToken: Secret | undefined
}

/** The credentials here write, and do everything else, too, unless `reader` or `pruner` has others. */
export type StoreConfig = CredentialsConfig & {
  /** In metrics, messages and manifests; one name for each store. */
  readonly name: string
  /** A backup succeeds only if it is in every required store; `sync` catches up the others. */
  readonly isRequired: boolean
  /** The id that the store's marker must have; undefined takes what is there. */
  readonly id: string | undefined
  readonly reader: CredentialsConfig | undefined
  readonly pruner: CredentialsConfig | undefined
  /** Whether `check` demands that the credentials for writing can neither delete nor overwrite. */
  readonly isAppendOnly: boolean
  /** In place of the servers' own, for this store. */
  readonly retention: RetentionPolicy | undefined
  readonly rolesRetention: RetentionPolicy | undefined
  /** `s3://bucket/prefix` or `file:///directory`. */
  readonly url: string
  readonly endpoint: string | undefined
  /** Undefined: what the AWS SDK finds. */
  readonly region: string | undefined
  readonly provider: 'aws' | 'minio' | 'r2' | 'b2' | 'ceph' | 'generic'
  readonly caFile: string | undefined
  readonly partSizeBytes: number
  readonly partsInFlight: number
  readonly objectLock: { readonly mode: 'governance' | 'compliance'; readonly forMs: number } | undefined
  readonly serverSideEncryption: 'AES256' | 'aws:kms' | undefined
  readonly kmsKeyId: string | undefined
  readonly storageClass: string | undefined
  readonly tags: Readonly<Record<string, string>>
  /** Whether a prune removes the versions that a versioned bucket keeps. */
  readonly versions: 'keep' | 'remove'
}

/** What a prune may do without being forced. */
export type PruneConfig = {
  /** Above this share of a store's backups (0 to 1) a prune asks for `--force`. */
  readonly largestShare: number
}

export type EncryptionConfig = {
  /** Paths of public keys, at least one unless the store alone was named. */
  readonly recipients: readonly string[]
  /** Empty where no drills and restores run. */
  readonly privateKeyFiles: readonly string[]
  readonly passphrase: Secret | undefined
  readonly signingKeyFile: string | undefined
  readonly signingPassphrase: Secret | undefined
  /** Paths of public keys; with one, signatures are demanded. */
  readonly trustedSigners: readonly string[]
}

export type ServerConfig = {
  readonly name: string
  /** Names user, host and database, and holds no password. */
  readonly url: string
  /** Undefined: PGPASSFILE, or none is needed. As it was when the configuration was read. */
  readonly password: Secret | undefined
  /** Where the password stands, if in a file: it may have been changed there since. */
  readonly passwordFile: string | undefined
  readonly databases: 'all' | readonly string[]
  /** Names, or patterns with `*`. */
  readonly exclude: readonly string[]
  /** Cron expressions of five fields; a job without one never runs by itself. */
  readonly schedule: {
    readonly backup?: string | undefined
    readonly roles?: string | undefined
    readonly drill?: string | undefined
  }
  /** A scheduled run starts up to this much after its due time. */
  readonly jitterMs: number
  readonly retry: RetryConfig
  /** In a fleet: which workers take its jobs; undefined: any. */
  readonly label: string | undefined
  /** How many runs of this server go on at the same time; undefined: as many as in all. */
  readonly maxConcurrent: number | undefined
  readonly retention: RetentionPolicy
  readonly rolesRetention: RetentionPolicy
  readonly compression: CompressionConfig
  /** `tables` has the exceptions, by `schema.table`. */
  readonly evidence: { readonly level: EvidenceLevel; readonly tables: Readonly<Record<string, EvidenceLevel>> }
  readonly objectives: { readonly rpoMs?: number | undefined; readonly rtoMs?: number | undefined }
  readonly checks: readonly CheckConfig[]
  readonly lockTimeoutMs: number
  readonly backupDeadlineMs: number
  readonly censusConnections: number
}

/** `attempts` counts the first one; each further one waits twice as long as the one before. */
export type RetryConfig = { readonly attempts: number; readonly delayMs: number }

/** `level` is 0 for `none`. */
export type CompressionConfig = { readonly method: 'zstd' | 'gzip' | 'lz4' | 'none'; readonly level: number }

/** `database` undefined: asked of each one. */
export type CheckConfig = { readonly name: string; readonly sql: string; readonly database?: string | undefined }

export type DrillConfig = {
  readonly scratch:
    | { readonly kind: 'embedded' }
    | { readonly kind: 'server'; readonly url: string; readonly password: Secret | undefined }
  readonly pick: 'random' | 'latest'
  readonly withinMs: number
  readonly jobs: number
  /** A directory. */
  readonly spool: string
  readonly deadlineMs: number
  /** The operating system's user for the embedded server when pgproof runs as root. */
  readonly runAs: string
  /** Parameters of PostgreSQL for the embedded server. */
  readonly parameters: Readonly<Record<string, string>>
  readonly amcheck: boolean
  readonly keepReportsMs: number
}

export type HttpConfig = {
  /** Null: off. Port 0 takes any free one. */
  readonly listen: { readonly host: string; readonly port: number } | null
  readonly tokens: readonly TokenConfig[]
  readonly metricsToken: boolean
  /** Whether reading from this machine needs no token. */
  readonly localRead: boolean
  /** Undefined: plain HTTP. Both are paths of PEM files. */
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | undefined
  /** Requests of one address within a minute. */
  readonly rateLimit: number
}

export type DaemonConfig = {
  readonly graceMs: number
  readonly maxConcurrent: number
  readonly catalogRefreshMs: number
  /** A cron expression; undefined: never. */
  readonly notifyTest: string | undefined
}

export type NotifyEvent = 'failure' | 'recovery' | 'success'

/** Who is told, and of what. */
export type NotifyConfig = NotifyTarget & {
  /** Empty for a ping, which is told of every start and end. */
  readonly on: readonly NotifyEvent[]
  /** Null: of all, and of what concerns no job. */
  readonly jobs: readonly ('backup' | 'roles' | 'drill' | 'prune' | 'sync')[] | null
  /** Null: of all. */
  readonly servers: readonly string[] | null
}

/** The URLs of webhooks and pings are secrets: whoever knows one may use it. */
export type NotifyTarget =
  | {
      readonly kind: 'webhook'
      readonly url: Secret
      readonly format: 'json' | 'slack'
      readonly token: Secret | undefined
    }
  | { readonly kind: 'ping'; readonly url: Secret }
  | {
      readonly kind: 'email'
      readonly to: readonly string[]
      readonly from: string
      /** Names user, host and port, and holds no password. */
      readonly smtp: string
      readonly password: Secret | undefined
    }

export type TokenScope = 'read' | 'drill' | 'backup'
/** `sha256` of the token in lower-case hexadecimal. */
export type TokenConfig = { readonly name: string; readonly scope: TokenScope; readonly sha256: string }

/** None for a server that is not configured any more. */
export function objectivesOf(server: string, { servers }: Pick<Config, 'servers'>): ServerConfig['objectives'] {
  return servers.find(({ name }) => name === server)?.objectives ?? {}
}

/** What settings need to become a configuration. */
export type Surroundings = {
  /** Relative paths are relative to it. */
  readonly folder: string
  /** From the secret files, by the JSON of the key's path. */
  readonly secrets: ReadonlyMap<string, string>
  readonly isTerminal: boolean
  readonly isStoreOnly: boolean
}

export function buildConfig(settings: Settings, { folder, secrets, isTerminal, isStoreOnly }: Surroundings): Config {
  const absolute: Absolute = (path) => resolve(folder, path)
  const absoluteOrNone = (path: string | undefined) => (path === undefined ? undefined : absolute(path))
  const read: ReadSecret = (...path) => secrets.get(JSON.stringify(path))
  const { encryption, drill, postgres, http, notify, daemon, fleet, log } = settings

  return deepFreeze({
    isStoreOnly,
    timezone: settings.timezone,
    // The schema demands one at least.
    stores: settings.store.map((store, index) => buildStore(store, index, absolute, read)) as [StoreConfig],
    prune: { largestShare: settings.prune.largestShare },
    encryption: {
      recipients: encryption.recipients.map(absolute),
      privateKeyFiles: [encryption.privateKeyFile ?? []].flat().map(absolute),
      passphrase: secret(read('encryption', 'passphraseFile')),
      signingKeyFile: absoluteOrNone(encryption.signingKeyFile),
      signingPassphrase: secret(read('encryption', 'signingPassphraseFile')),
      trustedSigners: encryption.trustedSigners.map(absolute),
    },
    servers: settings.servers.map((server, index) => ({
      name: server.name,
      url: resolveSslFiles(server.url.url, absolute),
      password: secret(server.url.password ?? read('servers', index, 'passwordFile')),
      passwordFile: absoluteOrNone(server.passwordFile),
      databases: server.databases,
      exclude: server.exclude,
      schedule: {
        backup: server.schedule.backup,
        roles: server.schedule.roles,
        drill: server.schedule.drill,
      },
      jitterMs: server.schedule.jitter,
      retry: { attempts: server.retry.attempts, delayMs: server.retry.delay },
      label: server.label,
      maxConcurrent: server.maxConcurrent,
      retention: server.retention,
      rolesRetention: server.rolesRetention,
      compression: {
        method: server.compression.method,
        level: server.compression.method === 'none' ? 0 : (server.compression.level ?? 1),
      },
      evidence: server.evidence,
      objectives: { rpoMs: server.objectives.rpo, rtoMs: server.objectives.rto },
      checks: server.checks,
      lockTimeoutMs: server.lockTimeout,
      backupDeadlineMs: server.backupDeadline,
      censusConnections: server.censusConnections,
    })),
    serversFrom: absoluteOrNone(settings.serversFrom),
    drill: {
      scratch: buildScratch(drill.scratch, absolute, secret(read('drill', 'scratchPasswordFile'))),
      pick: drill.pick,
      withinMs: drill.within,
      jobs: drill.jobs,
      spool: absolute(drill.spool),
      deadlineMs: drill.deadline,
      runAs: drill.runAs,
      parameters: drill.parameters,
      amcheck: drill.amcheck,
      keepReportsMs: drill.keepReports,
    },
    postgres: { binDirs: postgres.binDirs.map(absolute) },
    http: {
      listen: http.listen,
      tokens: http.tokens.map(({ name, scope, hash }, index) => ({
        name,
        scope,
        sha256: hash?.toLowerCase() ?? read('http', 'tokens', index, 'hashFile') ?? '',
      })),
      metricsToken: http.metricsToken,
      localRead: http.localRead,
      tls: http.tls && { certificateFile: absolute(http.tls.certificateFile), keyFile: absolute(http.tls.keyFile) },
      rateLimit: http.rateLimit,
    },
    notify: notify.map((entry, index) => buildNotify(entry, index, read)),
    daemon: {
      graceMs: daemon.grace,
      maxConcurrent: daemon.maxConcurrent,
      catalogRefreshMs: daemon.catalogRefresh,
      notifyTest: daemon.notifyTest,
    },
    fleet: fleet && buildFleet(fleet, absolute, (key) => read('fleet', key)),
    log: { level: log.level, format: log.format ?? (isTerminal ? 'text' : 'json') },
  })
}

/** The configuration as plain data for the log, without any secret. */
export function redactedConfig(config: Config): Readonly<Record<string, unknown>> {
  const tokens = config.http.tokens.map((token) => ({ ...token, sha256: new Secret(token.sha256) }))
  return JSON.parse(JSON.stringify({ ...config, http: { ...config.http, tokens } })) as Record<string, unknown>
}

/** The text of the secret file that the key at a path names. */
type ReadSecret = (...path: Path) => string | undefined
type Absolute = (path: string) => string

function secret(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text)
}

function buildStore(store: StoreSettings, index: number, absolute: Absolute, read: ReadSecret): StoreConfig {
  const { reader, pruner, objectLock } = store
  const path = ['store', index] as const
  return {
    ...buildCredentials(store, path, read),
    name: store.name ?? defaultStoreName(index),
    isRequired: store.required,
    // As the marker has it.
    id: store.id?.toLowerCase(),
    reader: reader && buildCredentials(reader, [...path, 'reader'], read),
    pruner: pruner && buildCredentials(pruner, [...path, 'pruner'], read),
    isAppendOnly: store.appendOnly,
    retention: store.retention,
    rolesRetention: store.rolesRetention,
    url: store.url,
    endpoint: store.endpoint,
    region: store.region,
    provider: store.provider ?? (store.endpoint === undefined ? 'aws' : 'generic'),
    caFile: store.caFile === undefined ? undefined : absolute(store.caFile),
    partSizeBytes: store.partSize,
    partsInFlight: store.partsInFlight,
    objectLock: objectLock && { mode: objectLock.mode, forMs: objectLock.for },
    serverSideEncryption: store.serverSideEncryption,
    kmsKeyId: store.kmsKeyId,
    storageClass: store.storageClass,
    tags: store.tags,
    versions: store.versions,
  }
}

function buildNotify(entry: NotifySettings, index: number, read: ReadSecret): NotifyConfig {
  const { webhook, ping, email, from, smtp, format, job, server, on } = entry
  const file = (key: string): string | undefined => read('notify', index, key)
  const filter = { on: on ?? (['failure', 'recovery'] as const), jobs: job ?? null, servers: server ?? null }
  const webhookUrl = secret(webhook ?? file('webhookFile'))
  if (webhookUrl !== undefined)
    return { kind: 'webhook', url: webhookUrl, format: format ?? 'json', token: secret(file('tokenFile')), ...filter }
  const pingUrl = secret(ping ?? file('pingFile'))
  if (pingUrl !== undefined) return { kind: 'ping', url: pingUrl, ...filter, on: [] }
  // Those of an e-mail are all there, or notify-contradictions.ts would have said so.
  const password = secret(file('smtpPasswordFile'))
  return { kind: 'email', to: email ?? [], from: from ?? '', smtp: smtp ?? '', password, ...filter }
}

function buildCredentials(given: CredentialsSettings, path: Path, read: ReadSecret): CredentialsConfig {
  return {
    accessKeyId: given.accessKeyId,
    secretAccessKey: secret(given.secretAccessKey ?? read(...path, 'secretAccessKeyFile')),
    sessionToken: secret(given.sessionToken ?? read(...path, 'sessionTokenFile')),
  }
}

function buildScratch(
  scratch: 'embedded' | ServerUrl,
  absolute: Absolute,
  password: Secret | undefined,
): DrillConfig['scratch'] {
  if (scratch === 'embedded') return { kind: 'embedded' }
  const inUrl = scratch.password === undefined ? undefined : new Secret(scratch.password)
  return { kind: 'server', url: resolveSslFiles(scratch.url, absolute), password: inUrl ?? password }
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === 'object' && inner !== null) deepFreeze(inner)
  return Object.freeze(value)
}
