// Which fault befalls which stage, and how pgproof may end then. The tests run this table, and docs/faults.md shows it.

export const stages = ['backup', 'roles', 'prune', 'drill', 'restore', 'sync'] as const
export type Stage = (typeof stages)[number]

export const faults = {
  'pgproof killed': 'SIGKILL of pgproof, as by the kernel when memory runs out',
  'SIGTERM once': 'one SIGTERM, as of `systemctl stop`',
  'SIGTERM twice': 'a second SIGTERM right after the first',
  'program killed': 'SIGKILL of pg_dump, pg_dumpall or pg_restore',
  'scratch server killed': 'SIGKILL of the postmaster that a drill has started',
  'sessions terminated': 'pg_terminate_backend of every session of pgproof',
  'server restarted': 'immediate shutdown of PostgreSQL and a new start',
  'network reset once': 'the connection to the store is reset in the middle of one request',
  'network cut': 'the same, and from then on no connection is accepted',
  'network stalled': 'from one request on nothing comes through, and nobody hangs up',
  'store answers 500': 'from one request on the store answers 500 to each',
  'disk full': 'no space left: in the spool for drill and restore, else in the store',
  'memory limit': 'a control group with pgproof and all that it starts reaches its limit, and the kernel kills in it',
  'out of memory': 'pg_dump or pg_dumpall, or the server that is restored into, gets no more memory',
  'clock ahead': 'the clock jumps a day ahead',
  'clock back': 'the clock jumps a day back',
} as const
export type Fault = keyof typeof faults
export const faultNames = Object.keys(faults) as Fault[]

/** How the command that was hit may end: its exit codes, null where a signal ended it, and the codes of its error. */
export type Expected = { readonly exits: readonly (number | null)[]; readonly codes: readonly string[] }

/** Why there is no such cell. */
const absent: Partial<Record<Fault, Partial<Record<Stage, string>>>> = {
  'program killed': { prune: 'starts no program', sync: 'starts no program' },
  'scratch server killed': {
    backup: 'has none',
    roles: 'has none',
    prune: 'has none',
    restore: 'has none',
    sync: 'has none',
  },
  'out of memory': { prune: 'starts no program', sync: 'starts no program' },
  'sessions terminated': {
    prune: 'talks to no server',
    sync: 'talks to no server',
    drill: 'its server is its own: see "scratch server killed"',
  },
  'server restarted': {
    prune: 'talks to no server',
    sync: 'talks to no server',
    drill: 'its server is its own: see "scratch server killed"',
  },
}

const done: Expected = { exits: [0], codes: [] }
const cancelled: Expected = { exits: [130], codes: ['CANCELLED'] }
const ofStore = ['STORE_UNREACHABLE', 'STORE_FAILED', 'STORE_UNCERTAIN']
const storeGone: Record<Stage, Expected> = {
  backup: { exits: [11], codes: ofStore },
  roles: { exits: [11], codes: ofStore },
  prune: { exits: [3, 11], codes: ['PRUNE_INCOMPLETE', ...ofStore] },
  // Without a store there is no report, and the error says so; with one that came back it is inconclusive.
  drill: { exits: [11, 14], codes: ofStore },
  restore: { exits: [11], codes: ofStore },
  sync: { exits: [3], codes: ['SYNC_INCOMPLETE'] },
}
const serverGone: Partial<Record<Stage, Expected>> = {
  backup: { exits: [12], codes: ['SNAPSHOT_FAILED', 'DUMP_FAILED', 'SERVER_UNREACHABLE', 'QUERY_FAILED'] },
  roles: { exits: [12], codes: ['DUMP_FAILED', 'SERVER_UNREACHABLE', 'QUERY_FAILED'] },
  // What was restored so far survives a crash of the server, and a session that only waits is not missed.
  restore: { exits: [0], codes: [] },
}

