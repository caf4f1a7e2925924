import { createHash } from 'node:crypto'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliFolder, cliFolder, type Json, type Started, waitFor } from '../commands/cli.ts'
import { testDatabase } from '../support/installation.ts'
import { freePort, query } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'
import { withChangedTime } from './with-changed-time.ts'

let database: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  database = await testDatabase('template0')
  await query(database.url, 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id')
})
afterAll(() => database[Symbol.asyncDispose]())

const token = 'of-the-test'

describe('a daemon whose runs are hit', () => {
  it('backups and a drill, then the daemon itself - /metrics and /v1/status tell no more than is true, and all of it', async () => {
    await using folder = await hitFolder()
    const first = await startDaemon(folder)

    // 1. A backup that is there.
    expect(await first.run('/v1/backups')).toMatchObject({ state: 'succeeded' })
    const made = await first.metrics()
    const madeAt = made('pgproof_backup_last_success_timestamp_seconds')
    expect(madeAt).toBeGreaterThan(0)
    expect(made('pgproof_backups_retained', 'proof="any"')).toBe(1)

    // 2. pg_dump is killed: one failure more, and no backup more.
    await folder.write('kill-pg_dump', '')
    expect(await first.run('/v1/backups')).toMatchObject({ state: 'failed', error: { code: 'DUMP_FAILED' } })
    const failed = await first.metrics()
    expect(failed('pgproof_backup_last_success_timestamp_seconds')).toBe(madeAt)
    expect(failed('pgproof_backups_retained', 'proof="any"')).toBe(1)
    expect(failed('pgproof_run_consecutive_failures', 'job="backup"')).toBe(1)
    expect(failed('pgproof_runs_total', 'job="backup"', 'outcome="failed"')).toBe(1)
    expect(failed('pgproof_runs_total', 'job="backup"', 'outcome="succeeded"')).toBe(1)
    expect(await first.failures()).toEqual([{ job: 'backup', code: 'DUMP_FAILED', isOver: false }])

    // 3. pg_restore is killed: the drill has proven nothing, and says nothing against the backup.
    await folder.write('kill-pg_restore', '')
    expect(await first.run('/v1/drills')).toMatchObject({ state: 'inconclusive', error: { code: 'SCRATCH_FAILED' } })
    const unproven = await first.metrics()
    expect(unproven('pgproof_drill_verdict', 'verdict="inconclusive"')).toBe(1)
    expect(unproven('pgproof_drill_verdict', 'verdict="failed"')).toBe(0)
    expect(unproven('pgproof_drill_last_passed_timestamp_seconds')).toBeUndefined()
    expect(unproven('pgproof_backups_retained', 'proof="verified"')).toBe(0)

    // 4. The same drill unhindered: proven.
    expect(await first.run('/v1/drills')).toMatchObject({ state: 'succeeded' })
    const proven = await first.metrics()
    expect(proven('pgproof_drill_verdict', 'verdict="passed"')).toBe(1)
    expect(proven('pgproof_drill_verdict', 'verdict="inconclusive"')).toBe(0)
    expect(proven('pgproof_backups_retained', 'proof="verified"')).toBe(1)

    // 5. The daemon is killed in the middle of a backup; the next one knows what the store holds, and no more.
    await folder.write('hang-pg_dump', '')
    await first.order('/v1/backups')
    await waitFor('pg_dump', () => existsSync(join(folder.path, 'begun')))
    expect((await first.metrics())('pgproof_run_in_progress', 'job="backup"')).toBe(1)
    first.started.child.kill('SIGKILL')
    await first.started.result
    rmSync(join(folder.path, 'hang-pg_dump'))
    const second = await startDaemon(folder)
    const again = await second.metrics()
    for (const [name, ...labels] of lasting)
      expect([name, again(name, ...labels)]).toEqual([name, proven(name, ...labels)])
    expect(again('pgproof_run_in_progress', 'job="backup"')).toBe(0)
    expect(again('pgproof_store_up')).toBe(1)
    expect(await second.failures()).toEqual([])
    const listed = (await folder.json(['list'])).document
    expect((await second.status())['databases']).toMatchObject([
      {
        newestBackup: { label: [...(listed['backups'] ?? [])][0]?.['label'] },
        retained: { any: 1, verified: 1 },
        lastDrill: { verdict: 'passed' },
      },
    ])

    // 6. A failure, and then a backup: the failure is over.
    await folder.write('kill-pg_dump', '')
    expect(await second.run('/v1/backups')).toMatchObject({ state: 'failed' })
    expect(await second.run('/v1/backups')).toMatchObject({ state: 'succeeded' })
    const mended = await second.metrics()
    expect(mended('pgproof_backup_last_success_timestamp_seconds')).toBeGreaterThan(madeAt ?? 0)
    expect(mended('pgproof_backups_retained', 'proof="any"')).toBe(2)
    expect(mended('pgproof_run_consecutive_failures', 'job="backup"')).toBe(0)
    expect(await second.failures()).toEqual([{ job: 'backup', code: 'DUMP_FAILED', isOver: true }])
    second.started.child.kill('SIGTERM')
    expect((await second.started.result).code).toBe(0)
    // What the killed one was writing may be somebody's for a day.
    const swept = await folder.run(['prune', '--force'], { env: withChangedTime({ FAULT_CLOCK: '49' }) })
    expect({ code: swept.code, stderr: swept.code === 0 ? '' : swept.stderr }).toEqual({ code: 0, stderr: '' })
    expect(folder.leftovers()).toEqual([])
  })
})

