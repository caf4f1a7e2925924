import { createHmac, hash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/config.ts'
import { reloaded } from '../../src/config/reload.ts'
import { silentLog } from '../../src/log.ts'
import { wire } from '../../src/wire.ts'
import { type HttpRequest, startScriptedServer } from '../support/scripted-http.ts'
import { type ConfigFolder, configFolder } from './folder.ts'

const { signal } = new AbortController()
let folder: ConfigFolder
beforeEach(async () => {
  folder = await configFolder()
})
afterEach(() => folder[Symbol.asyncDispose]())

async function load(store: string): Promise<Config> {
  const rest = 'encryption: { recipients: [key.asc] }\nservers: [{ name: prod, url: postgres://b@db/postgres }]\n'
  return (await folder.load(`store: ${store}\n${rest}`)).config
}

/** AWS Signature Version 4, as a store looks at it. */
function isSignedBy({ method, path, query, headers }: HttpRequest, secret: string): boolean {
  const [, scope = '', names = '', signature] =
    /Credential=[^/]+\/(\S+), SignedHeaders=(\S+), Signature=(\S+)/.exec(headers.authorization ?? '') ?? []
  const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
  const fields = [...query].map((pair) => pair.map(encodeURIComponent).join('=')).sort()
  const lines = names.split(';').map((name) => `${name}:${headers[name]}\n`)
  const body = String(headers['x-amz-content-sha256'])
  const request = [method, path, fields.join('&'), lines.join(''), names, body].join('\n')
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, hash('sha256', request)].join('\n')
  const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${secret}`)
  return hmac(key, text).toString('hex') === signature
}

describe('credentials of a store after a SIGHUP', () => {
  it('id, secret and token – the next request has them, by the SDK and without it; reader and pruner by themselves', async () => {
    await using server = await startScriptedServer(({ method, query }) => ({
      status: 200,
      headers: { etag: '"e"', 'content-type': query.has('list-type') ? 'application/xml' : 'application/octet-stream' },
      body: query.has('list-type') ? '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>' : method,
    }))
    const keys = (name: string, id: string): string =>
      `accessKeyId: ${id}, secretAccessKeyFile: ${name}.secret, sessionTokenFile: ${name}.token`
    const store = (turn: number): string =>
      `{ url: s3://backups/a, endpoint: ${server.endpoint}, region: us-east-1, ${keys('w', `writer-${turn}`)}, reader: { ${keys('r', `reader-${turn}`)} }, pruner: { ${keys('p', `pruner-${turn}`)} } }`
    const turnTo = async (turn: number): Promise<Config> => {
      for (const name of ['w', 'r', 'p']) {
        await folder.write(`${name}.secret`, `secret-${turn}`)
        await folder.write(`${name}.token`, `token-${name}-${turn}\n`)
      }
      return await load(store(turn))
    }
    const first = await turnTo(1)
    const options = { writes: false, needsMarker: false, needsCatalog: false, log: silentLog }
    await using wired = await wire(first, options, signal)
    const { writer, reader, pruner } = wired.installation.stores.one('store')
    const askAll = async (): Promise<string[]> => {
      const from = server.requests.length
      for (const place of [writer, reader, pruner]) {
        await place.head('a', { signal })
        // The first by the SDK, the next ones without.
        for (const key of ['b', 'c']) await place.get(key, { signal })
        for await (const _entry of place.list('', { signal }));
      }
      const asked = server.requests.slice(from).map((request) => {
        const id = /Credential=([^/]+)/.exec(request.headers.authorization ?? '')?.[1]
        const secret = ['secret-1', 'secret-2'].filter((one) => isSignedBy(request, one)).join()
        const by = String(request.headers['user-agent'] ?? '').includes('aws-sdk') ? 'the SDK' : 'ourselves'
        return `${id} ${secret} ${request.headers['x-amz-security-token']} by ${by}`
      })
      return [...new Set(asked)].sort()
    }
    const expected = (turn: number): string[] =>
      ['pruner', 'reader', 'writer'].flatMap((name) =>
        ['ourselves', 'the SDK'].map((by) => `${name}-${turn} secret-${turn} token-${name[0]}-${turn} by ${by}`),
      )
    expect(await askAll()).toEqual(expected(1))
    const { config, needsRestart } = reloaded(first, await turnTo(2))
    expect(needsRestart).toEqual([])
    wired.reconfigure(config)
    expect(await askAll()).toEqual(expected(2))
  })

  const base = 'url: s3://backups/a, accessKeyId: id, secretAccessKeyFile: secret'
  it.each([
    [
      'another bucket with other credentials',
      `{ ${base} }`,
      '{ url: s3://other/a, accessKeyId: b, secretAccessKey: c }',
    ],
    ['credentials where there were none', '{ url: s3://backups/a }', `{ ${base} }`],
    ['none where there were some', `{ ${base} }`, '{ url: s3://backups/a }'],
    ['a reader that is new', `{ ${base} }`, `{ ${base}, reader: { accessKeyId: r, secretAccessKey: s } }`],
    ['another name', `{ ${base} }`, `{ ${base}, name: near }`],
  ])('%s - waits for a restart, and the old credentials stay with the old place', async (_what, before, after) => {
    const first = await load(before)
    const { config, needsRestart } = reloaded(first, await load(after))
    expect(needsRestart).toEqual(['store'])
    expect(config.stores).toBe(first.stores)
  })
})
