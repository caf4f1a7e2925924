import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliFolder, cliFolder, type Started, waitFor } from '../commands/cli.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { freePort } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'

let database: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  database = await testDatabase('template0')
})
afterAll(() => database[Symbol.asyncDispose]())

const token = 'the-second-token'
const sha256 = createHash('sha256').update(token).digest('hex')
const inForce = 'the configuration was read again and is in force'
const refused = 'the new configuration is refused, the old one stays in force'

/** The log lines of that message, as objects. */
function logged(started: Started, message: string): Record<string, unknown>[] {
  const lines = started.stderr().split('\n')
  return lines
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ msg }) => msg === message)
}

async function untilLogged(started: Started, message: string, count = 1): Promise<Record<string, unknown>[]> {
  return await waitFor(`"${message}"`, () => {
    const lines = logged(started, message)
    return lines.length >= count && lines
  })
}

async function serve(folder: CliFolder, port: number, schedule: object, more: object = {}): Promise<Started> {
  await configure(folder, port, schedule, more)
  const started = folder.start(['serve'])
  await untilLogged(started, 'ready')
  return started
}

async function configure(folder: CliFolder, port: number, schedule: object, more: object = {}): Promise<void> {
  await folder.configure({
    servers: [{ name: 'main', url: testUrl(), databases: [database.name], schedule }],
    http: { listen: `127.0.0.1:${port}` },
    log: { format: 'json' },
    ...more,
  })
}

type Status = { readonly databases: readonly { readonly next: readonly { job: string; at: string }[] }[] }