/** Undefined where there is no such cell. */
export function expected(stage: Stage, fault: Fault): Expected | undefined {
  if (absent[fault]?.[stage] !== undefined) return undefined
  switch (fault) {
    case 'pgproof killed':
      return { exits: [null], codes: [] }
    case 'SIGTERM once':
      return cancelled
    case 'SIGTERM twice':
      return { exits: [130], codes: [] }
    case 'memory limit':
      // The kernel kills what is largest: pgproof, or the server of a drill, which offers itself.
      return stage === 'drill' ? { exits: [null, 14], codes: [] } : { exits: [null], codes: [] }
    case 'program killed':
    case 'out of memory':
      if (stage === 'drill') return { exits: [14], codes: ['SCRATCH_FAILED'] }
      return stage === 'restore' ? { exits: [12], codes: ['TARGET_FAILED'] } : { exits: [12], codes: ['DUMP_FAILED'] }
    case 'scratch server killed':
      return { exits: [14], codes: ['SCRATCH_FAILED'] }
    case 'sessions terminated':
    case 'server restarted':
      return serverGone[stage]
    case 'network cut':
    case 'network stalled':
    case 'store answers 500':
      return storeGone[stage]
    case 'disk full':
      // A scratch server without a byte left may not even take a connection, and then does not say why.
      if (stage === 'drill') return { exits: [14], codes: ['SPOOL_FULL', 'SCRATCH_FAILED'] }
      if (stage === 'restore') return { exits: [14], codes: ['SPOOL_FULL'] }
      if (stage === 'sync') return { exits: [3], codes: ['SYNC_INCOMPLETE'] }
      // A prune makes the room that its records need.
      return stage === 'prune' ? done : { exits: [11], codes: ['STORE_FULL'] }
    default:
      return done
  }
}

/** What runs in CI: each stage and each fault, where it has most to leave behind. */
const reduced: Record<Stage, readonly Fault[]> = {
  backup: ['pgproof killed', 'program killed', 'server restarted', 'network reset once', 'disk full'],
  roles: ['out of memory', 'sessions terminated', 'clock back'],
  prune: ['memory limit', 'network cut', 'disk full'],
  drill: ['pgproof killed', 'scratch server killed', 'out of memory', 'clock ahead'],
  restore: ['SIGTERM twice', 'program killed', 'store answers 500'],
  sync: ['SIGTERM once', 'network stalled'],
}

/** What runs: everything with PGPROOF_FAULT_MATRIX=all, else the reduced form. */
export function faultsOf(stage: Stage, wanted = process.env['PGPROOF_FAULT_MATRIX']): readonly Fault[] {
  const all = faultNames.filter((fault) => expected(stage, fault) !== undefined)
  if (wanted === 'all') return all
  if (wanted !== undefined && wanted !== '') return all.filter((fault) => wanted.split(',').includes(fault))
  return reduced[stage]
}

/** The table of docs/faults.md: how a command that was hit ends; bold is what also runs in CI. */
export function matrixTable(): string {
  const reasons: string[] = []
  const cell = (stage: Stage, fault: Fault): string => {
    const outcome = expected(stage, fault)
    if (outcome === undefined) {
      const reason = absent[fault]?.[stage] ?? ''
      if (!reasons.includes(reason)) reasons.push(reason)
      return `– (${reasons.indexOf(reason) + 1})`
    }
    const exits = outcome.exits.map((exit) => exit ?? 'killed').join(' or ')
    return reduced[stage].includes(fault) ? `✓ **${exits}**` : `✓ ${exits}`
  }
  const rows = faultNames.map((fault) => [fault, ...stages.map((stage) => cell(stage, fault))])
  const lines = [['', ...stages], stages.map(() => '---').concat('---'), ...rows].map((row) => `| ${row.join(' | ')} |`)
  const meanings = faultNames.map((fault) => `- **${fault}**: ${faults[fault]}.`)
  const notes = reasons.map((reason, index) => `${index + 1}. ${reason}`)
  return [...lines, '', ...notes, '', ...meanings].join('\n')
}
