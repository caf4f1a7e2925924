import { keysAndProcesses, stores, tidiness } from './grafana-installation.ts'
import {
  type Line,
  ofObjective,
  type Placed,
  pausedOrNot,
  plain,
  type Section,
  type Step,
  shown,
  stat,
  table,
  timeseries,
  verdicts,
  type Word,
  zeroIsGood,
} from './grafana-panels.ts'
import { count, questions, select } from './grafana-queries.ts'
import { queue } from './grafana-queue.ts'

/** The alerts lead to this panel. */
export const databasesPanelId = 10

const ask = questions('server=~"$server"')
const toDatabase = `/d/pgproof-database?${[
  shown('__url_time_range'),
  `var-datasource=${shown('datasource')}`,
  `var-server=${shown('__data.fields.server:percentencode')}`,
  `var-database=${shown('__data.fields.database:percentencode')}`,
].join('&')}`

const states: readonly Word[] = [
  { value: 1, text: 'configured', color: 'green' },
  { value: 0, text: 'only its backups', color: 'text' },
  { value: 2, text: 'gone from its server', color: 'red' },
]

const inARow = ask.perJob('pgproof_run_consecutive_failures')
const failures = `round(${ask.runs('server, database, exported_job', '$__range', 'outcome=~"failed|inconclusive"')})`
// Both columns have the same rows: Grafana names a column by its query only where two have an answer.
const troubled = `(${inARow} > 0 or ${failures} > 0)`

const counts: Line = {
  height: 4,
  panels: [
    counted(1, 'Databases', 'Databases that the configuration covers.', ask.configured, plain),
    counted(
      2,
      'Protected',
      'Databases whose recovery point is within its objective; without one, not older than one and a half intervals of the schedule.',
      ask.isProtected,
      plain,
    ),
    counted(
      3,
      'Not protected',
      'Databases without a backup, or whose recovery point is older than that.',
      `${ask.configured} unless ${ask.isProtected}`,
      zeroIsGood,
    ),
    counted(4, 'Proven', 'Databases whose newest drill passed.', ask.isProven, plain),
    counted(
      5,
      'Not proven',
      'Databases whose newest drill failed or was inconclusive, and those never drilled.',
      `${ask.configured} unless ${ask.isProven}`,
      zeroIsGood,
    ),
    counted(
      6,
      'Drills overdue',
      'Databases of which no drill has passed for two intervals of its schedule.',
      ask.isDrillOverdue,
      zeroIsGood,
    ),
    counted(
      7,
      'Restore over objective',
      'Databases whose restore, as measured or as forecast, takes longer than its objective.',
      ask.isRestoreOverObjective,
      zeroIsGood,
    ),
    counted(
      8,
      'Stores down',
      'Stores that could not be read when they were last tried.',
      'min by (store) (pgproof_store_up) == 0',
      zeroIsGood,
    ),
  ],
}

const databases: Line = {
  height: 11,
  panels: [
    table({
      id: databasesPanelId,
      width: 24,
      title: 'Databases',
      description:
        'What is protected and what is proven of each. Ages and times are coloured by the objectives of the database itself; a database leads to its own dashboard.',
      unit: 'short',
      labels: ['server', 'database'],
      link: { label: 'database', title: 'Show this database', url: toDatabase },
      sortBy: { name: 'Of allowed age', isDescending: true },
      columns: [
        { name: 'State', words: states, expr: ask.state },
        { name: 'Recovery point', unit: 's', expr: ask.age(ask.point('any')) },
        { name: 'Of allowed age', unit: 'percentunit', steps: ofObjective, expr: ask.ofAllowedAge },
        { name: 'Proven recovery point', unit: 's', expr: ask.age(ask.point('verified')) },
        { name: 'Last backup', unit: 's', expr: ask.age(ask.newest('pgproof_backup_last_success_timestamp_seconds')) },
        { name: 'Last passed drill', unit: 's', expr: ask.age(ask.lastPassed) },
        { name: 'Newest drill', words: verdicts, expr: ask.verdict },
        { name: 'Restore time', unit: 's', expr: ask.restoreTime },
        { name: 'RTO', unit: 's', expr: ask.rto },
        { name: 'Of RTO', unit: 'percentunit', steps: ofObjective, expr: `${ask.restoreTime} / ${ask.rto}` },
        { name: 'Forecast of RTO', unit: 'percentunit', steps: ofObjective, expr: `${ask.forecast} / ${ask.rto}` },
        { name: 'Dump', unit: 'bytes', expr: ask.newest('pgproof_backup_dump_bytes') },
        { name: 'Stored', unit: 'bytes', expr: ask.newest('pgproof_backup_stored_bytes') },
        { name: 'Backups', unit: 'short', expr: ask.newest('pgproof_backups_retained', 'proof="any"') },
        { name: 'Proven backups', unit: 'short', expr: ask.newest('pgproof_backups_retained', 'proof="verified"') },
      ],
    }),
  ],
}

