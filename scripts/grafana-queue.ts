import { type Line, plain, type Step, stat, table, timeseries, zeroIsGood } from './grafana-panels.ts'
import { perBar, select } from './grafana-queries.ts'

const oneIsGood: readonly Step[] = [
  [null, 'red'],
  [1, 'green'],
]

/** What waits, who carries it out, and whether it can be reached; of a single process its own queue. */
export const queue: readonly Line[] = [
  {
    height: 4,
    panels: [
      workers(60, 'Workers that live', 'Workers that gave a sign of life within `fleet.heartbeat`.', 'true', oneIsGood),
      workers(
        61,
        'Workers gone',
        'Workers without a sign of life that have not signed off; they are forgotten after a week.',
        'false',
        zeroIsGood,
      ),
      stat({
        id: 62,
        width: 6,
        title: 'Dead entries',
        description: 'Entries that no worker survived, or none can read; `GET /v1/queue` and the page say why.',
        unit: 'short',
        queries: [{ expr: 'sum(max by (job) (pgproof_fleet_dead_entries)) or vector(0)' }],
        steps: zeroIsGood,
      }),
      stat({
        id: 63,
        width: 6,
        title: 'Control database',
        description: 'Whether every process reaches it; without a fleet there is none to reach.',
        unit: 'short',
        queries: [{ expr: 'min(pgproof_fleet_reachable)' }],
        steps: plain,
        words: [
          { value: 1, text: 'reached', color: 'green' },
          { value: 0, text: 'not reached', color: 'red' },
        ],
      }),
    ],
  },
  {
    height: 8,
    panels: [
      timeseries({
        id: 64,
        width: 8,
        title: 'Entries of the queue',
        description: 'What waits and what is carried out, by queue; failed are those of the last two days.',
        unit: 'short',
        queries: [{ expr: newest('pgproof_queue_entries', 'queue, state'), legend: '{{queue}} {{state}}' }],
      }),
      timeseries({
        id: 65,
        width: 8,
        title: 'Wait of the oldest entry',
        description: 'How long the oldest entry of each queue has waited; no curve where none waits.',
        unit: 's',
        queries: [{ expr: newest('pgproof_queue_oldest_seconds', 'queue'), legend: '{{queue}}' }],
      }),
      timeseries({
        id: 66,
        width: 8,
        title: 'Runs per worker',
        description: 'Runs that ended on each process, whatever came of them.',
        unit: 'short',
        style: 'bars',
        interval: '5m',
        queries: [
          { expr: perBar('instance', select('pgproof_runs_total', 'server=~"$server"')), legend: '{{instance}}' },
        ],
      }),
    ],
  },
  {
    height: 6,
    panels: [
      table({
        id: 67,
        width: 12,
        title: 'Clocks of the workers',
        description: 'How far the clock of each worker is ahead of that of the control database.',
        unit: 's',
        labels: ['worker'],
        columns: [
          {
            name: 'Ahead',
            unit: 's',
            expr: newest('pgproof_fleet_clock_offset_seconds', 'worker'),
          },
        ],
      }),
      timeseries({
        id: 68,
        width: 12,
        title: 'Workers',
        description: 'How many live, and how many are gone without signing off.',
        unit: 'short',
        queries: [
          { expr: aliveWorkers('true'), legend: 'live' },
          { expr: aliveWorkers('false'), legend: 'gone' },
        ],
      }),
    ],
  },
]

/** Every instance says the same, so nothing is added up. */
function newest(metric: string, by: string): string {
  return `max by (${by}) (${metric})`
}

/** Of several installations together. */
function aliveWorkers(alive: 'true' | 'false'): string {
  return `sum(max by (job) (pgproof_fleet_workers{alive="${alive}"}))`
}

function workers(id: number, title: string, description: string, alive: 'true' | 'false', steps: readonly Step[]) {
  return stat({ id, width: 6, title, description, unit: 'short', queries: [{ expr: aliveWorkers(alive) }], steps })
}
