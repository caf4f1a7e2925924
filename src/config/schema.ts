import { z } from 'zod'
import { optional, optionalSection, required, section, sections, withDefault } from './declare.ts'
import { fleetKeys } from './fleet-keys.ts'
import * as kinds from './kinds.ts'
import { notifyKeys } from './notify-keys.ts'
import { serverKeys } from './server-keys.ts'
import { storeKeys } from './store-keys.ts'

/** Parameters by which the embedded server would be reached, reach out, run commands or read other files. */
const isolating = new RegExp(
  `^(?:${[
    ...['listen_addresses', 'port', 'unix_socket_.*', 'bonjour.*', 'ssl.*', 'krb_.*', 'gss_.*', 'db_user_namespace'],
    ...['data_directory', 'config_file', 'hba_file', 'ident_file', 'external_pid_file', 'include.*'],
    ...['archive_.*', 'restore_command', 'recovery_.*', 'promote_trigger_file', 'primary_.*', 'wal_level'],
    ...['max_wal_senders', 'logging_collector', 'log_destination', 'log_directory', 'log_filename', 'syslog_.*'],
    ...['event_source', 'authentication_timeout', 'password_encryption', 'cron\\..*', 'oauth_.*', 'allow_alter_system'],
  ].join('|')})$`,
)

/**
 * Every key of the configuration, declared once. The loader, the names of the environment variables, the faults,
 * docs/configuration.md, the JSON Schema for editors and the redaction all follow from this.
 */