/** What the store says, and a new process must therefore say as well. */
const lasting: readonly (readonly [string, ...string[]])[] = [
  ['pgproof_backup_last_success_timestamp_seconds'],
  ['pgproof_drill_last_passed_timestamp_seconds'],
  ['pgproof_recovery_point_timestamp_seconds', 'proof="any"'],
  ['pgproof_recovery_point_timestamp_seconds', 'proof="verified"'],
  ['pgproof_backups_retained', 'proof="any"'],
  ['pgproof_backups_retained', 'proof="verified"'],
  ['pgproof_drill_verdict', 'verdict="passed"'],
  ['pgproof_drill_verdict', 'verdict="inconclusive"'],
]

type HitFolder = CliFolder & { readonly base: string }

/** A program is killed, or hangs, for as long as there is a file that says so; a kill is for once. */
async function hitFolder(): Promise<HitFolder> {
  const folder = await cliFolder([database.name])
  const port = await freePort()
  const hit = (
    program: string,
  ): string => `if [ -e ${folder.path}/kill-${program} ]; then rm ${folder.path}/kill-${program}; kill -9 $$; fi
[ -e ${folder.path}/hang-${program} ] && { touch ${folder.path}/begun; exec sleep 633; }
exec "$REAL" "$@"`
  const dumps = standIn(folder.path, 'pg_dump', hit('pg_dump'))
  const restores = standIn(
    folder.path,
    'pg_restore',
    `case "$*" in *--list*|*--file=*) exec "$REAL" "$@";; esac\n${hit('pg_restore')}`,
  )
  renameSync(join(restores, 'pg_restore'), join(dumps, 'pg_restore'))
  await folder.configure({
    postgres: { binDirs: [dumps] },
    // With several, one whose pg_restore was killed is made again by one.
    drill: { spool: join(folder.path, 'spool'), jobs: 1 },
    http: {
      listen: `127.0.0.1:${port}`,
      rateLimit: 1_000_000,
      tokens: [{ name: 'test', scope: 'backup', hash: createHash('sha256').update(token).digest('hex') }],
    },
    log: { format: 'json' },
  })
  return { ...folder, base: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

type HitDaemon = {
  readonly started: Started
  order(path: string): Promise<string>
  /** To its end. */
  run(path: string): Promise<Json>
  /** The sample of that name that has all these labels. */
  metrics(): Promise<(name: string, ...labels: readonly string[]) => number | undefined>
  status(): Promise<Json>
  failures(): Promise<unknown[]>
}

async function startDaemon(folder: HitFolder): Promise<HitDaemon> {
  const started = folder.start(['serve'])
  await waitFor('ready', () => started.stderr().includes('"msg":"ready"'))
  const ask = async (path: string, body?: object): Promise<Json> => {
    const answer = await fetch(`${folder.base}${path}`, {
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    })
    return (await answer.json()) as Json
  }
  const order = async (path: string): Promise<string> =>
    String((await ask(path, { server: 'main', database: database.name }))['id'])
  const status = (): Promise<Json> => ask('/v1/status')
  return {
    started,
    order,
    status,
    async run(path) {
      const id = await order(path)
      for (const deadline = Date.now() + 120_000; Date.now() < deadline; ) {
        const run = await ask(`/v1/runs/${id}`)
        if (!['queued', 'running'].includes(String(run['state']))) return run
      }
      throw new Error(`run ${id} does not end`)
    },
    async metrics() {
      const text = await (await fetch(`${folder.base}/metrics`)).text()
      const lines = text.split('\n')
      return (name, ...labels) => {
        const line = lines.find(
          (one) =>
            (one.startsWith(`${name}{`) || one.startsWith(`${name} `)) && labels.every((label) => one.includes(label)),
        )
        return line === undefined ? undefined : Number(line.split(' ').at(-1))
      }
    },
    failures: async () =>
      ([...((await status())['failures'] ?? [])] as Json[]).map((failure) => ({
        job: failure['job'],
        code: failure['error']?.['code'],
        isOver: failure['isOver'],
      })),
  }
}
