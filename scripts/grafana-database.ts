import {
  type Line,
  type Override,
  ofObjective,
  pausedOrNot,
  plain,
  type Section,
  stat,
  stateTimeline,
  table,
  timeseries,
  verdicts,
  zeroIsGood,
} from './grafana-panels.ts'
import { questions, select } from './grafana-queries.ts'

export const where = 'server="$server",database="$database"'

const ask = questions(where)

/** The part of the objective has the colour, the time itself has none. */
const uncoloured: Override = { name: 'now', properties: { color: { fixedColor: 'text', mode: 'fixed' }, unit: 's' } }
const objective: Override = {
  name: 'objective',
  properties: {
    color: { fixedColor: 'red', mode: 'fixed' },
    'custom.lineStyle': { dash: [10, 10], fill: 'dash' },
    'custom.lineWidth': 2,
  },
}

const standing: Line = {
  height: 5,
  panels: [
    stat({
      id: 1,
      width: 4,
      title: 'Recovery point',
      description:
        'Age of the newest backup whose objects are all in the store, and its part of the objective, or of one and a half intervals of the schedule.',
      unit: 'percentunit',
      steps: ofObjective,
      queries: [
        { expr: ask.age(ask.point('any')), legend: 'now' },
        { expr: ask.ofAllowedAge, legend: 'of what is allowed' },
      ],
      overrides: [uncoloured],
    }),
    stat({
      id: 2,
      width: 4,
      title: 'Proven recovery point',
      description: 'Age of the newest backup that passed a drill.',
      unit: 's',
      steps: plain,
      queries: [{ expr: ask.age(ask.point('verified')) }],
    }),
    stat({
      id: 3,
      width: 4,
      title: 'Newest drill',
      description: 'The verdict of the newest drill.',
      unit: 'short',
      steps: plain,
      words: verdicts,
      queries: [{ expr: ask.verdict }],
    }),
    stat({
      id: 4,
      width: 4,
      title: 'Restore time',
      description:
        'Measured in the newest drill that passed, from the fetch to the first query, and its part of the objective.',
      unit: 'percentunit',
      steps: ofObjective,
      queries: [
        { expr: ask.restoreTime, legend: 'now' },
        { expr: `${ask.restoreTime} / ${ask.rto}`, legend: 'of the objective' },
      ],
      overrides: [uncoloured],
    }),
    stat({
      id: 5,
      width: 4,
      title: 'Forecast',
      description: 'What a restore of the newest backup would take, by its size and the drills that passed.',
      unit: 'percentunit',
      steps: ofObjective,
      queries: [
        { expr: ask.forecast, legend: 'now' },
        { expr: `${ask.forecast} / ${ask.rto}`, legend: 'of the objective' },
      ],
      overrides: [uncoloured],
    }),
    stat({
      id: 6,
      width: 4,
      title: 'Last passed drill',
      description: 'How long ago the newest drill that passed was finished.',
      unit: 's',
      steps: plain,
      queries: [{ expr: ask.age(ask.lastPassed) }],
    }),
  ],
}

const overTime: Line = {
  height: 9,
  panels: [
    timeseries({
      id: 10,
      width: 12,
      title: 'Age of the recovery point',
      description: 'Of any backup and of the newest that passed a drill, with the objective for the former.',
      unit: 's',
      queries: [
        { expr: ask.age(ask.point('any')), legend: 'any backup' },
        { expr: ask.age(ask.point('verified')), legend: 'proven backup' },
        { expr: ask.rpo, legend: 'objective' },
      ],
      overrides: [objective],
    }),
    timeseries({
      id: 11,
      width: 12,
      title: 'Restore time',
      description:
        'As measured in the newest drill that passed and as forecast for the newest backup, with the objective.',
      unit: 's',
      queries: [
        { expr: ask.restoreTime, legend: 'measured' },
        { expr: ask.forecast, legend: 'forecast' },
        { expr: ask.rto, legend: 'objective' },
      ],
      overrides: [objective],
    }),
  ],
}

const drills: readonly Line[] = [
  {
    height: 4,
    panels: [
      stateTimeline({
        id: 20,
        width: 24,
        title: 'Verdict of the newest drill',
        description: 'Which verdict the newest drill had at each moment.',
        unit: 'short',
        words: verdicts,
        queries: [{ expr: ask.verdict, legend: 'verdict' }],
      }),
    ],
  },
  {
    height: 8,
    panels: [
      timeseries({
        id: 21,
        width: 12,
        title: 'Phases of the newest drill that passed',
        description:
          'Time in each phase; fetch and scratch run side by side, so the sum is more than the restore time.',
        unit: 's',
        style: 'stacked',
        queries: [
          {
            expr: `max by (phase) (${select('pgproof_drill_phase_seconds', where)})`,
            legend: '{{phase}}',
          },
        ],
      }),
      timeseries({
        id: 22,
        width: 12,
        title: 'How long backups wait for their proof',
        description:
          'Age of the oldest backup that has not passed a drill, and for how long the backup waits that was proven least recently.',
        unit: 's',
        queries: [
          {
            expr: ask.age(ask.unproven),
            legend: 'oldest without proof',
          },
          {
            expr: ask.age(ask.newest('pgproof_least_recently_verified_backup_timestamp_seconds')),
            legend: 'longest wait',
          },
        ],
      }),
    ],
  },
]

