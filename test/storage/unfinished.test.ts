import { describe, expect, it } from 'vitest'
import type { HttpAnswer, HttpRequest } from '../support/scripted-http.ts'
import { openScripted, s3Error } from './scripted-store.ts'

// SeaweedFS lists uploads without the time at which they began: taken for very old, one in progress would be ended.

const { signal } = new AbortController()
const old = '2026-01-01T00:00:00Z'
const recent = '2026-02-02T00:00:00Z'
const olderThan = new Date('2026-02-01')

const part = (number: number, modifiedAt?: string): string =>
  `<Part><PartNumber>${number}</PartNumber><ETag>"e"</ETag><Size>5</Size>` +
  `${modifiedAt === undefined ? '' : `<LastModified>${modifiedAt}</LastModified>`}</Part>`
const pageOfParts = (parts: string, next?: number): HttpAnswer => ({
  status: 200,
  body:
    `<ListPartsResult>${parts}<IsTruncated>${next !== undefined}</IsTruncated>` +
    `<NextPartNumberMarker>${next ?? 0}</NextPartNumberMarker></ListPartsResult>`,
})

/** Sweeps a store with one upload, begun at `initiated`; its parts are told as `parts` says until it is aborted. */
async function sweep(parts: (request: HttpRequest) => HttpAnswer, initiated?: string) {
  const time = initiated === undefined ? '' : `<Initiated>${initiated}</Initiated>`
  const uploads =
    `<ListMultipartUploadsResult><Upload><Key>p/x</Key><UploadId>u</UploadId>${time}</Upload>` +
    '<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>'
  let isAborted = false
  await using server = await openScripted(
    (request) => {
      const { method, query } = request
      if (method === 'DELETE') isAborted = true
      if (method === 'DELETE') return { status: 204 }
      if (!query.has('uploadId')) return { status: 200, body: uploads }
      return isAborted ? s3Error(404, 'NoSuchUpload') : parts(request)
    },
    { provider: 'generic' },
  )
  const swept = await server.store.sweepUnfinished(olderThan, { signal })
  expect(isAborted).toBe(swept === 1)
  return { isAborted, pages: server.requests.filter(({ method, query }) => method === 'GET' && query.has('uploadId')) }
}

describe('sweep of an upload that is listed without its time', () => {
  it.each([
    ['whose last part has just arrived - left alone', part(1, old) + part(2, recent), false],
    ['without a part yet - left alone, nothing tells its age', '', false],
    ['with a part that has no time either - left alone', part(1, old) + part(2), false],
    ['whose parts are all old - ended', part(1, old) + part(2, old), true],
  ])('%s', async (_what, parts, expected) => {
    expect((await sweep(() => pageOfParts(parts))).isAborted).toBe(expected)
  })

  it.each([undefined, '0001-01-01T00:00:00Z', '1970-01-01T00:00:00Z'])(
    'and with %s as its time - the same, that is none',
    async (initiated) => {
      expect((await sweep(() => pageOfParts(part(1, recent)), initiated)).isAborted).toBe(false)
    },
  )

  it('whose parts take two pages, the newest on the second - left alone', async () => {
    const { isAborted, pages } = await sweep(({ query }) =>
      query.get('part-number-marker') === '1' ? pageOfParts(part(2, recent)) : pageOfParts(part(1, old), 1),
    )
    expect(isAborted).toBe(false)
    expect(pages).toHaveLength(2)
  })

  it('whose parts come in the same page again and again - left alone', async () => {
    const { isAborted } = await sweep(() => pageOfParts(part(1, old), 1))
    expect(isAborted).toBe(false)
  })

  it('that was completed meanwhile - no error, nothing is ended', async () => {
    expect((await sweep(() => s3Error(404, 'NoSuchUpload'))).isAborted).toBe(false)
  })
})

it('sweep of an upload that is listed with its time - by that alone, its parts are not asked for', async () => {
  const { isAborted, pages } = await sweep(() => pageOfParts(part(1, old)), recent)
  expect(isAborted).toBe(false)
  expect(pages).toEqual([])
})
