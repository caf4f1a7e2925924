import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { startScriptedServer } from '../support/scripted-http.ts'
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
