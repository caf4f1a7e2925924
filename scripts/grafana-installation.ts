import { type Line, plain, type Step, stat, table, thresholdsOf, timeseries, zeroIsGood } from './grafana-panels.ts'
import { perBarOfStore, questions, select } from './grafana-queries.ts'

const where = 'server=~"$server"'
const ask = questions(where)

const day = 86_400
const keySteps: readonly Step[] = [
  [null, 'red'],
  [7 * day, 'yellow'],
  [30 * day, 'green'],
]

/** The red is where PgproofNoticesUndelivered begins. */
const noticeSteps: readonly Step[] = [
  [null, 'green'],
  [60, 'yellow'],
  [900, 'red'],
]

export const stores: Line = {
  height: 8,
  panels: [
    table({
      id: 40,
      width: 12,
      title: 'Stores',
      description:
        'Each store, whatever servers are chosen above: down where any process cannot read it, and the largest skew that any sees.',
      unit: 'short',
      labels: ['store'],
      columns: [
        {
          name: 'State',
          words: [
            { value: 1, text: 'up', color: 'green' },
            { value: 0, text: 'down', color: 'red' },
          ],
          expr: 'min by (store) (pgproof_store_up)',
        },
        {
          name: 'Required',
          words: [
            { value: 1, text: 'yes', color: 'text' },
            { value: 0, text: 'no', color: 'text' },
          ],
          expr: 'max by (store) (pgproof_store_required)',
        },
        { name: 'Clock skew', unit: 's', expr: 'max by (store) (abs(pgproof_store_clock_skew_seconds))' },
        { name: 'Size', unit: 'bytes', expr: inStore('pgproof_store_bytes') },
        {
          name: 'Lacking backups',
          steps: zeroIsGood,
          expr: inStore('pgproof_store_lacking_backups'),
        },
        { name: 'Orphans', expr: inStore('pgproof_orphan_objects') },
      ],
    }),
    timeseries({
      id: 41,
      width: 12,
      title: 'Size of the stores',
      description: 'All objects of the backups of the chosen servers, in each store.',
      unit: 'bytes',
      style: 'stacked',
      queries: [
        {
          expr: `sum by (server, store) (max by (server, database, store) (${select('pgproof_store_bytes', where)}))`,
          legend: '{{server}} in {{store}}',
        },
      ],
    }),
  ],
}

export const tidiness: Line = {
  height: 5,
  panels: [
    stat({
      id: 42,
      width: 4,
      title: 'History gaps',
      description: 'Backups that somebody other than pgproof removed, replaced or put back.',
      unit: 'short',
      queries: [{ expr: `sum(${ask.newest('pgproof_history_gaps')}) or vector(0)` }],
      steps: zeroIsGood,
    }),
    stat({
      id: 43,
      width: 4,
      title: 'Damaged objects',
      description: 'Manifests, drill reports and records of prunes that cannot be read or are not signed as demanded.',
      unit: 'short',
      queries: [{ expr: 'sum(max by (job) (pgproof_damaged_objects)) or vector(0)' }],
      steps: zeroIsGood,
    }),
    timeseries({
      id: 44,
      width: 8,
      title: 'Orphan objects',
      description:
        'Objects of backups without a manifest: left by a crash, or being written. A prune removes the old ones.',
      unit: 'short',
      queries: [
        {
          expr: `sum by (server, store) (max by (server, database, store) (${select('pgproof_orphan_objects', where)}))`,
          legend: '{{server}} in {{store}}',
        },
      ],
    }),
    timeseries({
      id: 45,
      width: 8,
      title: 'Backups removed by prunes',
      description: 'By the records that prunes leave in the store.',
      unit: 'short',
      style: 'bars',
      interval: '5m',
      queries: [
        {
          expr: perBarOfStore('server', select('pgproof_prune_removed_total', where)),
          legend: '{{server}}',
        },
      ],
    }),
  ],
}

export const keysAndProcesses: Line = {
  height: 7,
  panels: [
    table({
      id: 50,
      width: 6,
      title: 'Keys that expire',
      description: 'OpenPGP keys and the time that is left to them; a key that never expires is not listed.',
      unit: 'short',
      labels: ['fingerprint', 'use'],
      sortBy: { name: 'Expires in', isDescending: false },
      columns: [
        {
          name: 'Expires in',
          unit: 's',
          steps: keySteps,
          expr: 'min by (fingerprint, use) (pgproof_key_expiry_timestamp_seconds) - time()',
        },
      ],
    }),
    table({
      id: 51,
      width: 9,
      title: 'Processes',
      description:
        'The pgproof processes that answer: for how long, whether the last change of their configuration was taken, and how long their TLS certificate is valid.',
      unit: 'short',
      labels: ['instance', 'version', 'nodeversion'],
      columns: [
        { name: 'Up for', unit: 's', expr: ofProcess('time() - process_start_time_seconds') },
        {
          name: 'Configuration',
          words: [
            { value: 1, text: 'in force', color: 'green' },
            { value: 0, text: 'refused', color: 'red' },
          ],
          expr: ofProcess('pgproof_config_last_reload_successful'),
        },
        {
          name: 'Certificate expires in',
          unit: 's',
          steps: keySteps,
          expr: ofProcess('pgproof_tls_certificate_expiry_timestamp_seconds - time()'),
        },
      ],
    }),
    timeseries({
      id: 52,
      width: 5,
      title: 'Memory of the processes',
      description: 'Resident memory of each pgproof process; programs that it starts are not counted.',
      unit: 'bytes',
      queries: [
        {
          expr: ofProcess('process_resident_memory_bytes'),
          legend: '{{instance}}',
        },
      ],
    }),
    stat({
      id: 53,
      width: 4,
      title: 'Notices not delivered',
      description:
        'Notices and pings within the time shown that were given up or dropped, those that wait now, and how long the oldest of these has waited; nobody may have been told.',
      unit: 'short',
      queries: [
        {
          legend: 'Lost',
          expr: 'round(sum(increase(pgproof_notices_total{outcome=~"failed|dropped"}[$__range]))) or vector(0)',
        },
        { legend: 'Waiting', expr: 'sum(pgproof_notices_waiting) or vector(0)' },
        {
          legend: 'Oldest',
          expr: 'time() - min(pgproof_notice_oldest_waiting_timestamp_seconds) or vector(0)',
        },
      ],
      steps: zeroIsGood,
      overrides: [
        // One that is under way just now is no fault.
        { name: 'Waiting', properties: { thresholds: thresholdsOf(plain) } },
        { name: 'Oldest', properties: { unit: 's', thresholds: thresholdsOf(noticeSteps) } },
      ],
    }),
  ],
}

/** Every process says the same of each place. */
function inStore(metric: string): string {
  return `sum by (store) (max by (server, database, store) (${metric}))`
}

/** Of the processes that are pgproof, among all that Prometheus scrapes. */
function ofProcess(vector: string): string {
  const program = 'on (job, instance) group_left (version, nodeversion) pgproof_build_info'
  return `max by (instance, version, nodeversion) ((${vector}) * ${program})`
}
