import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { BossControl } from '../../src/fleet/boss-control.ts'
import { controlConnection } from '../../src/fleet/control-connection.ts'
import { Turn } from '../../src/fleet/turn.ts'
import { createLog, silentLog } from '../../src/log.ts'
import { manifestAt } from '../catalog/stored.ts'
import { freePort } from '../support/postgres-server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { backup, type Control, dueBackup, type InProcess, inProcess, testControl } from './in-process.ts'

const patience = { timeout: 30_000 }
const serving = { PGPROOF_FLEET__MAY: 'serve' }

const stateOf = ({ installation }: InProcess, id: string): unknown => {
  const { state, error } = installation.catalog.findRun(id) ?? {}
  return [state, error?.code ?? null]
}

/** Looks until what the worker says is so. */
async function beatsUntil(worker: InProcess, look: () => unknown, expected: unknown): Promise<void> {
  const asked = async (): Promise<unknown> => {
    await worker.queue.beat()
    return await look()
  }
  await expect.poll(asked, patience).toEqual(expected)
}

describe('what a person orders and cancels', () => {
  it('cancelled before it was told to the queue - over at once, and it never gets there', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', serving)
    const { id } = one.queue.order(backup('a'))
    // Nobody knows yet who lives.
    expect(one.queue.position(id)).toBe(0)
    one.queue.cancel(id)
    expect(stateOf(one, id)).toEqual(['cancelled', 'CANCELLED'])
    await one.queue.beat()
    expect(await control.entries()).toEqual([])
    expect(() => one.queue.cancel(id)).toThrow(expect.objectContaining({ code: 'RUN_FINISHED' }))
    expect(() => one.queue.cancel(randomUUID())).toThrow(expect.objectContaining({ code: 'RUN_UNKNOWN' }))
  })

  it('cancelled where it goes on - stopped, and cancelled in the queue', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one')
    const { id } = one.queue.order(backup('a'))
    await one.queue.beat()
    expect([one.queue.isBusy(), one.running.has(id)]).toEqual([true, true])
    one.queue.cancel(id)
    await expect.poll(() => stateOf(one, id), patience).toEqual(['cancelled', 'CANCELLED'])
    await beatsUntil(one, async () => (await control.entries()).map((entry) => entry['output']), [
      expect.objectContaining({ state: 'cancelled', worker: 'one' }),
    ])
    expect(one.queue.isBusy()).toBe(false)
  })

  it('cancelled where another worker does it, while the control database is away - FLEET_UNREACHABLE, it goes on', async () => {
    await using control = await testControl()
    const url = new URL(control.url)
    const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 5432) })
    url.host = `127.0.0.1:${proxy.port}`
    let passedMs = 0
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + passedMs }
    {
      await using one = await inProcess(control, 'one')
      await using view = await inProcess({ url: url.href }, 'view', serving, clock)
      const { id } = one.queue.order(backup('a'))
      await one.queue.beat()
      await beatsUntil(view, () => stateOf(view, id), ['running', null])
      proxy.setMode('refuse')
      // Later than it must have shown that it lives.
      passedMs = 10_000
      await view.queue.beat()
      expect(() => view.queue.cancel(id)).toThrow(expect.objectContaining({ code: 'FLEET_UNREACHABLE' }))
      expect([stateOf(view, id), one.running.has(id)]).toEqual([['running', null], true])
      proxy.setMode('forward')
    }
    await proxy.stop()
  })

  it('ordered after the end - SHUTTING_DOWN', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', serving)
    await one.queue.close(0)
    expect(() => one.queue.order(backup('a'))).toThrow(expect.objectContaining({ code: 'SHUTTING_DOWN' }))
  })
})

