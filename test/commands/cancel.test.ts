import { existsSync, statSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { descendantsOf, isRunning } from '../support/processes.ts'
import { standIn } from '../support/stand-ins.ts'
import { cliFolder, type Started, waitFor } from './cli.ts'

let database: Awaited<ReturnType<typeof testDatabase>>

beforeAll(async () => {
  database = await testDatabase('template1')
  // 60 MB that cannot be compressed away: a backup of it takes longer than a signal.
  await query(
    database.url,
    `CREATE TABLE big AS SELECT g AS id, (SELECT string_agg(md5(g::text || part), '') FROM generate_series(1, 32) part) AS body
       FROM generate_series(1, 60000) g`,
  )
})
afterAll(() => database[Symbol.asyncDispose]())

/** Waits until the dump is on its way into the store; returns the processes that are at work. */
async function untilDumping(started: Started, unfinished: () => string[]): Promise<number[]> {
  const isWritten = (file: string): boolean => statSync(file, { throwIfNoEntry: false })?.size !== 0
  await waitFor('the dump on its way', () => unfinished().some((file) => file.includes('/backups/') && isWritten(file)))
  const processes = descendantsOf(started.child.pid ?? 0)
  expect(processes.length).toBeGreaterThan(0)
  return processes
}

async function connections(): Promise<number> {
  const [row] = await query(testUrl(), 'SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = $1', [
    database.name,
  ])
  return Number(row?.['n'])
}

describe('a signal', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '%s in the middle of a backup - exit 130, no manifest, nothing left, no process',
    async (name) => {
      await using folder = await cliFolder([database.name])
      const started = folder.start(['backup'])
      const processes = await untilDumping(started, () => folder.leftovers())
      started.child.kill(name)
      const { code, stdout, stderr } = await started.result
      expect(code).toBe(130)
      expect(stdout).toBe(`main/${database.name}  cancelled\n`)
      expect(stderr).toBe(
        'error: the command was cancelled\nhint: Nothing is left half done; start it again when you like.\n',
      )
      expect(folder.objects().map((file) => file.slice(folder.path.length))).toEqual(['/store/pgproof.json'])
      expect(folder.leftovers()).toEqual([])
      expect(processes.filter(isRunning)).toEqual([])
      // The server notices a moment later that its client is gone.
      await expect.poll(connections, { timeout: 15_000 }).toBe(0)
    },
  )

  it('SIGINT in the middle of the first of two backups, as JSON - one document, the second never started', async () => {
    await using folder = await cliFolder([database.name, 'postgres'])
    const started = folder.start(['backup', '--json'])
    await untilDumping(started, () => folder.leftovers())
    started.child.kill('SIGINT')
    const { code, stdout } = await started.result
    expect(code).toBe(130)
    expect(JSON.parse(stdout)).toMatchObject({
      runs: [{ database: database.name, outcome: 'cancelled', label: null }],
      error: { code: 'CANCELLED' },
    })
  })

  it('a second SIGINT - exit 130 at once, and the next command cleans up or counts nothing', async () => {
    await using folder = await cliFolder([database.name])
    const started = folder.start(['backup'])
    await untilDumping(started, () => folder.leftovers())
    started.child.kill('SIGINT')
    started.child.kill('SIGTERM')
    expect((await started.result).code).toBe(130)
    const { code, document } = await folder.json(['list'])
    expect({ code, backups: document['backups'] }).toEqual({ code: 0, backups: [] })
  })

  it('SIGINT in the middle of a drill - exit 130, an inconclusive report, no server and no spool left', async () => {
    await using folder = await cliFolder([database.name])
    expect((await folder.run(['backup'])).code).toBe(0)
    const started = folder.start(['drill'])
    await waitFor('the spool in use', () => folder.leftovers().some((file) => file.endsWith('/dump')))
    const processes = await waitFor('a scratch server', () => {
      const found = descendantsOf(started.child.pid ?? 0)
      return found.length > 0 && found
    })
    started.child.kill('SIGINT')
    const { code, stdout } = await started.result
    expect(code).toBe(130)
    expect(stdout).toMatch(/^INCONCLUSIVE {2}drill /)
    expect(processes.filter(isRunning)).toEqual([])
    expect(folder.leftovers()).toEqual([])
  })
})

describe('a signal in the middle of a verification', () => {
  it.each([[[]], [['--json']]])('SIGINT, %j - exit 130 with what was found until then, nothing left', async (more) => {
    await using folder = await cliFolder([database.name])
    const { document } = await folder.json(['backup'])
    const [run] = [...(document['runs'] ?? [])]
    const label = String(run?.['label'])
    const bin = standIn(folder.path, 'pg_restore', `touch '${folder.path}/asked'; exec sleep 600`)
    const started = folder.start(['verify', label, ...more], { env: { PGPROOF_POSTGRES__BIN_DIRS: bin } })
    await waitFor('pg_restore', () => existsSync(`${folder.path}/asked`))
    const processes = descendantsOf(started.child.pid ?? 0)
    started.child.kill('SIGINT')
    const { code, stdout, stderr } = await started.result
    expect(code).toBe(130)
    if (more.length > 0)
      expect(JSON.parse(stdout)).toMatchObject({ verdict: 'inconclusive', error: { code: 'CANCELLED' } })
    else {
      expect(stdout).toMatch(/^INCONCLUSIVE {2}backup .+\n(?:.*\n)* {2}passed +decryption/)
      expect(stderr).toMatch(/^error: the command was cancelled\n/)
    }
    expect(processes.filter(isRunning)).toEqual([])
    expect(folder.leftovers()).toEqual([])
    expect(folder.objects().filter((file) => file.includes('/holds/'))).toEqual([])
  })
})

describe('a fault that nobody waits for', () => {
  it('in the middle of a backup - exit 1 with its stack, and everything is cleaned up', async () => {
    await using folder = await cliFolder([database.name])
    const isDumping = `readdirSync('${folder.path}/store',{recursive:true}).some((name)=>name.endsWith('.part')&&name.startsWith('backups'))`
    const script = `import{readdirSync}from'node:fs';const timer=setInterval(()=>{if(${isDumping}){clearInterval(timer);Promise.reject(new Error('boom'))}},5)`
    const started = folder.start(['backup'], {
      env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` },
    })
    const { code, stderr } = await started.result
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: unexpected fault: boom\nhint: .+\n {2}Error: boom\n +at /m)
    expect(folder.leftovers()).toEqual([])
    expect(folder.objects()).toHaveLength(1)
  })
})