async function nextBackup(port: number): Promise<string | undefined> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/status`)
  const { databases } = (await answer.json()) as Status
  return databases[0]?.next.find(({ job }) => job === 'backup')?.at
}

async function startHttp(answer: RequestListener): Promise<{ readonly endpoint: string } & AsyncDisposable> {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function stop(started: Started): Promise<number | null> {
  started.child.kill('SIGTERM')
  return (await started.result).code
}

describe('SIGHUP', () => {
  it('a configuration with faults - each is told with its place, the old one stays in force until it is mended', async () => {
    await using folder = await cliFolder([database.name])
    const port = await freePort()
    const started = await serve(folder, port, { backup: '0 2 1 1 *' })
    expect(await nextBackup(port)).toMatch(/-01-01T02:00:00/)
    await configure(folder, port, { backup: '0 99 1 1 *', drlil: 'x' })
    started.child.kill('SIGHUP')
    const [line] = await untilLogged(started, refused)
    expect(line).toMatchObject({ level: 'error', code: 'CONFIG_INVALID', reason: 'the configuration has 2 faults' })
    expect(line?.['details']).toMatch(/pgproof\.yaml:\d+:\d+ {2}servers\.0\.schedule\.backup: .*\n.*schedule\.drlil/)
    expect(await nextBackup(port)).toMatch(/-01-01T02:00:00/)
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    expect(metrics).toMatch(/^pgproof_config_last_reload_successful 0$/m)

    await configure(folder, port, { backup: '30 4 1 1 *' })
    started.child.kill('SIGHUP')
    await untilLogged(started, inForce)
    await expect.poll(() => nextBackup(port), { timeout: 20_000 }).toMatch(/-01-01T04:30:00/)
    expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toMatch(
      /^pgproof_config_last_reload_successful 1$/m,
    )
    expect(await stop(started)).toBe(0)
  })

  it('the file is gone - said, and nothing changes', async () => {
    await using folder = await cliFolder([database.name])
    const port = await freePort()
    const started = await serve(folder, port, { backup: '0 2 1 1 *' })
    await folder.write('pgproof.yaml', '\t{', 0o000)
    started.child.kill('SIGHUP')
    expect(await untilLogged(started, refused)).toHaveLength(1)
    expect(await nextBackup(port)).toMatch(/-01-01T02:00:00/)
    expect(await stop(started)).toBe(0)
  })

  it('a new token - is let in without a restart, and one that was removed no more', async () => {
    await using folder = await cliFolder([database.name])
    const port = await freePort()
    const status = async (given: string): Promise<number> => {
      const headers = { authorization: `Bearer ${given}` }
      return (await fetch(`http://127.0.0.1:${port}/v1/status`, { headers })).status
    }
    const listen = `127.0.0.1:${port}`
    const tokens = [{ name: 'ops', scope: 'read', hash: sha256 }]
    const started = await serve(folder, port, {}, { http: { listen } })
    expect(await status(token)).toBe(401)
    await configure(folder, port, {}, { http: { listen, tokens } })
    started.child.kill('SIGHUP')
    await untilLogged(started, inForce)
    expect(await status(token)).toBe(200)
    await configure(folder, port, {}, { http: { listen } })
    started.child.kill('SIGHUP')
    await untilLogged(started, inForce, 2)
    expect(await status(token)).toBe(401)
    expect(await stop(started)).toBe(0)
  })

  it('while the stores are being opened - remembered, and the new configuration is in force', async () => {
    await using folder = await cliFolder([database.name])
    const port = await freePort()
    const stores = (endpoint: string): object => ({
      store: [
        { name: 'disk', url: `file://${folder.path}/store` },
        { name: 'far', url: 's3://far', endpoint, accessKeyId: 'a', secretAccessKey: 'b', required: false },
      ],
    })
    let asked = 0
    await using far = await startHttp(async (_, response) => {
      asked += 1
      if (asked === 1) {
        // It has read its configuration, for it knows this store, and waits for this answer.
        await configure(folder, port, { backup: '30 4 1 1 *' }, stores(far.endpoint))
        started.child.kill('SIGHUP')
      }
      response.writeHead(403).end()
    })
    await configure(folder, port, { backup: '0 2 1 1 *' }, stores(far.endpoint))
    const started = folder.start(['serve'])
    await untilLogged(started, 'ready')
    await untilLogged(started, inForce)
    await expect.poll(() => nextBackup(port), { timeout: 20_000 }).toMatch(/-01-01T04:30:00/)
    expect(await stop(started)).toBe(0)
  })

  it('none, and a file comes into the folder of servers - its server is in force soon', async () => {
    await using folder = await cliFolder([database.name])
    const port = await freePort()
    mkdirSync(join(folder.path, 'servers.d'))
    const more = { serversFrom: 'servers.d', daemon: { catalogRefresh: '1s' } }
    const schedule = { backup: '0 2 1 1 *' }
    const started = await serve(folder, port, schedule, more)
    const server = { name: 'other', url: testUrl(), databases: [database.name], schedule }
    await folder.write('servers.d/other.yaml', JSON.stringify({ servers: [server] }))
    await untilLogged(started, inForce)
    const servers = async (): Promise<string[]> => {
      const answer = await fetch(`http://127.0.0.1:${port}/v1/status`)
      return ((await answer.json()) as { databases: { server: string }[] }).databases.map((one) => one.server).sort()
    }
    await expect.poll(servers, { timeout: 20_000 }).toEqual(['main', 'other'])
    expect(await stop(started)).toBe(0)
  })

  it('a folder of servers is named, and then another one - a file that comes there later is in force soon', async () => {
    await using folder = await cliFolder([database.name])
    const port = await freePort()
    const schedule = { backup: '0 2 1 1 *' }
    const started = await serve(folder, port, schedule)
    const servers = async (): Promise<string[]> => {
      const answer = await fetch(`http://127.0.0.1:${port}/v1/status`)
      return ((await answer.json()) as { databases: { server: string }[] }).databases.map((one) => one.server).sort()
    }
    let reloads = 0
    for (const [serversFrom, name] of [
      ['servers.d', 'other'],
      ['moved.d', 'third'],
    ] as const) {
      mkdirSync(join(folder.path, serversFrom))
      // The first time the look comes five minutes later, until this says otherwise.
      await configure(folder, port, schedule, { serversFrom, daemon: { catalogRefresh: '1s' } })
      started.child.kill('SIGHUP')
      reloads += 1
      await untilLogged(started, inForce, reloads)
      const server = { name, url: testUrl(), databases: [database.name], schedule }
      await folder.write(`${serversFrom}/${name}.yaml`, JSON.stringify({ servers: [server] }))
      reloads += 1
      await untilLogged(started, inForce, reloads)
      await expect.poll(servers, { timeout: 20_000 }).toEqual(['main', name])
    }
    expect(logged(started, inForce)).toHaveLength(reloads)
    expect(await stop(started)).toBe(0)
  })

  it('another store and address - are said to need a restart, and the old ones go on', async () => {
    await using folder = await cliFolder([database.name])
    const port = await freePort()
    const started = await serve(folder, port, { backup: '0 2 1 1 *' })
    mkdirSync(join(folder.path, 'other'))
    await configure(
      folder,
      await freePort(),
      { backup: '0 2 1 1 *' },
      { store: { url: `file://${folder.path}/other` } },
    )
    started.child.kill('SIGHUP')
    const [line] = await untilLogged(
      started,
      'the configuration was read again; these settings stay as they are until a restart',
    )
    expect(line?.['keys']).toEqual(['store', 'http.listen'])
    expect(await nextBackup(port)).toMatch(/-01-01T02:00:00/)
    expect(await stop(started)).toBe(0)
    expect(existsSync(join(folder.path, 'other', 'pgproof.json'))).toBe(false)
  })

  it('while a backup runs - that goes on as it began, and succeeds', async () => {
    await using folder = await cliFolder([database.name])
    const port = await freePort()
    const [begun, goOn] = [join(folder.path, 'begun'), join(folder.path, 'go-on')]
    const bin = standIn(
      folder.path,
      'pg_dump',
      `case "$*" in *--snapshot*) touch ${begun}; until [ -e ${goOn} ]; do sleep 0.05; done;; esac; exec "$REAL" "$@"`,
    )
    const http = { listen: `127.0.0.1:${port}`, tokens: [{ name: 'ops', scope: 'backup', hash: sha256 }] }
    const started = await serve(folder, port, {}, { postgres: { binDirs: [bin] }, http })
    const order = await fetch(`http://127.0.0.1:${port}/v1/backups`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ server: 'main', database: database.name }),
    })
    expect(order.status).toBe(202)
    await waitFor('pg_dump', () => existsSync(begun))
    await configure(folder, port, { drill: '0 2 1 1 *' }, { http })
    started.child.kill('SIGHUP')
    await untilLogged(started, inForce)
    await folder.write('go-on', '')
    const ends = await untilLogged(started, 'run finished', 2)
    expect(ends.map(({ job, outcome }) => `${job} ${outcome}`)).toEqual(['prune succeeded', 'backup succeeded'])
    expect(await stop(started)).toBe(0)
  })
})

describe('the beginning of the log', () => {
  it('protected, unscheduled, due and worrying - each has its line before "ready"', async () => {
    await using folder = await cliFolder([database.name])
    const port = await freePort()
    const started = await serve(folder, port, { backup: '0 2 1 1 *', roles: '0 3 1 1 *' })
    expect(logged(started, 'protects')).toMatchObject([{ server: 'main', databases: [database.name] }])
    expect(logged(started, 'scheduled')).toMatchObject([
      { job: 'backup', server: 'main', database: database.name, nextAt: expect.stringMatching(/-01-01T02:00:00/) },
      { job: 'roles', server: 'main', nextAt: expect.stringMatching(/-01-01T03:00:00/) },
    ])
    expect(logged(started, 'no drill schedule: nothing will be proven')).toHaveLength(1)
    expect(logged(started, 'worries')).toMatchObject([{ worry: `main/${database.name}: there is no backup` }])
    expect(logged(started, 'ready')).toMatchObject([{ backups: 0, drills: 0, worries: 1 }])
    expect(await stop(started)).toBe(0)
  })
})
