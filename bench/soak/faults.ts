import { readFileSync } from 'node:fs'
import { descendantsOf } from '../../test/support/processes.ts'
import type { SoakDaemon } from './daemon.ts'
import type { SoakPlace } from './place.ts'
import { pause } from './sample.ts'
import type { StoreMode } from './shaky-store.ts'

/** Whether it came about: a program cannot be killed while there is none. */
export type SoakFault = (place: SoakPlace, daemon: SoakDaemon, round: number) => Promise<boolean>

/** What happens now and then, in turn. */
export const soakFaults: Readonly<Record<string, SoakFault>> = {
  'pg_dump killed': (_, daemon) => killed(daemon, /\/pg_dump$/),
  'configuration reloaded': async (place, daemon, round) => {
    place.configure(4 + (round % 2))
    daemon.signal('SIGHUP')
    return true
  },
  'store cut': (place, _, round) => storeFor(place, 'cut', round),
  'sessions terminated': async (place) => {
    await place.source.endSessions()
    return true
  },
  'pg_restore killed': (_, daemon) => killed(daemon, /\/pg_restore$/),
  'store answers 500': (place, _, round) => storeFor(place, 'failing', round),
  'server restarted': async (place) => {
    await place.source.restart()
    return true
  },
  'scratch server killed': (_, daemon) => killed(daemon, /\/postgres$/, '-D'),
  'store stalled': (place, _, round) => storeFor(place, 'stalled', round),
  'prune by another process': async (place) => (await place.run(['prune', '--force'])).code === 0,
}

/** Longer each time, up to a minute: what a retry rides out, and what it does not. */
async function storeFor({ store }: SoakPlace, mode: StoreMode, round: number): Promise<boolean> {
  store.setMode(mode)
  await pause(Math.min(60_000, 3_000 * (round + 1)))
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
