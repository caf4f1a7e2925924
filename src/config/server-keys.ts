import { z } from 'zod'
import { optional, policy, required, section, sections, withDefault } from './declare.ts'
import * as kinds from './kinds.ts'
import { retentionKeys } from './retention-keys.ts'

const evidenceLevels = ['digest', 'count', 'off'] as const

const compressionKeys = z
  .strictObject({
    method: withDefault(kinds.choice('zstd', 'gzip', 'lz4', 'none'), 'zstd', {
      description:
        'zstd compresses outside pg_dump, in parallel and several times faster; gzip and lz4 are pg_dump’s own (lz4 from PostgreSQL 16 on); none stores the dump as it is.',
      example: 'zstd',
    }),
    level: optional(kinds.whole(1, 19), {
      description: 'Higher is smaller and slower: zstd 1 to 19, gzip 1 to 9, lz4 1 to 12. Not with none.',
      example: '3',
      default: '1',
    }),
  })
  .refine(({ method, level = 1 }) => method === 'none' || level <= { zstd: 19, gzip: 9, lz4: 12 }[method], {
    path: ['level'],
    message: 'this method has no such level',
  })
  .refine(({ method, level }) => method !== 'none' || level === undefined, {
    path: ['level'],
    message: 'the method none has no level',
  })

/** The keys of one entry of `servers`. */
export const serverKeys = {
  name: required(kinds.name(), {
    description: 'The name of the server in the store, in metrics and in commands. Do not change it later.',
    example: 'main',
  }),
  url: required(kinds.serverUrl(), {
    description:
      'A direct connection, not through a transaction pooler. The query may hold sslmode, sslrootcert, sslcert, sslkey, connect_timeout and application_name. A socket folder is written as the host, percent-encoded.',
    example: 'postgres://backup@db:5432/postgres',
  }),
  passwordFile: optional(kinds.path('secret'), {
    description: 'A file that holds the password. Otherwise it comes from the URL or from PGPASSFILE.',
    example: '/run/secrets/pg_password',
  }),
  databases: withDefault(kinds.namesOrAll(), 'all', {
    description: 'Which databases to back up; all takes whatever exists but templates.',
    example: '[app, billing]',
  }),
  exclude: withDefault(kinds.list(kinds.text(), 'names and patterns'), [], {
    description: 'Databases not to back up: names, or patterns in which * stands for any text.',
    example: '[postgres, "*_test"]',
  }),
  schedule: section(
    { description: 'When `pgproof serve` runs each job, in the configured time zone. Absent: never by itself.' },
    {
      backup: optional(kinds.cron(), { description: 'When to back up the databases.', example: '"0 2 * * *"' }),
      roles: optional(kinds.cron(), { description: 'When to back up the roles.', example: '"0 3 * * 0"' }),
      drill: optional(kinds.cron(), {
        description: 'When to restore a backup of each database into a scratch server and verify it.',
        example: '"0 5 * * *"',
      }),
      jitter: withDefault(kinds.duration(0), '0s', {
        description:
          'Each run starts up to this much after its due time: by as much for a database as its name decides, so that many databases do not start at once.',
        example: '20m',
      }),
    },
  ),
  retry: section(
    {
      description:
        'What follows a scheduled run that failed or was inconclusive. A drill that failed is a verdict, and is not repeated.',
    },
    {
      attempts: withDefault(kinds.whole(1, 20), 8, {
        description:
          'How often a run is attempted at most before its next due time; 1: once. With the default delay, eight attempts last a little more than four hours.',
        example: '3',
      }),
      delay: withDefault(kinds.duration(), '5m', {
        description:
          'How long after a failure the second attempt begins; each further one waits twice as long, an hour at most, or as long as this if it is longer.',
        example: '1m',
      }),
    },
  ),
  label: optional(kinds.label(), {
    description: 'In a fleet: only workers with this label take the jobs of this server.',
    example: 'eu',
    default: 'any worker',
  }),
  maxConcurrent: optional(kinds.whole(1, 64), {
    description: 'How many runs of this server go on at the same time; in a fleet, how many of its backups.',
    example: '1',
    default: 'that of daemon.maxConcurrent',
  }),
  retention: policy(
    'Which backups of each database to keep; a backup is kept if any of these rules keeps it. A policy is taken as written: once one key is given, the others are 0.',
    retentionKeys,
    { last: 3, daily: 7, weekly: 4, monthly: 12, yearly: 0, verified: 2 },
  ),
  rolesRetention: policy(
    'Which roles backups to keep. A policy is taken as written: once one key is given, the others are 0.',
    retentionKeys,
    { last: 5 },
  ),
  compression: policy('How dumps are compressed.', compressionKeys, {}),
  evidence: section(
    {
      description:
        'How much is recorded about each table at backup, to compare with at a drill. May be written as the level alone.',
      shorthand: 'level',
    },
    {
      level: withDefault(kinds.choice(...evidenceLevels), 'digest', {
        description: 'digest: row counts and a digest of all rows; count: row counts only; off: nothing.',
        example: 'count',
      }),
      tables: withDefault(
        kinds.levels(...evidenceLevels),
        {},
        {
          description: 'Another level for single tables.',
          example: '{ "public.audit_log": count }',
        },
      ),
    },
  ),
  objectives: section(
    { description: 'What was promised. Measured values are compared with it in metrics and status.' },
    {
      rpo: optional(kinds.duration(), {
        description: 'The recovery point objective: how much of the newest work may be lost at most.',
        example: '26h',
      }),
      rto: optional(kinds.duration(), {
        description: 'The recovery time objective: how long a restore may take at most.',
        example: '30m',
      }),
    },
  ),
  checks: sections(
    { description: 'Questions asked of the restored copy in each drill.', isRequired: false },
    {
      name: required(kinds.name(), { description: 'The name of the check in reports.', example: 'fresh orders' }),
      sql: required(kinds.text('a query'), {
        description:
          'A query that returns one row with one true or false. {{snapshotTime}} is replaced by the instant of the dump.',
        example: "\"select max(created_at) > timestamptz '{{snapshotTime}}' - interval '1 day' from orders\"",
      }),
      database: optional(kinds.name(), {
        description: 'The database to ask. Absent: each one.',
        example: 'app',
      }),
    },
  ),
  lockTimeout: withDefault(kinds.duration(), '30s', {
    description: 'How long a backup waits for the locks on its tables before it gives up.',
    example: '2m',
  }),
  backupDeadline: withDefault(kinds.duration(), '24h', {
    description: 'A backup of one database that takes longer is stopped and counts as failed.',
    example: '6h',
  }),
  censusConnections: withDefault(kinds.whole(1, 32), 2, {
    description: 'How many connections count and digest tables while pg_dump runs.',
    example: '4',
  }),
}
