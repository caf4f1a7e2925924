import { describe, expect, it } from 'vitest'
import type { HttpAnswer } from '../support/scripted-http.ts'
import { openScripted, s3Error } from './scripted-store.ts'

const { signal } = new AbortController()

const redirect = { ...s3Error(301, 'PermanentRedirect'), headers: { 'x-amz-bucket-region': 'eu-west-1' } }
const malformed = (inside: string): HttpAnswer => ({
  status: 400,
  body: `<?xml version="1.0"?><Error><Code>AuthorizationHeaderMalformed</Code>${inside}</Error>`,
})
const expecting = "<Message>The region 'us-east-1' is wrong; expecting 'eu-west-1'</Message>"

describe('a bucket in another region', () => {
  it.each<[string, HttpAnswer]>([
    ['a redirect with a header', redirect],
    ['a refusal with an element', malformed('<Message>wrong</Message><Region>eu-west-1</Region>')],
    ['a refusal in words', malformed(expecting)],
  ])('%s - every call is STORE_DENIED, and the hint names the region to set', async (_how, answer) => {
    // Answers to HEAD have no body.
    await using server = await openScripted(({ method }) => (method === 'HEAD' ? { ...answer, body: '' } : answer))
    for (const call of [
      () => server.store.put('a', Buffer.from('x'), { signal }),
      () => server.store.get('a', { signal }),
      () => server.store.head('a', { signal }),
      async () => {
        for await (const _ of server.store.list('', { signal }));
      },
    ])
      await expect(call()).rejects.toMatchObject({
        code: 'STORE_DENIED',
        message: expect.stringContaining('the bucket is in another region than `store.region`'),
        hint: expect.stringContaining('Set `store.region: eu-west-1`'),
      })
  })

  it('the store does not say which - the hint says what to set', async () => {
    await using server = await openScripted(() => s3Error(301, 'PermanentRedirect'))
    await expect(server.store.get('a', { signal })).rejects.toMatchObject({
      code: 'STORE_DENIED',
      hint: expect.stringContaining('Set `store.region` to the region of the bucket'),
    })
  })
})
