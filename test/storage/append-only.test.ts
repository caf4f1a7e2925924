import { expect, it } from 'vitest'
import type { StoreProvider } from '../../src/storage/store-settings.ts'
import { chunks } from './object-store.suite.ts'
import { mebibyte, openScripted, s3Error, takingServer } from './scripted-store.ts'

// A policy of the bucket can refuse every write that does not carry the condition (docs/rights.md).

const { signal } = new AbortController()

it.each([
  ['aws', true, ['*', '*', '*']],
  ['ceph', true, ['*', '*', '*']],
  ['b2', true, [undefined, undefined, undefined]],
  ['aws', false, [undefined, undefined, undefined]],
] as [StoreProvider, boolean, (string | undefined)[]][])(
  'provider %s, appendOnly %s - the condition of a small write, of one that is not small and of the end of an upload',
  async (provider, isAppendOnly, expected) => {
    await using server = await openScripted(takingServer(), { provider, isAppendOnly })
    await server.store.put('small', Buffer.from('x'), { signal })
    await server.store.write('larger', chunks(mebibyte, mebibyte), { signal })
    await server.store.write('large', chunks(6 * mebibyte, mebibyte), { signal })
    const visible = server.requests.filter(
      ({ method, query }) =>
        (method === 'PUT' && !query.has('partNumber')) || (method === 'POST' && query.has('uploadId')),
    )
    expect(visible.map(({ headers }) => headers['if-none-match'])).toEqual(expected)
  },
)

it('somebody else has written there - STORE_EXISTS, nothing of theirs is removed', async () => {
  await using server = await openScripted(
    ({ method }) =>
      method === 'HEAD'
        ? { status: 200, headers: { etag: '"e"', 'content-length': '3', 'x-amz-meta-pgproof-write': 'another' } }
        : s3Error(412, 'PreconditionFailed'),
    { provider: 'aws', isAppendOnly: true },
  )
  await expect(server.store.put('small', Buffer.from('x'), { signal })).rejects.toMatchObject({ code: 'STORE_EXISTS' })
  expect(server.requests.some(({ method }) => method === 'DELETE')).toBe(false)
})