describe('what is due, between two looks', () => {
  it('ordered twice - one run', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', serving)
    const [first, second] = [one.queue.order(dueBackup('a')), one.queue.order(dueBackup('a'))]
    expect(second.id).toBe(first.id)
    expect(one.installation.catalog.runs()).toHaveLength(1)
  })

  it('the next one was due by the time it could be told - cancelled, not in the queue', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', serving)
    const due = { time: new Date('2026-11-01T02:00:00Z'), until: new Date('2026-11-02T02:00:00Z'), runs: 1 }
    const { id } = one.queue.order({ ...dueBackup('a'), due })
    await one.queue.beat()
    expect(stateOf(one, id)).toEqual(['cancelled', 'CANCELLED'])
    expect(await control.entries()).toEqual([])
  })

  it('its server is taken out of the configuration meanwhile - failed by that, the others are ordered', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', {
      ...serving,
      PGPROOF_SERVERS__1__NAME: 'other',
      PGPROOF_SERVERS__1__URL: 'postgres://postgres@127.0.0.1:1/postgres',
      PGPROOF_SERVERS__1__DATABASES: 'a',
    })
    const [gone, kept] = [one.queue.order(backup('a')), one.queue.order(backup('a', 'other'))]
    const { config } = one.installation
    Object.assign(one.installation, { config: { ...config, servers: config.servers.slice(1) } })
    await one.queue.beat()
    expect(stateOf(one, gone.id)).toEqual(['failed', 'SERVER_UNKNOWN'])
    expect(await control.entries()).toMatchObject([{ id: kept.id }])
  })

  it('ordered here while the queue is read, in which another worker has put it - one run, and it waits', async () => {
    await using control = await testControl()
    await using other = await inProcess(control, 'other', serving)
    other.queue.order(dueBackup('a'))
    await other.queue.beat()
    await using one = await inProcess(control, 'one', serving)
    const looked = one.queue.beat()
    const { id } = one.queue.order(dueBackup('a'))
    await looked
    await one.queue.beat()
    expect(one.installation.catalog.runs()).toMatchObject([{ id, state: 'queued' }])
    expect(await control.entries()).toHaveLength(1)
  })
})

describe('what is in hand', () => {
  it('given to another worker meanwhile - a drill is stopped, it would be done twice; a backup goes on', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', { PGPROOF_FLEET__MAY: 'backup,serve' })
    const kept = one.queue.order(backup('a'))
    haveBackup(one)
    const drill = one.queue.order({ job: 'drill', server: 'main', database: 'a', trigger: 'http' })
    await using prover = await inProcess(control, 'prover', { PGPROOF_FLEET__MAY: 'drill' })
    await beatsUntil(one, () => one.running.has(kept.id), true)
    await beatsUntil(prover, () => prover.running.has(drill.id), true)
    await control.sql("UPDATE pgboss.job SET retry_count = retry_count + 1 WHERE state = 'active'")
    await beatsUntil(prover, () => stateOf(prover, drill.id), ['failed', 'LOCKED'])
    await one.queue.beat()
    expect(stateOf(one, kept.id)).toEqual(['running', null])
  })

  it('given away while nobody saw that it lives, and taken back - a backup goes on and is told of, a drill begins anew', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', { PGPROOF_FLEET__MAY: 'backup,drill,serve' })
    const kept = one.queue.order(backup('a'))
    haveBackup(one)
    const drill = one.queue.order({ job: 'drill', server: 'main', database: 'a', trigger: 'http' })
    await beatsUntil(one, () => one.running.size, 2)
    // As a look at what the dead had in hand does it.
    const giveAway = "UPDATE pgboss.job SET state = 'retry' WHERE state = 'active' AND name IN ('backup', 'drill')"
    await control.sql(giveAway)
    await beatsUntil(one, () => one.began.length, 3)
    expect(one.began).toEqual(['main/a', 'main/a', 'main/a'])
    expect([...one.running.keys()].toSorted()).toEqual([kept.id, drill.id].toSorted())
    for (const { end } of one.running.values()) end()
    const outputs = async (): Promise<unknown> =>
      (await control.entries("name IN ('backup', 'drill')")).map(({ state, retry_count, output }) => ({
        state,
        retry_count,
        outcome: (output as { state: string } | null)?.state,
      }))
    const told = { state: 'completed', retry_count: 1, outcome: 'succeeded' }
    await beatsUntil(one, outputs, [told, told])
    expect([kept, drill].map(({ id }) => stateOf(one, id))).toEqual([
      ['succeeded', null],
      ['succeeded', null],
    ])
  })

  it('made by somebody else meanwhile, as a look into the store tells - not begun, cancelled, and no entry that waits', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', {}, systemClock, async () => {
      haveBackup(one)
      return true
    })
    const { id } = one.queue.order(dueBackup('a', 'main', 2))
    await beatsUntil(one, () => stateOf(one, id), ['cancelled', 'CANCELLED'])
    await one.queue.beat()
    expect(one.began).toEqual([])
    expect(one.installation.catalog.findRun(id)?.error?.message).toContain('done elsewhere meanwhile')
    expect(await control.entries("state IN ('created', 'active', 'retry') AND name = 'backup'")).toEqual([])
  })

  it('stopped while it asks the store whether a backup is wanted - not begun, put back', async () => {
    await using control = await testControl()
    const asked = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<boolean>()
    await using one = await inProcess(control, 'one', {}, systemClock, async () => {
      asked.resolve()
      return await answer.promise
    })
    const { id } = one.queue.order(dueBackup('a', 'main', 2))
    await one.queue.beat()
    await asked.promise
    const closed = one.queue.close(600_000)
    await expect
      .poll(async () => (await control.entries("name = 'workers'"))[0]?.['data'], patience)
      .toMatchObject({ isClosing: true })
    answer.resolve(true)
    await closed
    expect(one.began).toEqual([])
    expect(await control.entries()).toMatchObject([{ id, state: 'created', retry_count: 0 }])
  })
})

