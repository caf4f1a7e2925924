import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliFolder, cliFolder, type Started, waitFor } from '../commands/cli.ts'
import { startMailServer } from '../notify/mail-server.ts'
import { startReceiver } from '../notify/receiver.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { freePort } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'

let database: Awaited<ReturnType<typeof testDatabase>>
let proxy: TcpProxy
beforeAll(async () => {
  database = await testDatabase('template0')
  const { hostname, port } = new URL(testUrl())
  proxy = await startTcpProxy({ host: hostname, port: Number(port) })
})
afterAll(async () => {
  await proxy.stop()
  await database[Symbol.asyncDispose]()
})

const token = 'a-token-for-orders'

/** A daemon whose server is behind the proxy and whose backups are ordered by hand. */
async function served(folder: CliFolder, notify: readonly object[], settings: object = {}) {
  const port = await freePort()
  const url = new URL(testUrl())
  url.port = String(proxy.port)
  url.hostname = '127.0.0.1'
  await folder.write('token', token)
  const hash = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(token))).toString('hex')
  await folder.configure({
    servers: [{ name: 'main', url: url.href, databases: [database.name] }],
    http: { listen: `127.0.0.1:${port}`, tokens: [{ name: 'ops', scope: 'backup', hash }] },
    log: { format: 'json', level: 'debug' },
    notify,
    ...settings,
  })
  const started = folder.start(['serve'])
  await waitFor('ready', () => started.stderr().includes('"msg":"ready"') || started.child.exitCode !== null)
  return {
    started,
    port,
    async order(): Promise<void> {
      const answer = await fetch(`http://127.0.0.1:${port}/v1/backups`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ server: 'main', database: database.name }),
      })
      expect(answer.status, await answer.text()).toBe(202)
    },
    metrics: async (): Promise<string> => await (await fetch(`http://127.0.0.1:${port}/metrics`)).text(),
  }
}

async function stop(started: Started): Promise<number | null> {
  started.child.kill('SIGTERM')
  return (await started.result).code
}

describe('serve tells', () => {
  it('the server stops and starts again - webhook, e-mail and ping tell of the failure and of the recovery', async () => {
    await using hook = await startReceiver()
    await using pings = await startReceiver()
    await using mail = await startMailServer({ disabledCommands: ['STARTTLS'] })
    await using folder = await cliFolder([database.name])
    const { started, order, metrics } = await served(folder, [
      { webhook: `${hook.origin}/services/SECRET` },
      { ping: `${pings.origin}/SECRET`, job: ['backup'] },
      { email: ['ops@example.com'], from: 'pgproof@example.com', smtp: `smtp://127.0.0.1:${mail.port}` },
    ])
    proxy.setMode('refuse')
    await order()
    await Promise.all([hook.until(1), pings.until(2), mail.until(1)])
    proxy.setMode('forward')
    await order()
    await Promise.all([hook.until(2), pings.until(4), mail.until(2)])
    const place = `main/${database.name}`
    const [failure, recovery] = hook.documents()
    expect(failure).toMatchObject({
      version: 1,
      event: 'failure',
      title: `FAILED backup of ${place}`,
      server: 'main',
      database: database.name,
      job: 'backup',
      newestBackup: null,
    })
    expect(recovery).toMatchObject({
      event: 'recovery',
      title: `RECOVERED backup of ${place}`,
      incident: failure?.['incident'],
      newestBackup: { label: recovery?.['label'] },
    })
    expect(pings.received.map(({ path }) => path.replace(/\?rid=[0-9a-f-]{36}$/, ''))).toEqual([
      '/SECRET/start',
      '/SECRET/fail',
      '/SECRET/start',
      '/SECRET',
    ])
    const [first, second] = mail.mails.map(({ headers }) => headers)
    expect([first?.get('subject'), second?.get('subject')]).toEqual([
      `[pgproof] FAILED backup of ${place}`,
      `[pgproof] RECOVERED backup of ${place}`,
    ])
    expect(second?.get('in-reply-to')).toBe(first?.get('in-reply-to'))
    expect(second?.get('message-id')).not.toBe(first?.get('message-id'))
    expect(await metrics()).toContain('pgproof_notices_total{target="webhook",outcome="delivered"} 2')
    expect(await stop(started)).toBe(0)
    expect(started.stderr()).toContain('notice delivered')
    expect(started.stderr()).not.toMatch(/SECRET/)
  })

  it('SIGTERM while a receiver hangs and another is to be tried again - a last attempt, then the end in time', async () => {
    await using hanging = await startReceiver()
    await using slow = await startReceiver()
    await using folder = await cliFolder([database.name])
    hanging.answer(() => 'hang')
    slow.answer((_, index) => (index === 0 ? { status: 503, headers: { 'retry-after': '3600' } } : { status: 200 }))
    const bin = standIn(folder.path, 'pg_dump', 'exit 1')
    const { started, order } = await served(
      folder,
      [{ webhook: `${hanging.origin}/SECRET` }, { webhook: `${slow.origin}/SECRET` }],
      { postgres: { binDirs: [bin] }, drill: { spool: join(folder.path, 'spool') } },
    )
    await order()
    await Promise.all([hanging.until(1), slow.until(1)])
    const stoppedMs = performance.now()
    expect(await stop(started)).toBe(0)
    expect(performance.now() - stoppedMs).toBeLessThan(10_000)
    expect(slow.received).toHaveLength(2)
    expect(slow.documents()[1]).toMatchObject({ event: 'failure', title: `FAILED backup of main/${database.name}` })
    expect(started.stderr().match(/"msg":"notice not delivered"/g)).toHaveLength(1)
    expect(started.stderr()).not.toMatch(/SECRET/)
    expect(folder.leftovers()).toEqual([])
  })

  it('a reload that is refused - told', async () => {
    await using hook = await startReceiver()
    await using folder = await cliFolder([database.name])
    const { started } = await served(folder, [{ webhook: `${hook.origin}/SECRET` }])
    const text = JSON.stringify(
      { store: { url: `file://${folder.path}/store` }, notify: [{ webhook: `${hook.origin}/SECRET` }] },
      null,
      1,
    )
    await folder.write('pgproof.yaml', text)
    started.child.kill('SIGHUP')
    await waitFor('the refusal', () => started.stderr().includes('the new configuration is refused'))
    await hook.until(1)
    expect(hook.documents()[0]).toMatchObject({ condition: 'config-refused', event: 'failure' })
    expect(await stop(started)).toBe(0)
  })
})