const backups: readonly Line[] = [
  {
    height: 8,
    panels: [
      timeseries({
        id: 30,
        width: 8,
        title: 'Size of the newest backup',
        description:
          'The dump before compression and encryption, and what all objects of the backup take in the store.',
        unit: 'bytes',
        queries: [
          { expr: ask.newest('pgproof_backup_dump_bytes'), legend: 'dump' },
          { expr: ask.newest('pgproof_backup_stored_bytes'), legend: 'stored' },
        ],
      }),
      timeseries({
        id: 31,
        width: 8,
        title: 'Duration of the newest backup',
        description: 'From its start to its manifest.',
        unit: 's',
        queries: [{ expr: ask.newest('pgproof_backup_duration_seconds'), legend: 'backup' }],
      }),
      timeseries({
        id: 32,
        width: 8,
        title: 'Retained backups',
        description: 'Backups whose objects are all in the store, and those of them that passed a drill.',
        unit: 'short',
        queries: [
          { expr: ask.newest('pgproof_backups_retained', 'proof="any"'), legend: 'any' },
          { expr: ask.newest('pgproof_backups_retained', 'proof="verified"'), legend: 'proven' },
        ],
      }),
    ],
  },
  {
    height: 7,
    panels: [
      table({
        id: 33,
        width: 10,
        title: 'Stores',
        description: 'What each store holds of this database.',
        unit: 'short',
        labels: ['store'],
        columns: [
          {
            name: 'Recovery point',
            unit: 's',
            expr: `time() - max by (store) (${select('pgproof_store_recovery_point_timestamp_seconds', where)})`,
          },
          { name: 'Size', unit: 'bytes', expr: `max by (store) (${select('pgproof_store_bytes', where)})` },
          {
            name: 'Lacking backups',
            steps: zeroIsGood,
            expr: `max by (store) (${select('pgproof_store_lacking_backups', where)})`,
          },
          { name: 'Orphans', expr: `max by (store) (${select('pgproof_orphan_objects', where)})` },
        ],
      }),
      stat({
        id: 34,
        width: 5,
        title: 'Faults',
        description:
          'Backups that lack objects, whose last drill failed, and that somebody other than pgproof removed, replaced or put back.',
        unit: 'short',
        queries: [
          { expr: ask.newest('pgproof_backups_incomplete'), legend: 'incomplete' },
          { expr: ask.newest('pgproof_backups_failed_drill'), legend: 'known to be bad' },
          { expr: ask.newest('pgproof_history_gaps'), legend: 'gaps in the history' },
        ],
        steps: zeroIsGood,
      }),
      stat({
        id: 35,
        width: 4,
        title: 'All proven within',
        description:
          'In how many drills by rule random every backup now in the store is drilled; nothing for other rules.',
        unit: 'suffix: drills',
        queries: [{ expr: ask.newest('pgproof_verified_within_drills') }],
        steps: plain,
      }),
      table({
        id: 36,
        width: 5,
        title: 'Left out of the newest backup',
        description: 'Objects that the newest backup does not hold, by kind; empty where it lacks nothing.',
        unit: 'short',
        labels: ['kind'],
        columns: [{ name: 'Objects', expr: `max by (kind) (${select('pgproof_backup_omitted_objects', where)})` }],
      }),
    ],
  },
]

const runs: readonly Line[] = [
  {
    height: 8,
    panels: [
      timeseries({
        id: 40,
        width: 12,
        title: 'Runs that ended',
        description: 'By job and outcome.',
        unit: 'short',
        style: 'bars',
        interval: '5m',
        queries: [{ expr: ask.runsPerBar('exported_job, outcome'), legend: '{{exported_job}} {{outcome}}' }],
      }),
      timeseries({
        id: 41,
        width: 12,
        title: 'Duration of runs',
        description: 'Mean of the runs since the process started, by job.',
        unit: 's',
        queries: [{ expr: ask.meanRunSeconds, legend: '{{exported_job}}' }],
      }),
    ],
  },
  {
    height: 6,
    panels: [
      stateTimeline({
        id: 42,
        width: 14,
        title: 'Runs in progress',
        description: 'When a run of each job was going on.',
        unit: 'short',
        words: [
          { value: 0, text: 'idle', color: 'transparent' },
          { value: 1, text: 'running', color: 'blue' },
        ],
        queries: [{ expr: ask.perJob('pgproof_run_in_progress'), legend: '{{exported_job}}' }],
      }),
      table({
        id: 43,
        width: 10,
        title: 'Next runs',
        description:
          'When each job is due next and the longest time between two due times; below 0 it waits for a place.',
        unit: 'short',
        labels: ['exported_job'],
        sortBy: { name: 'Due in', isDescending: false },
        columns: [
          {
            name: 'Due in',
            unit: 's',
            expr: `max by (exported_job) (${ask.perJob('pgproof_schedule_next_timestamp_seconds')}) - time()`,
          },
          {
            name: 'Interval',
            unit: 's',
            expr: `max by (exported_job) (${ask.perJob('pgproof_schedule_interval_seconds')})`,
          },
          {
            name: 'Schedule',
            words: pausedOrNot,
            expr: `max by (exported_job) (${ask.perJob('pgproof_schedule_paused')})`,
          },
        ],
      }),
    ],
  },
]

/** One database of one server. */
export const database: readonly Section[] = [
  { id: 100, title: 'What is protected and what is proven', lines: [standing, overTime] },
  { id: 101, title: 'Drills', lines: drills },
  { id: 102, title: 'Backups', lines: backups },
  { id: 103, title: 'Runs', lines: runs },
]