describe('what no worker survives', () => {
  const fail = (control: Control): Promise<unknown> =>
    control.sql("UPDATE pgboss.job SET state = 'failed', retry_count = 3, completed_on = now() WHERE name = 'backup'")

  it('given up in the queue - how often it was begun, and counted among the failed', async () => {
    await using control = await testControl()
    await using view = await inProcess(control, 'view', serving)
    const { id } = view.queue.order(backup('a'))
    await view.queue.beat()
    await fail(control)
    await beatsUntil(view, () => stateOf(view, id), ['inconclusive', 'FLEET_JOB_LOST'])
    expect(view.installation.catalog.findRun(id)?.error?.message).toContain('was lost with its worker 4 times')
    expect(view.queue.view().queues).toMatchObject([{ name: 'backup', failed: 1, queued: 0 }])
  })

  it('among the dead - what it was; forgotten once it was done since, but not what cannot be read', async () => {
    await using control = await testControl()
    let passedMs = 0
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + passedMs }
    await using worker = await inProcess(control, 'worker', {}, clock)
    worker.queue.order(backup('a'))
    await worker.queue.beat()
    await control.sql(`
      INSERT INTO pgboss.job (name, data, policy, created_on) SELECT 'dead', data, 'standard', now() - interval '1 hour'
        FROM pgboss.job WHERE name = 'backup';
      INSERT INTO pgboss.job (name, data, policy, created_on)
        VALUES ('dead', '{"code": "FLEET_ENTRY_INVALID", "reason": "job: invalid"}', 'standard', now())`)
    const dead = (): unknown => worker.queue.view().dead.map(({ job, database, code }) => [job, database, code])
    await beatsUntil(worker, dead, [
      ['backup', 'a', 'FLEET_JOB_LOST'],
      [null, null, 'FLEET_ENTRY_INVALID'],
    ])
    const reasons = worker.queue.view().dead.map(({ reason }) => reason)
    expect(reasons).toEqual(['backup of main/a was lost with its worker 4 times', 'job: invalid'])
    haveBackup(worker)
    passedMs = 60_000
    await beatsUntil(worker, () => {
      passedMs += 20_000
      return dead()
    }, [[null, null, 'FLEET_ENTRY_INVALID']])
  })
})

