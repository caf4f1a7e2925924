import { createServer } from 'node:net'
import { expect, it } from 'vitest'
import { addressOf, fleetFolder } from '../fleet/fleet-folder.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { waitFor } from './cli.ts'

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

it('a worker without `serve` in fleet.may, and one with it, each with http.listen - the first listens nowhere, the other answers', async () => {
  await using fleet = await fleetFolder(1)
  const [silent, served] = [await freePort(), await freePort()]
  const ready = async (name: string, port: number, may: string): Promise<{ readonly address: string | null }> => {
    const worker = fleet.worker(name, {
      PGPROOF_FLEET__MAY: may,
      PGPROOF_HTTP__LISTEN: `127.0.0.1:${port}`,
    })
    const line = await waitFor(`${name} to be ready`, () =>
      worker
        .stderr()
        .split('\n')
        .find((one) => one.includes('"msg":"ready"')),
    )
    return JSON.parse(line) as { address: string | null }
  }
  expect((await ready('taker', silent, 'backup')).address).toBe(null)
  await expect(fetch(`http://127.0.0.1:${silent}/healthz`)).rejects.toThrow('fetch failed')

  const { address } = await ready('viewer', served, 'serve')
  expect(address).toBe(`http://127.0.0.1:${served}`)
  expect((await fetch(`${address}/healthz`)).status).toBe(200)
  const workers = async (): Promise<string[]> => {
    const { workers: all } = (await (await fetch(`${address}/v1/queue`)).json()) as { workers: { name: string }[] }
    return all.map(({ name }) => name)
  }
  await expect.poll(workers, { timeout: 60_000 }).toEqual(['taker', 'viewer'])
})

it('a shared file that schedules drills, without the private key - init, status and list go through, serve names `fleet.may`', async () => {
  await using fleet = await fleetFolder(1)
  const schedule = { drill: '0 5 * * *' }
  await fleet.configure({ encryption: { recipients: ['pub.asc'] } }, { schedule })
  for (const command of ['init', 'status', 'list']) {
    const { code, stderr } = await fleet.folder.run([command])
    expect([command, code === 2, stderr.includes('privateKeyFile')]).toEqual([command, false, false])
  }
  const served = await fleet.folder.run(['serve'])
  expect([served.code, served.stderr]).toEqual([2, expect.stringContaining('leave drill out of `fleet.may`')])
})

it('not ready - /readyz says what it waits for; unknown runs and none at all are said in words that hold in a fleet', async () => {
  await using fleet = await fleetFolder(1)
  const later = { schedule: {} }
  await fleet.configure({ http: { listen: '127.0.0.1:0' } }, later)
  const first = fleet.worker('same')
  const address = await addressOf(first)
  const readiness = async (): Promise<{ detail: string; hint: string }> =>
    (await (await fetch(`${address}/readyz`)).json()) as { detail: string; hint: string }
  const ready = async (): Promise<number> => (await fetch(`${address}/readyz`)).status
  await expect.poll(ready, { timeout: 60_000 }).toBe(200)

  const ask = (args: readonly string[]) => fleet.folder.run([...args, '--url', address], { config: null })
  expect((await ask(['runs'])).stdout).toContain('a fleet also those of the last two days')
  const unknown = await ask(['cancel', 'nonsense'])
  expect(unknown.stderr).not.toMatch(/in this process|kept in memory/)

  const second = fleet.worker('same')
  await expect.poll(ready, { timeout: 60_000 }).toBe(503)
  expect(await readiness()).toMatchObject({
    detail: expect.stringContaining('calls itself "same"'),
    hint: 'It becomes ready by itself as soon as no other process calls itself by its name.',
  })
  second.child.kill('SIGTERM')
  await second.result
  await expect.poll(ready, { timeout: 60_000 }).toBe(200)

  const name = new URL(fleet.control).pathname.slice(1)
  await query(testUrl(), `ALTER DATABASE ${name} ALLOW_CONNECTIONS false`)
  await query(testUrl(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`)
  await expect.poll(ready, { timeout: 60_000 }).toBe(503)
  await expect
    .poll(async () => (await readiness()).detail, { timeout: 60_000 })
    .toContain('cannot connect to its server')
  const { detail, hint } = await readiness()
  expect(detail).not.toContain('server "control"')
  expect(hint).toBe('It becomes ready by itself as soon as the control database answers.')
})
