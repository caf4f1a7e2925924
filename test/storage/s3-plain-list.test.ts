import { describe, expect, it } from 'vitest'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import type { HttpAnswer, HttpRequest } from '../support/scripted-http.ts'
import { collect } from './object-store.suite.ts'
import { openScripted, s3Error } from './scripted-store.ts'

const { signal } = new AbortController()

/** How many requests came from the SDK: it names itself. */
const bySdk = (requests: readonly HttpRequest[]): number =>
  requests.filter(({ headers }) => String(headers['user-agent'] ?? '').includes('aws-sdk')).length

const keys = ['p/a/1', 'p/a/2%20b', 'p/a/3', 'p/a/4']

/** Two objects on each page; the token says where the next one begins. */
function page(request: HttpRequest): HttpAnswer {
  const from = Number(request.query.get('continuation-token')?.replace('at +/', '') ?? 0)
  const objects = keys
    .slice(from, from + 2)
    .map(
      (key) =>
        `<Contents><Key>${key}</Key><LastModified>2026-11-21T17:24:22.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>3</Size></Contents>`,
    )
  const next = from + 2 < keys.length ? `<NextContinuationToken>at +/${from + 2}</NextContinuationToken>` : ''
  return {
    status: 200,
    body: `<ListBucketResult><IsTruncated>${next !== ''}</IsTruncated><EncodingType>url</EncodingType>${objects.join('')}${next}</ListBucketResult>`,
  }
}

const keysIn = async (store: ObjectStore, after?: string): Promise<string[]> =>
  (await collect(store.list('a/', { signal, after }))).map(({ key }) => key)
const all = ['a/1', 'a/2 b', 'a/3', 'a/4']

describe('pages of a listing', () => {
  it('the first by the SDK, the next without it - all keys, signed with their tokens', async () => {
    await using server = await openScripted(page)
    expect(await keysIn(server.store)).toEqual(all)
    expect(await keysIn(server.store, 'a/')).toEqual(all)
    expect(bySdk(server.requests)).toBe(1)
    const [first, second, third] = server.requests
    for (const name of ['list-type', 'encoding-type', 'prefix'])
      expect(second?.query.get(name), name).toBe(first?.query.get(name))
    expect(second?.query.get('continuation-token')).toBe('at +/2')
    expect(third?.query.get('start-after')).toBe('p/a/')
    expect(second?.path).toBe(first?.path)
  })

  it('an object was read before, as the marker of a store is - no page needs the SDK', async () => {
    await using server = await openScripted((request) =>
      request.path.endsWith('/pgproof.json') ? { status: 200, headers: { etag: '"e"' }, body: '{}' } : page(request),
    )
    await server.store.get('pgproof.json', { signal })
    expect(await keysIn(server.store)).toEqual(all)
    expect(bySdk(server.requests)).toBe(1)
  })

  it.each<[string, HttpAnswer]>([
    ['an outage', s3Error(503, 'SlowDown')],
    ['a web page', { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>login</html>' }],
    ['an error with 200', s3Error(200, 'InternalError')],
    ['a page that is cut', { ...page({ query: new URLSearchParams() } as HttpRequest), cutAfter: 150 }],
    ['an empty body', { status: 200, body: '' }],
    [
      'keys of somebody else',
      {
        status: 200,
        body: String(page({ query: new URLSearchParams() } as HttpRequest).body).replaceAll('p/a', 'q/a'),
      },
    ],
  ])('%s once - the SDK asks again, and the listing is complete', async (_what, answer) => {
    let isNext = false
    await using server = await openScripted((request) => {
      if (!isNext) return page(request)
      isNext = false
      return answer
    })
    await keysIn(server.store)
    isNext = true
    expect(await keysIn(server.store)).toEqual(all)
    expect(bySdk(server.requests)).toBe(2)
  })

  it('the clock of the store - known from every page', async () => {
    let hours = 0
    await using server = await openScripted((request) => ({
      ...page(request),
      headers: { date: new Date(Date.now() + hours * 3_600_000).toUTCString() },
    }))
    await keysIn(server.store)
    hours = 1
    await keysIn(server.store)
    expect(bySdk(server.requests)).toBe(1)
    expect(server.store.clockSkewSeconds()).toBeGreaterThan(3_590)
  })
})
