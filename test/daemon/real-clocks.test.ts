import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type CliFolder, cliFolder, type Started, waitFor } from '../commands/cli.ts'
import { testDatabase, testUrl } from '../support/installation.ts'

/*
 * Real daemons over a due time. Their clocks are ahead of the machine's, so that the due time is near, and can be set
 * while they run: SIGUSR2 makes them read how.
 */

const preload = `
import { readFileSync } from 'node:fs'
const Real = Date
let offset = Number(process.env.CLOCK_AHEAD_MS)
globalThis.Date = class Date extends Real {
  constructor(...args) { if (args.length === 0) super(Real.now() + offset); else super(...args) }
  static now() { return Real.now() + offset }
}
process.on('SIGUSR2', () => {
  const { aheadMs, blockMs = 0 } = JSON.parse(readFileSync(process.env.CLOCK_FILE, 'utf8'))
  offset = aheadMs ?? offset
  const until = performance.now() + blockMs
  while (performance.now() < until);
})
`

type ClockedDaemon = AsyncDisposable & {
  readonly started: Started
  /** As this process sees it. */
  readonly dueAt: number
  /** How many milliseconds the daemon's clock is ahead, and for how long it is busy with that. */
  set(changes: { aheadMs?: number; blockMs?: number }): Promise<void>
  backups(): string[]
  stop(): Promise<number | null>
}

/** One whose only due time comes `dueInMs` from now, once a day. */
async function clockedDaemon(dueInMs: number, moreAheadMs = 0): Promise<ClockedDaemon> {
  // Each has its own: they would find it locked by one another.
  const database = await testDatabase('template0')
  const folder: CliFolder = await cliFolder([database.name])
  const dueAt = Date.now() + dueInMs
  const due = new Date(Math.ceil(dueAt / 60_000) * 60_000)
  const aheadMs = due.getTime() - dueAt
  const clockFile = await folder.write('clock.json', '{}')
  const preloaded = await folder.write('clock.mjs', preload)
  const schedule = { backup: `${due.getUTCMinutes()} ${due.getUTCHours()} * * *` }
  await folder.configure({
    servers: [{ name: 'main', url: testUrl(), databases: [database.name], schedule }],
    http: { listen: 'off' },
    log: { format: 'json' },
  })
  const started = folder.start(['serve'], {
    env: {
      NODE_OPTIONS: `--import=${preloaded}`,
      CLOCK_AHEAD_MS: String(aheadMs + moreAheadMs),
      CLOCK_FILE: clockFile,
    },
  })
  const ended = started.result.then(({ code, stderr }) => {
    if (code !== 0) throw new Error(`serve ended with ${code}: ${stderr}`)
    return code
  })
  ended.catch(() => {})
  await Promise.race([waitFor('ready', () => started.stderr().includes('"msg":"ready"')), ended])
  const set: ClockedDaemon['set'] = async (changes) => {
    const settings = changes.aheadMs === undefined ? changes : { ...changes, aheadMs: aheadMs + changes.aheadMs }
    await folder.write('clock.json', JSON.stringify(settings))
    started.child.kill('SIGUSR2')
  }
  return {
    started,
    dueAt,
    set,
    backups: () => folder.objects().filter((file) => file.endsWith(join('/', 'manifest.json'))),
    stop: async () => {
      started.child.kill('SIGTERM')
      return await ended
    },
    [Symbol.asyncDispose]: async () => {
      started.child.kill('SIGKILL')
      await started.result
      await folder[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

const passed = (instant: number): Promise<true> => waitFor('the time to pass', () => Date.now() > instant)
const wakesMs = 5_000

describe.concurrent('a real daemon over its due time', () => {
  it('stopped by SIGSTOP and continued after it, as a machine that sleeps - one backup, right after', async () => {
    await using daemon = await clockedDaemon(25_000)
    daemon.started.child.kill('SIGSTOP')
    await passed(daemon.dueAt + 2_000)
    expect(daemon.backups()).toEqual([])
    daemon.started.child.kill('SIGCONT')
    await waitFor('the backup', () => daemon.backups().length === 1)
    await passed(Date.now() + 2 * wakesMs)
    expect(daemon.backups()).toHaveLength(1)
    expect(await daemon.stop()).toBe(0)
  })

  it('its event loop is blocked over it - one backup, right after', async () => {
    await using daemon = await clockedDaemon(25_000)
    const blockMs = daemon.dueAt - Date.now() + 3_000
    await daemon.set({ blockMs })
    await passed(daemon.dueAt + 1_000)
    expect(daemon.backups()).toEqual([])
    await waitFor('the backup', () => daemon.backups().length === 1)
    await passed(Date.now() + 2 * wakesMs)
    expect(daemon.backups()).toHaveLength(1)
    expect(await daemon.stop()).toBe(0)
  })

  it('its clock was a week ahead and is put right - it goes on looking, and the due time is not lost', async () => {
    await using daemon = await clockedDaemon(35_000, 7 * 86_400_000)
    // By the wrong clock a due time had passed since the store was made.
    await waitFor('the first backup', () => daemon.backups().length === 1)
    await daemon.set({ aheadMs: 0 })
    expect(daemon.backups()).toHaveLength(1)
    await passed(daemon.dueAt)
    await waitFor('the second backup', () => daemon.backups().length === 2)
    expect(await daemon.stop()).toBe(0)
  })

  it('its clock leaps ten years - one backup at once, no long counting of what was missed', async () => {
    await using daemon = await clockedDaemon(600_000)
    await daemon.set({ aheadMs: 3_650 * 86_400_000 })
    await waitFor('the backup', () => daemon.backups().length === 1)
    await passed(Date.now() + 2 * wakesMs)
    expect(daemon.backups()).toHaveLength(1)
    expect(await daemon.stop()).toBe(0)
  })
})
