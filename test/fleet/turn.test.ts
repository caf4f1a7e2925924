import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { controlConnection } from '../../src/fleet/control-connection.ts'
import { Turn, type TurnLimits } from '../../src/fleet/turn.ts'
import { waitFor } from '../commands/cli.ts'
import { query } from '../support/postgres-server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { type Control, testControl } from './in-process.ts'

/** Only one at a time: the lock is of the schema. */
describe.sequential('the turn', () => {
  const limits: TurnLimits = { openMs: 2_000, answerMs: 300 }
  let control: Control

  beforeAll(async () => {
    control = await testControl()
  })
  afterAll(() => control[Symbol.asyncDispose]())

  const turnAt = (url: string, own = limits): Turn =>
    new Turn(controlConnection({ url, password: undefined }), 'pgboss', own)
  const sessions = async (): Promise<number[]> => {
    const sql = `SELECT pid FROM pg_stat_activity WHERE application_name = 'pgproof turn' AND datname = current_database()`
    return (await query(control.url, sql)).map((row) => (row as { pid: number }).pid)
  }

  it('an event loop that is blocked for longer than an answer may take - keeps the turn, over the same session', async () => {
    const turn = turnAt(control.url)
    expect(await turn.take()).toBe(true)
    const before = await sessions()
    for (let time = 0; time < 3; time += 1) {
      const asked = turn.take()
      // The answer is there long before this process can look, and so is the end of the deadline.
      block(2 * limits.answerMs)
      expect(await asked).toBe(true)
    }
    expect(await sessions()).toEqual(before)
    expect(before).toHaveLength(1)
    await turn.close()
  })

  it('held for longer than opening may take, and then a blocked event loop - keeps the turn, over the same session', async () => {
    const turn = turnAt(control.url, { openMs: 1_000, answerMs: 10_000 })
    expect(await turn.take()).toBe(true)
    const before = await sessions()
    // Who goes on cancelling what an ended signal was for does so every 250 ms, and cuts the connection after ten seconds.
    const old = Date.now() + 12_500
    await waitFor('the session to be old', () => Date.now() > old)
    for (let time = 0; time < 5; time += 1) {
      const asked = turn.take()
      block(400)
      expect(await asked).toBe(true)
    }
    expect(await sessions()).toEqual(before)
    await turn.close()
  })

  it('its session ended by the server - takes the turn again at once, no error', async () => {
    const turn = turnAt(control.url)
    expect(await turn.take()).toBe(true)
    const before = await sessions()
    await query(control.url, `SELECT pg_terminate_backend(${before[0]}, 5000)`)
    expect(await turn.take()).toBe(true)
    expect(await sessions()).not.toEqual(before)
    await turn.close()
  })

  it('a network that swallows everything - FLEET_UNREACHABLE soon, with what was waited for; and again once it is back', async () => {
    const { hostname, port } = new URL(control.url)
    const proxy = await startTcpProxy({ host: hostname, port: Number(port || 5432) })
    const url = new URL(control.url)
    url.host = `127.0.0.1:${proxy.port}`
    const turn = turnAt(url.href)
    expect(await turn.take()).toBe(true)
    proxy.setMode('stall')
    const began = Date.now()
    await expect(turn.take()).rejects.toMatchObject({
      code: 'FLEET_UNREACHABLE',
      message: 'the control database cannot be used: no answer within 2 s',
    })
    expect(Date.now() - began).toBeLessThan(20_000)
    proxy.setMode('forward')
    await waitFor('the turn', () => turn.take().catch(() => undefined))
    await turn.close()
    await proxy.stop()
  })
})

/** As a large computation does: nothing else happens in this process meanwhile. */
function block(ms: number): void {
  const until = Date.now() + ms
  while (Date.now() < until);
}