const objectives: Line = {
  height: 8,
  panels: [
    timeseries({
      id: 20,
      width: 12,
      title: 'Age of the recovery point, of what is allowed',
      description:
        'As a part of the objective of each database, or of one and a half intervals of its schedule; above 100 % it is too old.',
      unit: 'percentunit',
      steps: overOne(),
      queries: [{ expr: ask.ofAllowedAge, legend: '{{server}}/{{database}}' }],
    }),
    timeseries({
      id: 21,
      width: 12,
      title: 'Forecast of the restore time, of the objective',
      description: 'What a restore of the newest backup would take, as a part of the objective of each database.',
      unit: 'percentunit',
      steps: overOne(),
      queries: [{ expr: `${ask.forecast} / ${ask.rto}`, legend: '{{server}}/{{database}}' }],
    }),
  ],
}

const runs: Line = {
  height: 8,
  panels: [
    timeseries({
      id: 30,
      width: 8,
      title: 'Runs that ended',
      description: 'Backups, drills, prunes and syncs by their outcome.',
      unit: 'short',
      style: 'bars',
      interval: '5m',
      queries: [{ expr: ask.runsPerBar('outcome'), legend: '{{outcome}}' }],
      overrides: [
        { name: 'succeeded', properties: { color: { fixedColor: 'green', mode: 'fixed' } } },
        { name: 'failed', properties: { color: { fixedColor: 'red', mode: 'fixed' } } },
        { name: 'inconclusive', properties: { color: { fixedColor: 'yellow', mode: 'fixed' } } },
        { name: 'cancelled', properties: { color: { fixedColor: 'text', mode: 'fixed' } } },
      ],
    }),
    table({
      id: 31,
      width: 8,
      title: 'Runs that did not succeed',
      description:
        'How often in a row up to now, and how often within the time shown; the log and `pgproof status` say why.',
      unit: 'short',
      labels: ['server', 'database', 'exported_job'],
      link: { label: 'database', title: 'Show this database', url: toDatabase },
      sortBy: { name: 'In a row', isDescending: true },
      columns: [
        { name: 'In a row', steps: zeroIsGood, expr: `${inARow} and ${troubled}` },
        { name: 'In this time', expr: `${failures} and ${troubled}` },
      ],
    }),
    table({
      id: 32,
      width: 8,
      title: 'Running now',
      description: 'Runs that are going on at this moment, and for how long.',
      unit: 's',
      labels: ['server', 'database', 'exported_job'],
      columns: [{ name: 'For', unit: 's', expr: `time() - ${ask.perJob('pgproof_run_started_timestamp_seconds')}` }],
    }),
  ],
}

const schedules: Line = {
  height: 8,
  panels: [
    table({
      id: 33,
      width: 14,
      title: 'Schedules',
      description:
        'When each job is due next and the longest time between two due times; below 0 it waits for a place.',
      unit: 'short',
      labels: ['server', 'database', 'exported_job'],
      sortBy: { name: 'Due in', isDescending: false },
      columns: [
        { name: 'Due in', unit: 's', expr: `${ask.perJob('pgproof_schedule_next_timestamp_seconds')} - time()` },
        { name: 'Interval', unit: 's', expr: ask.perJob('pgproof_schedule_interval_seconds') },
        { name: 'Schedule', words: pausedOrNot, expr: ask.perJob('pgproof_schedule_paused') },
        {
          name: 'Paused for another',
          unit: 's',
          expr: `${ask.perJob('pgproof_schedule_paused_until_timestamp_seconds')} - time()`,
        },
      ],
    }),
    stat({
      id: 35,
      width: 4,
      title: 'Paused schedules',
      description: 'Jobs that somebody paused: nothing of them is started when it is due.',
      unit: 'short',
      queries: [{ expr: `sum(${ask.perJob('pgproof_schedule_paused')}) or vector(0)` }],
      steps: zeroIsGood,
    }),
    table({
      id: 34,
      width: 6,
      title: 'Roles',
      description: 'Age of the newest roles backup of each server.',
      unit: 'short',
      labels: ['server'],
      columns: [
        {
          name: 'Roles backup',
          unit: 's',
          expr: `time() - max by (server) (${select('pgproof_roles_last_success_timestamp_seconds', 'server=~"$server"')})`,
        },
      ],
    }),
  ],
}

/** Any number of servers and databases. */
export const fleet: readonly Section[] = [
  { id: 100, title: 'What is protected and what is proven', lines: [counts, databases, objectives] },
  { id: 101, title: 'Runs and schedules', lines: [runs, schedules] },
  { id: 104, title: 'Queue and workers', lines: queue },
  { id: 102, title: 'Stores', lines: [stores, tidiness] },
  { id: 103, title: 'Keys and processes', lines: [keysAndProcesses] },
]

function overOne(): readonly Step[] {
  return [
    [null, 'transparent'],
    [1, 'red'],
  ]
}

function counted(id: number, title: string, description: string, vector: string, steps: readonly Step[]): Placed {
  return stat({ id, width: 3, title, description, unit: 'short', queries: [{ expr: count(vector) }], steps })
}
