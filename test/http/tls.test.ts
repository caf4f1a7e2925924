import { X509Certificate } from 'node:crypto'
import { copyFile, readFile, rename, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { connect as connectPlain } from 'node:net'
import { connect, type PeerCertificate } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLog } from '../../src/log.ts'
import { clockAt } from '../metrics/made-up-catalog.ts'
import { type Certificates, testCertificates } from './certificates.ts'
import { now, startTestServer, type TestServer, tokens } from './test-server.ts'

let files: Certificates
beforeAll(async () => {
  files = await testCertificates()
  for (const name of ['first', 'second']) await files.issue(name)
})
afterAll(async () => await files[Symbol.asyncDispose]())

/** The pair under names of its own, so that it can be replaced. */
async function pairOf(name: string, as: string): Promise<{ certificateFile: string; keyFile: string }> {
  const pair = { certificateFile: files.at(`${as}.pem`), keyFile: files.at(`${as}-key.pem`) }
  await copyFile(files.at(`${name}.crt`), pair.certificateFile)
  await copyFile(files.at(`${name}.key`), pair.keyFile)
  return pair
}

async function get(server: TestServer, path: string): Promise<{ status: number; text: string; certificate: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string; certificate: string }>()
  const ca = await readFile(files.at('ca.crt'))
  const headers = { authorization: `Bearer ${tokens.read}` }
  const asked = request(`${server.url}${path}`, { ca, headers, agent: false }, async (response) => {
    const peer = (response.socket as unknown as { getPeerCertificate(): PeerCertificate }).getPeerCertificate()
    let text = ''
    for await (const chunk of response) text += String(chunk)
    resolve({ status: response.statusCode ?? 0, text, certificate: String(peer.subject.CN) })
  })
  asked.on('error', reject)
  asked.end()
  return await promise
}

/** By whom it is, whatever a client would think of its dates. */
async function peerOf(server: TestServer): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const port = Number(new URL(server.url).port)
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
    resolve(String(socket.getPeerCertificate().subject.CN))
    socket.destroy()
  })
  socket.on('error', reject)
  return await promise
}

function loggingTo(lines: string[]): { installation: object } {
  const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
  return { installation: { log } }
}

const messages = (lines: readonly string[]): unknown[] =>
  lines.map((line) => (JSON.parse(line) as { msg: unknown }).msg)