export const schema = z.strictObject({
  timezone: withDefault(kinds.timezone(), 'UTC', {
    description: 'The time zone of the schedules, and of the days, weeks, months and years of retention.',
    example: 'Europe/Berlin',
  }),

  store: sections(
    {
      description:
        'Where backups live: a bucket, or a directory. It is the only truth; pgproof keeps nothing else. Several stores are written as a list, and each backup is written to all of them.',
      isRequired: true,
      mayBeOne: true,
    },
    storeKeys,
  ),

  prune: section(
    {
      description:
        'What a prune may do by itself. Which backups it keeps is said by retention, of each server or store.',
    },
    {
      largestShare: withDefault(kinds.percentage(), '50%', {
        description:
          'The largest share of the backups in one store that a prune removes at once. More than that is mostly a slip in a policy or a clock, and needs --force.',
        example: '20%',
      }),
    },
  ),

  encryption: section(
    {
      description:
        'OpenPGP keys. Backing up needs only public keys; private keys belong where drills and restores run.',
    },
    {
      recipients: required(kinds.list(kinds.path('file'), 'paths of public keys', 1), {
        description:
          'Public keys to which each backup is encrypted; any one of their private keys opens it. Keep the private key of one in escrow. A file may hold several; where one of them cannot be read, the file is refused.',
        example: '[keys/backup.pub.asc, keys/escrow.pub.asc]',
      }),
      privateKeyFile: optional(kinds.paths('key'), {
        description: 'Private keys that open backups. Needed for drills, restores and verify only.',
        example: '/run/secrets/backup.key.asc',
      }),
      passphraseFile: optional(kinds.path('secret'), {
        description: 'A file that holds the passphrase of the private keys.',
        example: '/run/secrets/backup.pass',
      }),
      signingKeyFile: optional(kinds.path('key'), {
        description:
          'A private key that signs manifests, so that nobody who can write to the bucket can plant a backup.',
        example: '/run/secrets/signing.key.asc',
      }),
      signingPassphraseFile: optional(kinds.path('secret'), {
        description: 'A file that holds the passphrase of the signing key.',
        example: '/run/secrets/signing.pass',
      }),
      trustedSigners: withDefault(kinds.list(kinds.path('file'), 'paths of public keys'), [], {
        description:
          'Public keys whose signatures are believed. With at least one, drills and restores refuse a manifest that none of them signed.',
        example: '[keys/signing.pub.asc]',
      }),
    },
  ),

  servers: sections(
    { description: 'The PostgreSQL servers whose databases are protected.', isRequired: true },
    serverKeys,
  ),

  serversFrom: optional(kinds.path(), {
    description:
      'A folder of files that each hold further servers, under the key servers. What comes, changes or goes there is noticed within daemon.catalogRefresh.',
    example: 'servers.d',
  }),

  drill: section(
    { description: 'How backups are restored for proof.' },
    {
      scratch: withDefault(kinds.scratch(), 'embedded', {
        description:
          'Where drills restore to: embedded starts a throw-away server in the spool; a URL names a server kept for drills, never a protected one.',
        example: 'postgres://drill@scratch:5432/postgres',
      }),
      scratchPasswordFile: optional(kinds.path('secret'), {
        description: 'A file that holds the password for the scratch server of that URL.',
        example: '/run/secrets/scratch_password',
      }),
      pick: withDefault(kinds.choice('random', 'latest'), 'random', {
        description: 'Which backup a drill takes; random prefers those never or long ago verified.',
        example: 'latest',
      }),
      within: withDefault(kinds.duration(), '30d', {
        description:
          'Every second random drill takes the backup that has waited longest, whatever its age; the others draw among those that are not older than this.',
        example: '90d',
      }),
      jobs: withDefault(kinds.whole(1, 128), 2, {
        description: 'How many connections pg_restore works with.',
        example: '4',
      }),
      spool: withDefault(kinds.path(), '/var/tmp/pgproof', {
        description:
          'A directory for the files of drills. It needs room for a dump twice, and for the restored database if the scratch server is embedded.',
        example: '/mnt/spool',
      }),
      deadline: withDefault(kinds.duration(), '12h', {
        description: 'A drill that takes longer is stopped and is inconclusive.',
        example: '4h',
      }),
      runAs: withDefault(kinds.text('the name of a user'), 'nobody', {
        description:
          'The operating system’s user for the embedded scratch server when pgproof runs as root, which PostgreSQL refuses to. One that owns nothing and that no server of this machine lets in: what a dump brings along may run as this user.',
        example: 'pgproof-scratch',
      }),
      parameters: withDefault(
        kinds.parameters(isolating),
        {},
        {
          description:
            'Parameters of PostgreSQL for the embedded scratch server, such as libraries that an extension needs loaded at the start. None that would let it out of its isolation.',
          example: '{ shared_preload_libraries: timescaledb, max_wal_size: 16GB }',
        },
      ),
      amcheck: withDefault(kinds.flag(), false, {
        description:
          'Whether a drill also checks every B-tree index against its table, and the pages of every table, by PostgreSQL’s extension amcheck. Reads everything once more.',
        example: 'true',
      }),
      keepReports: withDefault(kinds.duration(), '730d', {
        description: 'How long drill reports stay in the store.',
        example: '3650d',
      }),
    },
  ),

  postgres: section(
    { description: 'PostgreSQL’s own programs.' },
    {
      binDirs: withDefault(kinds.list(kinds.path(), 'directories'), [], {
        description: 'Directories searched first for pg_dump, pg_restore, initdb and the others.',
        example: '[/opt/postgresql/18/bin]',
      }),
    },
  ),

  http: section(
    { description: 'The HTTP API, the status page and the metrics of `pgproof serve`.' },
    {
      listen: withDefault(kinds.listen(), '127.0.0.1:9432', {
        description: 'Where to listen; off for nowhere.',
        example: '0.0.0.0:9432',
      }),
      tokens: sections(
        {
          description:
            'Bearer tokens. Only their SHA-256 is configured: `printf %s "$TOKEN" | sha256sum`. Exactly one of hash and hashFile is needed.',
          isRequired: false,
        },
        {
          name: required(kinds.name(), { description: 'Who uses the token, for the log.', example: 'ops' }),
          scope: required(kinds.choice('read', 'drill', 'backup'), {
            description: 'What the token allows: read; drill, which includes read; backup, which includes both.',
            example: 'drill',
          }),
          hash: optional(kinds.sha256(), {
            description: 'The SHA-256 of the token in hexadecimal.',
            example: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
          }),
          hashFile: optional(kinds.path('hash'), {
            description: 'A file that holds the SHA-256, as sha256sum prints it.',
            example: '/run/secrets/ops.sha256',
          }),
        },
      ),
      metricsToken: withDefault(kinds.flag(), false, {
        description: 'Whether /metrics, /healthz and /readyz demand a token as well.',
        example: 'true',
      }),
      localRead: withDefault(kinds.flag(), true, {
        description:
          'Whether GET from this machine itself needs no token. Turn it off where a proxy on this machine passes on requests of others and does not say so.',
        example: 'false',
      }),
      tls: optionalSection('Serves HTTPS. Renewed files are taken without a restart.', {
        certificateFile: required(kinds.path('file'), {
          description: 'The certificate and those between it and the root, as PEM.',
          example: '/run/secrets/tls.crt',
        }),
        keyFile: required(kinds.path('key'), {
          description: 'The private key of the certificate, as PEM, without passphrase.',
          example: '/run/secrets/tls.key',
        }),
      }),
      rateLimit: withDefault(kinds.whole(10, 1_000_000), 600, {
        description: 'How many requests one address may make within a minute.',
        example: '120',
      }),
    },
  ),

  notify: sections(
    {
      description:
        'Who is told of failures, for those without Prometheus. Each entry has exactly one of webhook, ping and email.',
      isRequired: false,
    },
    notifyKeys,
  ),

  daemon: section(
    { description: 'How `pgproof serve` behaves.' },
    {
      grace: withDefault(kinds.duration(), '25s', {
        description:
          'How long runs may take to stop after SIGTERM. Shorter than what the container’s own stop timeout allows.',
        example: '50s',
      }),
      maxConcurrent: withDefault(kinds.whole(1, 64), 2, {
        description: 'How many runs go on at the same time.',
        example: '4',
      }),
      catalogRefresh: withDefault(kinds.duration(), '5m', {
        description: 'How often the store is read again, to see what other processes did.',
        example: '15m',
      }),
      notifyTest: optional(kinds.cron(), {
        description:
          'When to send a failure that is none, marked as a test, through every entry of notify: it shows that the pager still rings.',
        example: '"0 10 1 * *"',
      }),
    },
  ),

  fleet: optionalSection(
    'Several daemons share one queue in a control database; docs/fleet.md. Absent: the queue is in this process.',
    fleetKeys,
  ),

  log: section(
    { description: 'The log, on standard error.' },
    {
      level: withDefault(kinds.choice('debug', 'info', 'warn', 'error', 'silent'), 'info', {
        description: 'The least level that is logged. LOG_LEVEL works as well.',
        example: 'debug',
      }),
      format: optional(kinds.choice('json', 'text'), {
        description: 'json for collectors, text for people. LOG_FORMAT works as well.',
        example: 'json',
        default: 'text on a terminal, json otherwise',
      }),
    },
  ),
})

const { encryption, servers } = schema.shape
const encryptionKeys = encryption.unwrap()

/** The same where a store alone was named: backups are read there and never taken. */
export const storeSchema = schema.extend({
  encryption: encryptionKeys.extend({ recipients: encryptionKeys.shape.recipients.default([]) }).prefault({}),
  servers: servers.default([]),
})

/** The configuration as the schema gives it: defaults filled in, durations in milliseconds, sizes in bytes. */
export type Settings = z.output<typeof schema>
export type StoreSettings = Settings['store'][number]
export type NotifySettings = Settings['notify'][number]
export type CredentialsSettings = NonNullable<StoreSettings['reader']>
