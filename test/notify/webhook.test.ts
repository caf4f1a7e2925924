import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Secret } from '../../src/config/secret.ts'
import type { Notice } from '../../src/notify/notice.ts'
import { tryEntries } from '../../src/notify/try-entries.ts'
import { slackMessage, webhookChannel } from '../../src/notify/webhook.ts'
import { noticeOf, pingTo, webhookTo } from './notices.ts'
import { startReceiver } from './receiver.ts'

const deliver = (entry: ReturnType<typeof webhookTo>, notice: Notice = noticeOf()) =>
  webhookChannel(entry, () => new Date()).deliver(notice, AbortSignal.timeout(5_000))

describe('a webhook', () => {
  it('JSON - the notice as it is, by POST, with the token', async () => {
    await using receiver = await startReceiver()
    expect(await deliver(webhookTo(`${receiver.origin}/hook?x=1`, { token: 'abc' }))).toEqual({ isDelivered: true })
    expect(receiver.received).toEqual([
      {
        method: 'POST',
        path: '/hook?x=1',
        authorization: 'Bearer abc',
        type: 'application/json',
        body: JSON.stringify(noticeOf()),
      },
    ])
  })

  it('a user and a password in the URL - sent as such; no token, nothing', async () => {
    await using receiver = await startReceiver()
    await deliver(webhookTo(`http://ops:p%40ss@127.0.0.1:${receiver.port}/`))
    await deliver(webhookTo(receiver.origin))
    expect(receiver.received.map(({ authorization }) => authorization)).toEqual([
      `Basic ${Buffer.from('ops:p@ss').toString('base64')}`,
      undefined,
    ])
  })

  it('a redirect - not followed: nobody else gets the notice or the token', async () => {
    await using thief = await startReceiver()
    await using receiver = await startReceiver()
    receiver.answer(() => ({ status: 307, headers: { location: thief.origin } }))
    expect(await deliver(webhookTo(receiver.origin, { token: 'abc' }))).toEqual({
      isDelivered: false,
      reason: 'it redirects elsewhere (307): give the final URL',
      isRetryable: false,
      retryAfterMs: null,
    })
    expect(thief.received).toEqual([])
  })

  it.each([
    // A word of the reason is the password.
    ['connect', 2, 'ECONNREFUSED'],
    ['port', 1, 'it could not be reached'],
  ])(
    'nobody listens, and the password is a word of the reason: %s - another reason',
    async (password, port, reason) => {
      expect(await deliver(webhookTo(`http://ops:${password}@127.0.0.1:${port}/`))).toMatchObject({
        ...{ isDelivered: false, isRetryable: true, reason },
      })
    },
  )

  it('the test of all entries, and one is overloaded - which one and why, the others arrive', async () => {
    await using busy = await startReceiver()
    await using receiver = await startReceiver()
    busy.answer(() => ({ status: 503, headers: { 'retry-after': new Date().toUTCString() } }))
    const entries = [webhookTo(busy.origin), webhookTo(receiver.origin), pingTo(receiver.origin)]
    const tried = await tryEntries(entries, systemClock, new AbortController().signal)
    expect(tried.map(({ error }) => error?.message ?? null)).toEqual([
      `the notice by notify.0 (webhook 127.0.0.1:${busy.port}) could not be delivered: it answered 503 Service Unavailable`,
      null,
      null,
    ])
    expect(receiver.received).toHaveLength(2)
  })

  it('the name of the target - the host and nothing that is secret', () => {
    const url = 'https://user:pass@hooks.example.com:8443/services/SECRET?key=SECRET'
    const { name } = webhookChannel({ ...webhookTo(url), token: new Secret('t') }, () => new Date())
    expect(name).toBe('webhook hooks.example.com:8443')
  })
})

describe('the Slack format', () => {
  it.each([
    ['failure', false, 'danger'],
    ['recovery', false, 'good'],
    ['success', false, 'good'],
    ['failure', true, '#439fe0'],
    ['test', true, '#439fe0'],
  ] as const)('%s (test: %s) - the title, the text and a colour', (event, isTest, color) => {
    expect(slackMessage(noticeOf({ event, isTest, title: 'a title', text: 'a\nb' }))).toEqual({
      text: 'a title',
      attachments: [{ color, fallback: 'a title', text: 'a\nb' }],
    })
  })

  it('a database that is named like markup - it is text and calls nobody', async () => {
    await using receiver = await startReceiver()
    const title = 'FAILED backup of main/<!channel> & @all <https://evil.example|click>'
    await deliver(webhookTo(receiver.origin, { format: 'slack' }), noticeOf({ title }))
    const [document] = receiver.documents()
    expect(document?.['text']).toBe(
      'FAILED backup of main/&lt;!channel&gt; &amp; @\u200ball &lt;https://evil.example|click&gt;',
    )
  })
})
