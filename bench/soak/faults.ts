import { readFileSync } from 'node:fs'
import { descendantsOf } from '../../test/support/processes.ts'
import type { SoakDaemon } from './daemon.ts'
import type { SoakPlace } from './place.ts'
import { pause } from './sample.ts'
import type { StoreMode } from './shaky-store.ts'

/** Whether it came about: a program cannot be killed while there is none. */
export type SoakFault = (place: SoakPlace, daemon: SoakDaemon, turn: Turn) => Promise<boolean>

export type Turn = {
  /** How often all faults have had their turn. */
  readonly round: number
  /** How long the store is away: what a retry rides out, and what it does not. */
  readonly outageSeconds: readonly number[]
}

/** What happens now and then, in turn. */
export const soakFaults: Readonly<Record<string, SoakFault>> = {
  'pg_dump killed': (_, daemon) => killed(daemon, /\/pg_dump$/),
  'configuration reloaded': async (place, daemon, { round }) => {
    place.configure(4 + (round % 2))
    daemon.signal('SIGHUP')
    return true
  },
  'store cut': (place, _, turn) => storeFor(place, 'cut', turn),
  'sessions terminated': async (place) => {
    await place.source.endSessions()
    return true
  },
  'pg_restore killed': (_, daemon) => killed(daemon, /\/pg_restore$/),
  'store answers 500': (place, _, turn) => storeFor(place, 'failing', turn),
  'server restarted': async (place) => {
    await place.source.restart()
    return true
  },
  'scratch server killed': (_, daemon) => killed(daemon, /\/postgres$/, '-D'),
  'store stalled': (place, _, turn) => storeFor(place, 'stalled', turn),
  'prune by another process': async (place) => (await place.run(['prune', '--force'])).code === 0,
}

const storeModes = ['cut', 'failing', 'stalled'] as const satisfies readonly StoreMode[]

/** A round has an outage of each length, each kind another one in each round: the load is the same from the first round to the last. */
async function storeFor({ store }: SoakPlace, mode: (typeof storeModes)[number], turn: Turn): Promise<boolean> {
  const { round, outageSeconds } = turn
  const seconds = outageSeconds[(storeModes.indexOf(mode) + round) % outageSeconds.length] as number
  store.setMode(mode)
  await pause(seconds * 1000)
  store.setMode('well')
  return true
}

async function killed(daemon: SoakDaemon, program: RegExp, argument?: string): Promise<boolean> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await pause(20)) {
    const pid = descendantsOf(daemon.pid).find((one) => {
      const words = commandOf(one)
      return program.test(words[0] ?? '') && (argument === undefined || words[1] === argument)
    })
    if (pid === undefined) continue
    try {
      process.kill(pid, 'SIGKILL')
      return true
    } catch {
      // It ended by itself meanwhile.
    }
  }
  return false
}

function commandOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}