describe('the control database', () => {
  const fleetAt = (url: string) =>
    ({ url, password: undefined, schema: 'pgboss', worker: 'w', heartbeatMs: 10_000 }) as never

  it('an entry cannot be put among the dead - it is not taken out of its queue either', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', serving)
    one.queue.order(backup('a'))
    await one.queue.beat()
    await control.sql(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more dead'; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON pgboss.job_common FOR EACH ROW WHEN (NEW.name = 'dead')
        EXECUTE FUNCTION refuse()`)
    await using boss = disposable(new BossControl(fleetAt(control.url), silentLog))
    const rules = { queues: ['backup'], ignored: [], ignoredIn: new Map(), perServer: new Map() }
    const entry = await boss.control.take({ ...rules, backupsInAll: undefined })
    if (entry === null) throw new Error('nothing to take')
    const aside = boss.control.setAside(entry, { code: 'FLEET_ENTRY_INVALID', reason: 'job: invalid' })
    await expect(aside).rejects.toMatchObject({ code: 'FLEET_UNREACHABLE', message: /no more dead/ })
    expect(await control.entries()).toMatchObject([{ state: 'active', output: null }])
  })

  it('a queue with more entries than pg-boss thinks right - its warning is in the log', async () => {
    await using control = await testControl()
    await using one = await inProcess(control, 'one', serving)
    for (const database of ['a', 'b']) one.queue.order(backup(database))
    await one.queue.beat()
    await control.sql("UPDATE pgboss.queue SET warning_queued = 1 WHERE name = 'backup'")
    const lines: string[] = []
    const log = createLog({ level: 'warn', format: 'json' }, (line) => lines.push(line))
    await using boss = disposable(new BossControl(fleetAt(control.url), log))
    await boss.control.supervise()
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: 'warn', msg: 'pg-boss warns', reason: expect.stringContaining('queue "backup" has 2 jobs') },
    ])
  })

  it('away when it is first needed - FLEET_UNREACHABLE, and used once it is there', async () => {
    await using control = await testControl()
    const { hostname, port } = new URL(control.url)
    const proxy = await startTcpProxy({ host: hostname, port: Number(port || 5432) })
    const url = new URL(control.url)
    url.host = `127.0.0.1:${proxy.port}`
    proxy.setMode('refuse')
    {
      await using boss = disposable(new BossControl(fleetAt(url.href), silentLog))
      await expect(boss.control.signs()).rejects.toMatchObject({ code: 'FLEET_UNREACHABLE' })
      proxy.setMode('forward')
      expect(await boss.control.signs()).toEqual([])
    }
    await proxy.stop()
  })

  it('closed while it is being opened and is not there - the question fails, the end does not; nothing is asked after it', async () => {
    const boss = new BossControl(fleetAt(`postgres://nobody@127.0.0.1:${await freePort()}/control`), silentLog)
    const asked = expect(boss.signs()).rejects.toMatchObject({ code: 'FLEET_UNREACHABLE' })
    await boss.close()
    await asked
    expect(await boss.takeTurn()).toBe(false)
    await expect(boss.signs()).rejects.toMatchObject({ code: 'FLEET_UNREACHABLE', message: /it is closed/ })
  })

  it('a turn that was closed - is not taken again', async () => {
    await using control = await testControl()
    const turn = new Turn(controlConnection({ url: control.url, password: undefined }), 'pgboss')
    expect(await turn.take()).toBe(true)
    await turn.close()
    expect(await turn.take()).toBe(false)
  })
})

/** Of `main/a`, taken just now. */
function haveBackup({ installation: { catalog, stores } }: InProcess): void {
  const manifest = manifestAt(new Date().toISOString(), { database: 'a' })
  const names = stores.named.map(({ name }) => name)
  catalog.addBackup({ manifest, manifestSha256: 'a'.repeat(64), hasSignature: false }, names)
}

function disposable(control: BossControl): AsyncDisposable & { readonly control: BossControl } {
  return { control, [Symbol.asyncDispose]: () => control.close() }
}
