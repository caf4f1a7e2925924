import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { startScriptedServer } from '../support/scripted-http.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { hurriedClock } from '../support/test-bucket.ts'

const run = promisify(execFile)

describe('a store whose certificate is of a CA of our own', () => {
  const { signal } = new AbortController()
  let folder: string
  const at = (name: string): string => join(folder, name)

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pgproof-ca-'))
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    await run('openssl', [
      ...['req', '-x509', ...key, '-subj', '/CN=Our CA', '-keyout', at('ca.key'), '-out', at('ca.crt')],
    ])
    for (const [name, address] of [
      ['here', 'IP:127.0.0.1'],
      ['elsewhere', 'DNS:s3.example.com'],
    ] as const)
      await run('openssl', [
        ...['req', '-x509', ...key, '-subj', `/CN=${name}`, '-addext', `subjectAltName=${address}`],
        ...['-addext', 'basicConstraints=critical,CA:FALSE', '-CA', at('ca.crt'), '-CAkey', at('ca.key')],
        ...['-keyout', at(`${name}.key`), '-out', at(`${name}.crt`)],
      ])
  })
  afterAll(async () => {
    await rm(folder, { recursive: true })
  })

  const open = async (name: 'here' | 'elsewhere', caFile?: string) => {
    const tls = { key: await readFile(at(`${name}.key`), 'utf8'), cert: await readFile(at(`${name}.crt`), 'utf8') }
    const server = await startScriptedServer(() => ({ status: 200, headers: { etag: '"e"' } }), tls)
    const store = new S3Store(settings(server.endpoint, caFile), { clock: hurriedClock, log: silentLog })
    return { store, requests: server.requests, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  }
  /** The store, with a line in front of it on which what is encrypted can be damaged. */
  const openLine = async (over: object = {}) => {
    const tls = { key: await readFile(at('here.key'), 'utf8'), cert: await readFile(at('here.crt'), 'utf8'), ...over }
    const server = await startScriptedServer(() => ({ status: 200, headers: { etag: '"e"' } }), tls)
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: Number(new URL(server.endpoint).port) })
    const endpoint = `https://127.0.0.1:${proxy.port}`
    const store = new S3Store(settings(endpoint, at('ca.crt')), { clock: hurriedClock, log: silentLog })
    return {
      ...{ store, proxy, requests: server.requests },
      [Symbol.asyncDispose]: async () => {
        await store.close()
        await proxy.stop()
        await server[Symbol.asyncDispose]()
      },
    }
  }
  const damaged = (chunk: Buffer): Buffer => {
    chunk.writeUInt8(chunk.readUInt8(chunk.length - 1) ^ 1, chunk.length - 1)
    return chunk
  }
  const settings = (endpoint: string, caFile?: string) => ({
    url: 's3://bucket/p',
    endpoint,
    provider: 'generic' as const,
    accessKeyId: 'id',
    secretAccessKey: () => 'secret',
    caFile,
  })

  it('CA configured - the store answers', async () => {
    await using server = await open('here', at('ca.crt'))
    await server.store.put('a', Buffer.from('x'), { signal })
    expect(server.requests).toHaveLength(1)
  })

  it('CA in a file of several - the store answers', async () => {
    const ca = await readFile(at('ca.crt'), 'utf8')
    await writeFile(at('bundle.crt'), `# ours\n${await readFile(at('elsewhere.crt'), 'utf8')}\n\nours\n${ca}`)
    await using server = await open('here', at('bundle.crt'))
    await server.store.put('a', Buffer.from('x'), { signal })
  })

  it('no CA configured - STORE_UNREACHABLE that says which setting mends it, and nothing was sent', async () => {
    await using server = await open('here')
    await expect(server.store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringMatching(/certificate.*`store\.caFile`/),
    })
    expect(server.requests).toEqual([])
  })

  it('certificate of another host - STORE_UNREACHABLE that names the hosts, not the CA', async () => {
    await using server = await open('elsewhere', at('ca.crt'))
    const error: unknown = await server.store.put('a', Buffer.from('x'), { signal }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('127.0.0.1'),
    })
    expect(String(error)).not.toContain('caFile')
  })

  it('no TLS there at all - STORE_UNREACHABLE, which is certain: nobody looks for an object', async () => {
    await using server = await startScriptedServer(() => ({ status: 200, headers: { etag: '"e"' } }))
    const endpoint = server.endpoint.replace('http:', 'https:')
    const store = new S3Store(settings(endpoint, at('ca.crt')), { clock: hurriedClock, log: silentLog })
    await expect(store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('wrong version number'),
    })
    expect(server.requests).toEqual([])
  })

  it('a server that wants a certificate of ours - STORE_UNREACHABLE, tried once', async () => {
    await using line = await openLine({ requestCert: true, ca: await readFile(at('elsewhere.crt'), 'utf8') })
    await expect(line.store.put('a', Buffer.from('x'), { signal })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('certificate required'),
    })
    expect(line.proxy.connections()).toBe(1)
    expect(line.requests).toEqual([])
  })

  it('an answer that was damaged on the way - asked again over another connection', async () => {
    await using line = await openLine()
    const { store, proxy, requests } = line
    await store.put('a', Buffer.from('x'), { signal })
    for (const call of [() => store.put('b', Buffer.from('x'), { signal }), () => store.head('a', { signal })]) {
      const before = { requests: requests.length, connections: proxy.connections() }
      proxy.changeAnswer = (chunk) => {
        proxy.changeAnswer = undefined
        return damaged(chunk)
      }
      await call()
      expect(requests).toHaveLength(before.requests + 2)
      expect(proxy.connections()).toBe(before.connections + 1)
    }
  })

  it('a request that was damaged on the way - the server says so, and it is sent again', async () => {
    await using line = await openLine()
    await line.store.put('a', Buffer.from('x'), { signal })
    line.proxy.onRequest = (chunk) => {
      line.proxy.onRequest = undefined
      damaged(chunk)
    }
    await line.store.put('b', Buffer.from('x'), { signal })
    expect(line.requests.map(({ path }) => path)).toEqual(['/bucket/p/a', '/bucket/p/b'])
  })

  it('every answer to a put is damaged - STORE_UNCERTAIN: the server has taken it', async () => {
    await using line = await openLine()
    await line.store.put('a', Buffer.from('x'), { signal })
    line.proxy.changeAnswer = damaged
    await expect(line.store.put('b', Buffer.from('x'), { signal })).rejects.toMatchObject({
      code: 'STORE_UNCERTAIN',
      cause: { code: 'STORE_UNREACHABLE' },
    })
    expect(line.requests.at(-1)).toMatchObject({ method: 'PUT', path: '/bucket/p/b' })
  })

  it.each([
    ['that is not there', 'nowhere.crt', undefined],
    ['without a certificate', 'empty.crt', 'not a certificate\n'],
    ['with a broken certificate', 'broken.crt', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
  ])('CA file %s - USAGE_INVALID that names it', async (_what, name, text) => {
    if (text !== undefined) await writeFile(at(name), text)
    const make = () => new S3Store(settings('https://127.0.0.1:1', at(name)), { clock: hurriedClock, log: silentLog })
    expect(make).toThrow(expect.objectContaining({ code: 'USAGE_INVALID', message: expect.stringContaining(name) }))
  })
})