describe('HTTPS', () => {
  it('certificate and key configured - serves everything by it', async () => {
    await using server = await startTestServer({ config: { tls: await pairOf('first', 'plain') } })
    expect(server.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
    expect(await get(server, '/healthz')).toEqual({ status: 200, text: '{"status":"ok"}', certificate: 'first' })
    expect((await get(server, '/v1/status')).status).toBe(200)
    expect((await get(server, '/no-such')).status).toBe(404)
  })

  it('TLS 1.1 - is refused, 1.2 and 1.3 are not', async () => {
    await using server = await startTestServer({ config: { tls: await pairOf('first', 'versions') } })
    const ca = await readFile(files.at('ca.crt'))
    const shakes = async (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'): Promise<string> => {
      const { promise, resolve } = Promise.withResolvers<string>()
      // Without the lower level the client itself would refuse 1.1.
      const options = { ca, minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' } as const
      const socket = connect({ ...options, host: '127.0.0.1', port: Number(new URL(server.url).port) })
      socket.on('secureConnect', () => resolve(socket.getProtocol() ?? ''))
      socket.on('error', () => resolve('refused'))
      const outcome = await promise
      socket.destroy()
      return outcome
    }
    expect([await shakes('TLSv1.1'), await shakes('TLSv1.2'), await shakes('TLSv1.3')]).toEqual([
      'refused',
      'TLSv1.2',
      'TLSv1.3',
    ])
  })

  it('plain HTTP to its port - the connection is ended, and the next client is served', async () => {
    await using server = await startTestServer({ config: { tls: await pairOf('first', 'spoken') } })
    const { promise, resolve } = Promise.withResolvers<void>()
    const socket = connectPlain(Number(new URL(server.url).port), '127.0.0.1', () => {
      socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
    })
    socket.on('error', () => {})
    socket.on('data', () => {})
    socket.on('close', () => resolve())
    await promise
    expect((await get(server, '/healthz')).status).toBe(200)
  })

  it('a client that never shakes hands - is cut off once the time is over', async () => {
    await using server = await startTestServer({
      config: { tls: await pairOf('first', 'silent') },
      parts: { requestTimeoutMs: 100 },
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    const socket = connectPlain(Number(new URL(server.url).port), '127.0.0.1')
    socket.on('error', () => {})
    socket.on('data', () => {})
    socket.on('close', () => resolve())
    await promise
  })
})

describe('files that cannot serve HTTPS', () => {
  const start = async (tls: { certificateFile: string; keyFile: string }): Promise<string> => {
    try {
      await using _server = await startTestServer({ config: { tls } })
      return 'started'
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      return `${code}: ${message.replaceAll(`${files.at('')}/`, '')}`
    }
  }

  it('missing, of another key, with a passphrase, no PEM - TLS_INVALID that says which and why', async () => {
    const certificateFile = files.at('first.crt')
    const keyFile = files.at('first.key')
    await files.issue('locked', { passphrase: 'secret' })
    await writeFile(files.at('empty.crt'), '')
    expect(await start({ certificateFile, keyFile })).toBe('started')
    expect(await start({ certificateFile: files.at('none.crt'), keyFile })).toContain(
      'TLS_INVALID: cannot serve HTTPS with none.crt: ENOENT',
    )
    expect(await start({ certificateFile, keyFile: files.at('none.key') })).toContain('HTTPS with none.key: ENOENT')
    expect(await start({ certificateFile, keyFile: files.at('second.key') })).toBe(
      'TLS_INVALID: cannot serve HTTPS with first.crt: it does not belong to the key second.key',
    )
    expect(await start({ certificateFile: files.at('locked.crt'), keyFile: files.at('locked.key') })).toBe(
      'TLS_INVALID: cannot serve HTTPS with locked.key: the key has a passphrase',
    )
    expect(await start({ certificateFile: files.at('empty.crt'), keyFile })).toContain('there is no certificate in it')
    expect(await start({ certificateFile, keyFile: certificateFile })).toContain('there is no private key in it')
  })

  it('a chain that is broken after the first certificate - TLS_INVALID', async () => {
    const first = await readFile(files.at('first.crt'), 'utf8')
    const broken = '-----BEGIN CERTIFICATE-----\nMIIBszCC\n-----END CERTIFICATE-----\n'
    await writeFile(files.at('chain.crt'), `${first.trimEnd()}\n${broken}`)
    expect(await start({ certificateFile: files.at('chain.crt'), keyFile: files.at('first.key') })).toMatch(
      /^TLS_INVALID: cannot serve HTTPS with chain\.crt: /,
    )
  })

  it('taken out of the configuration - the one in use stays until a restart, and nothing is said', async () => {
    const lines: string[] = []
    await using server = await startTestServer({ config: { tls: await pairOf('first', 'kept') }, ...loggingTo(lines) })
    server.reconfigure({ tls: undefined })
    await server.reload()
    expect((await get(server, '/healthz')).certificate).toBe('first')
    expect(messages(lines)).toEqual([])
  })

  it('an expired certificate - serves, and warns', async () => {
    const lines: string[] = []
    const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
    const installation = { log, clock: clockAt('2099-01-01T00:00:00Z') }
    await using server = await startTestServer({ config: { tls: await pairOf('first', 'old') }, installation })
    await server.reload()
    expect(messages(lines)).toEqual(['the TLS certificate has expired: clients refuse it'])
  })
})

describe('files that are renewed', () => {
  it('while it runs - new connections get the new certificate, by itself', async () => {
    const tls = await pairOf('first', 'renewed')
    const lines: string[] = []
    const parts = { certificateLookMs: 20 }
    await using server = await startTestServer({ config: { tls }, parts, ...loggingTo(lines) })
    expect((await get(server, '/healthz')).certificate).toBe('first')
    await pairOf('second', 'next')
    await rename(files.at('next-key.pem'), tls.keyFile)
    await rename(files.at('next.pem'), tls.certificateFile)
    await expect.poll(async () => (await get(server, '/healthz')).certificate).toBe('second')
    expect(messages(lines)).toContain('the renewed TLS certificate is in use')
  })

  it('at a reload, under other names - likewise, at once', async () => {
    await using server = await startTestServer({ config: { tls: await pairOf('first', 'before') } })
    server.reconfigure({ tls: await pairOf('second', 'after') })
    await server.reload()
    expect((await get(server, '/healthz')).certificate).toBe('second')
  })

  it('but broken - the old one stays in use, the log says so once, and mended files are taken', async () => {
    const tls = await pairOf('first', 'broken')
    const lines: string[] = []
    await using server = await startTestServer({ config: { tls }, ...loggingTo(lines) })
    await server.reload()
    await writeFile(tls.keyFile, 'nothing')
    for (const _ of [1, 2, 3]) await server.reload()
    expect((await get(server, '/healthz')).certificate).toBe('first')
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      {
        level: 'error',
        code: 'TLS_INVALID',
        reason: expect.stringContaining('there is no private key in it'),
        msg: 'the renewed TLS certificate cannot be used, the one before stays in use',
      },
    ])
    await pairOf('second', 'broken')
    await server.reload()
    expect((await get(server, '/healthz')).certificate).toBe('second')
  })
})

describe('a renewed pair that clients would refuse by its dates', () => {
  const dates = [
    ['expired', { until: '20240101000000Z' }, 'it expired at 2024-01-01T00:00:00.000Z'],
    ['future', { from: '20970101000000Z' }, 'it is not valid before 2097-01-01T00:00:00.000Z'],
  ] as const

  it.each(dates)(
    '%s, and the one before is valid - that stays in use, the log says so once',
    async (name, range, reason) => {
      await files.issue(name, range)
      const tls = await pairOf('first', `before-${name}`)
      const lines: string[] = []
      await using server = await startTestServer({ config: { tls }, ...loggingTo(lines) })
      // The look at the start must not find files half copied.
      await server.reload()
      await pairOf(name, `before-${name}`)
      for (const _ of [1, 2, 3]) await server.reload()
      expect((await get(server, '/healthz')).certificate).toBe('first')
      expect(server.certificateExpiresAt?.()).toEqual(new Date('2098-01-01T00:00:00Z'))
      expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
        {
          level: 'error',
          code: 'TLS_INVALID',
          reason: `cannot serve HTTPS with ${tls.certificateFile}: ${reason}`,
          msg: 'the renewed TLS certificate cannot be used, the one before stays in use',
        },
      ])
      await pairOf('second', `before-${name}`)
      await server.reload()
      expect((await get(server, '/healthz')).certificate).toBe('second')
    },
  )

  it('not valid yet, once its time has come - is taken', async () => {
    await files.issue('tomorrow', { from: '20261121000000Z' })
    const tls = await pairOf('first', 'today')
    const clock = clockAt(now)
    await using server = await startTestServer({ config: { tls }, installation: { clock } })
    await server.reload()
    await pairOf('tomorrow', 'today')
    await server.reload()
    const before = await peerOf(server)
    clock.advance(24 * 3_600_000)
    await server.reload()
    expect([before, await peerOf(server)]).toEqual(['first', 'tomorrow'])
  })

  it('and the one before has expired as well - is taken', async () => {
    await files.issue('older', { until: '20230101000000Z' })
    await files.issue('newer', { until: '20240101000000Z' })
    const tls = await pairOf('older', 'both')
    await using server = await startTestServer({ config: { tls } })
    await server.reload()
    await pairOf('newer', 'both')
    await server.reload()
    expect(server.certificateExpiresAt?.()).toEqual(new Date('2024-01-01T00:00:00Z'))
  })
})

it('a certificate that is not valid yet at the start - serves, and warns once', async () => {
  const lines: string[] = []
  await files.issue('early', { from: '20970101000000Z' })
  await using server = await startTestServer({ config: { tls: await pairOf('early', 'early') }, ...loggingTo(lines) })
  for (const _ of [1, 2]) await server.reload()
  expect(messages(lines)).toEqual(['the TLS certificate is not valid yet: clients refuse it'])
})

it('the date of expiry - is that of the certificate in use', async () => {
  await using server = await startTestServer({ config: { tls: await pairOf('first', 'dated') } })
  const { validTo } = new X509Certificate(await readFile(files.at('first.crt')))
  expect(server.certificateExpiresAt?.()).toEqual(new Date(validTo))
})
