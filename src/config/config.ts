import { resolve } from 'node:path'
import type { EvidenceLevel } from '../domain/evidence.ts'
import type { RetentionPolicy } from '../domain/retention.ts'
import type { LogSettings } from '../log.ts'
import type { Path } from './keys.ts'
import type { Settings } from './schema.ts'
import { Secret } from './secret.ts'
import { resolveSslFiles, type ServerUrl } from './server-url.ts'

/** The configuration as the program uses it: frozen, paths absolute, secrets read, times in milliseconds, sizes in bytes. */
export type Config = {
  /** Named by `--store`, without a configuration: then there may be no servers and no recipients. */
  readonly isStoreOnly: boolean
  /** IANA. */
  readonly timezone: string
  readonly store: StoreConfig
  readonly encryption: EncryptionConfig
  readonly servers: readonly ServerConfig[]
  readonly drill: DrillConfig
  readonly postgres: { readonly binDirs: readonly string[] }
  readonly http: HttpConfig
  readonly daemon: { readonly graceMs: number; readonly maxConcurrent: number; readonly catalogRefreshMs: number }
  readonly log: Readonly<LogSettings>
}

export type StoreConfig = {
  /** `s3://bucket/prefix` or `file:///directory`. */
  readonly url: string
  readonly endpoint: string | undefined
  /** Undefined: what the AWS SDK finds. */
  readonly region: string | undefined
  readonly provider: 'aws' | 'minio' | 'r2' | 'b2' | 'ceph' | 'generic'
  /** Undefined: the credential chain of the AWS SDK. */
  readonly accessKeyId: string | undefined
  readonly secretAccessKey: Secret | undefined
  readonly sessionToken: Secret | undefined
  readonly caFile: string | undefined
  readonly partSizeBytes: number
  readonly partsInFlight: number
  readonly objectLock: { readonly mode: 'governance' | 'compliance'; readonly forMs: number } | undefined
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
  /** Undefined: PGPASSFILE, or none is needed. */
  readonly password: Secret | undefined
  readonly databases: 'all' | readonly string[]
  /** Names, or patterns with `*`. */
  readonly exclude: readonly string[]
  /** Cron expressions of five fields; a job without one never runs by itself. */
  readonly schedule: {
    readonly backup?: string | undefined
    readonly roles?: string | undefined
    readonly drill?: string | undefined
  }
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
  const absolute = (path: string): string => resolve(folder, path)
  const absoluteOrNone = (path: string | undefined) => (path === undefined ? undefined : absolute(path))
  const read = (...path: Path): string | undefined => secrets.get(JSON.stringify(path))
  const secret = (text: string | undefined): Secret | undefined => (text === undefined ? undefined : new Secret(text))
  const { store, encryption, drill, postgres, http, daemon, log } = settings

  return deepFreeze({
    isStoreOnly,
    timezone: settings.timezone,
    store: {
      url: store.url,
      endpoint: store.endpoint,
      // Servers that are not AWS mostly ignore the region, but requests cannot be signed without one.
      region: store.region ?? (store.endpoint === undefined ? undefined : 'us-east-1'),
      provider: store.provider ?? (store.endpoint === undefined ? 'aws' : 'generic'),
      accessKeyId: store.accessKeyId,
      secretAccessKey: secret(store.secretAccessKey ?? read('store', 'secretAccessKeyFile')),
      sessionToken: secret(store.sessionToken ?? read('store', 'sessionTokenFile')),
      caFile: absoluteOrNone(store.caFile),
      partSizeBytes: store.partSize,
      partsInFlight: store.partsInFlight,
      objectLock: store.objectLock && { mode: store.objectLock.mode, forMs: store.objectLock.for },
    },
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
      databases: server.databases,
      exclude: server.exclude,
      schedule: server.schedule,
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
    },
    daemon: { graceMs: daemon.grace, maxConcurrent: daemon.maxConcurrent, catalogRefreshMs: daemon.catalogRefresh },
    log: { level: log.level, format: log.format ?? (isTerminal ? 'text' : 'json') },
  })
}

/** The configuration as plain data for the log, without any secret. */
export function redactedConfig(config: Config): Readonly<Record<string, unknown>> {
  const tokens = config.http.tokens.map((token) => ({ ...token, sha256: new Secret(token.sha256) }))
  return JSON.parse(JSON.stringify({ ...config, http: { ...config.http, tokens } })) as Record<string, unknown>
}

function buildScratch(
  scratch: 'embedded' | ServerUrl,
  absolute: (path: string) => string,
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
