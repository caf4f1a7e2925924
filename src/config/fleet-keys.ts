import { optional, required, withDefault } from './declare.ts'
import * as kinds from './kinds.ts'

export const workerDuties = ['backup', 'drill', 'prune', 'sync', 'serve'] as const

/** The keys of `fleet`. */
export const fleetKeys = {
  url: required(kinds.serverUrl(), {
    description:
      'The control database: where the queue is. A direct connection, not through a transaction pooler. It holds no secrets and no backups, and may be lost.',
    example: 'postgres://pgproof@control:5432/pgproof',
  }),
  passwordFile: optional(kinds.path('secret'), {
    description: 'A file that holds the password. Otherwise it comes from the URL or from PGPASSFILE.',
    example: '/run/secrets/control_password',
  }),
  schema: withDefault(kinds.schemaName(), 'pgboss', {
    description:
      'The schema of the queue’s tables, which pg-boss makes and upgrades. Must be said if a server protects the control database itself.',
    example: 'pgproof_queue',
  }),
  worker: optional(kinds.label(), {
    description: 'The name of this worker; each one needs its own.',
    example: 'eu-1',
    default: 'the name of the host',
  }),
  labels: withDefault(kinds.list(kinds.label(), 'labels'), [], {
    description: 'This worker also takes the jobs of servers with one of these labels.',
    example: '[eu]',
  }),
  may: withDefault(kinds.list(kinds.choice(...workerDuties), workerDuties.join(', '), 1), [...workerDuties], {
    description: 'Which jobs this worker takes; backup includes roles. With serve it answers HTTP.',
    example: '[drill]',
  }),
  maxBackups: optional(kinds.whole(1, 10_000), {
    description: 'How many backups go on at the same time in the whole fleet.',
    example: '40',
    default: 'no limit',
  }),
  heartbeat: withDefault(kinds.duration(10_000), '60s', {
    description: 'After so long without a sign of life of its worker a run is given to another one.',
    example: '2m',
  }),
}
