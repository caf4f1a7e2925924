import { once } from 'node:events'
import { createServer, IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, connect, Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { RunAnswer } from '../../src/http/answers.ts'
import { runAnswer, runSchema } from '../../src/http/answers.ts'
import { RunEvents } from '../../src/http/run-events.ts'
import { now, startTestServer, type TestServer, tokens } from './test-server.ts'

type Event = { readonly id: string; readonly event: string; readonly run: RunAnswer }

/** Reads the events one by one; `next` is undefined once the stream has ended. */
async function listen(server: TestServer, id: string, headers: Record<string, string> = {}) {
  const controller = new AbortController()
  const response = await fetch(`${server.url}/v1/runs/${id}/events`, { headers, signal: controller.signal })
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  let text = ''
  const next = async (): Promise<Event | undefined> => {
    for (;;) {
      const end = text.indexOf('\n\n')
      if (end !== -1) {
        const lines = text.slice(0, end).split('\n')
        text = text.slice(end + 2)
        const field = (name: string): string =>
          lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? ''
        if (field('event') === '') continue
        return { id: field('id'), event: field('event'), run: runSchema.parse(JSON.parse(field('data'))) }
      }
      const chunk = await reader?.read()
      if (chunk === undefined || chunk.done) return undefined
      text += decoder.decode(chunk.value)
    }
  }
  return { response, next, leave: () => controller.abort() }
}

/** Has got the first event, and reads nothing of one that is larger than all buffers between here and there. */
async function stalledClient(server: TestServer, id: string) {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
  socket.on('error', () => {})
  const head = `GET /v1/runs/${id}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n`
  socket.write(`${head}Authorization: Bearer ${tokens.read}\r\n\r\n`)
  let text = ''
  while (!text.includes('event: progress')) text += String((await once(socket, 'data'))[0])
  socket.pause()
  server.catalog.updateRun(id, { state: 'running', startedAt: new Date(now), progress: { phase: 'x'.repeat(64e6) } })
  await untilSent()
  const readRest = async (): Promise<string> => {
    const chunks: Buffer[] = []
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.resume()
    await once(socket, 'close')
    return Buffer.concat(chunks).toString()
  }
  return { readRest, leave: () => socket.destroy() }
}

/** Until a change made before would have been sent: one that was made after it, to another run, has been. */
async function untilSent(): Promise<void> {
  await using server = await startTestServer()
  const { id } = server.orders.order(drill)
  const events = await listen(server, id)
  await events.next()
  server.catalog.updateRun(id, { state: 'running', startedAt: new Date(now) })
  await events.next()
  events.leave()
}

const drill = { job: 'drill', server: 'main', database: 'app', trigger: 'http' } as const

describe('events of a run', () => {
  it('a run that waits, goes on and ends - each change, then the end, then the stream ends', async () => {
    await using server = await startTestServer()
    const before = server.orders.order({ ...drill, database: 'other' })
    const { id } = server.orders.order(drill)
    const events = await listen(server, id)
    expect(events.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(events.response.headers.get('cache-control')).toBe('no-store')
    expect(await events.next()).toMatchObject({ id: '1', event: 'progress', run: { id, state: 'queued', position: 1 } })
    server.orders.cancel(before.id)
    expect(await events.next()).toMatchObject({ id: '2', event: 'progress', run: { state: 'queued', position: 0 } })
    server.catalog.updateRun(id, { state: 'running', startedAt: new Date(now) })
    expect(await events.next()).toMatchObject({ id: '3', event: 'progress', run: { state: 'running', position: null } })
    server.catalog.updateRun(id, { progress: { phase: 'fetch', doneBytes: 5, totalBytes: 10 } })
    expect(await events.next()).toMatchObject({ id: '4', run: { progress: { phase: 'fetch', doneBytes: 5 } } })
    server.catalog.updateRun(id, { state: 'succeeded', finishedAt: new Date(now), label: '20261120T120000Z-4f7k' })
    expect(await events.next()).toMatchObject({ id: 'end', event: 'end', run: { state: 'succeeded' } })
    expect(await events.next()).toBe(undefined)
  })

  it('a thousand changes at once - few events, the last change among them', async () => {
    await using server = await startTestServer()
    const { id } = server.orders.order(drill)
    server.catalog.updateRun(id, { state: 'running', startedAt: new Date(now) })
    const events = await listen(server, id)
    await events.next()
    for (let dumpBytes = 1; dumpBytes <= 1000; dumpBytes += 1) server.catalog.updateRun(id, { progress: { dumpBytes } })
    expect(await events.next()).toMatchObject({ id: '2', run: { progress: { dumpBytes: 1000 } } })
    server.catalog.updateRun(id, { progress: { dumpBytes: 1001 } })
    server.catalog.updateRun(id, { state: 'failed', finishedAt: new Date(now) })
    expect(await events.next()).toMatchObject({ event: 'end', run: { state: 'failed', progress: { dumpBytes: 1001 } } })
  })

  it('a run that has ended - its end at once; asked again by a client that has seen it - 204', async () => {
    await using server = await startTestServer()
    const { id } = server.orders.order(drill)
    server.orders.cancel(id)
    const events = await listen(server, id)
    expect(await events.next()).toMatchObject({ id: 'end', event: 'end', run: { state: 'cancelled' } })
    expect(await events.next()).toBe(undefined)
    const again = await listen(server, id, { 'last-event-id': 'end' })
    expect(again.response.status).toBe(204)
  })

  it('a change that nobody can see - no event; the next one is', async () => {
    await using server = await startTestServer()
    const { id } = server.orders.order(drill)
    const { next } = await listen(server, id)
    expect((await next())?.run.state).toBe('queued')
    server.catalog.updateRun(id, { state: 'queued' })
    await untilSent()
    server.catalog.updateRun(id, { state: 'running', startedAt: new Date(now) })
    expect(await next()).toMatchObject({ id: '2', event: 'progress', run: { state: 'running' } })
  })

  it('asked for after the end, or by a client that is gone already - refused, and nothing listens', async () => {
    await using server = await startTestServer()
    const run = server.orders.order(drill)
    const events = new RunEvents(server.catalog, (one) => runAnswer(one, null))
    const gone = new ServerResponse(new IncomingMessage(new Socket()))
    gone.destroy()
    events.stream(run, gone)
    events.assertRoom()
    events.close()
    expect(() => events.assertRoom()).toThrow(expect.objectContaining({ code: 'SHUTTING_DOWN' }))
    expect(gone.writableEnded).toBe(false)
  })

  it('nothing changes - something is sent all the same now and then, so that a proxy and the client know that it lives', async () => {
    await using server = await startTestServer()
    const run = server.orders.order(drill)
    const events = new RunEvents(server.catalog, (one) => runAnswer(one, null), 20)
    const http = createServer((_request, response) => events.stream(run, response)).listen(0, '127.0.0.1')
    await once(http, 'listening')
    const { body } = await fetch(`http://127.0.0.1:${(http.address() as AddressInfo).port}/`)
    let text = ''
    for await (const chunk of body ?? []) {
      text += Buffer.from(chunk).toString()
      if (text.split(': still here\n\n').length > 3) break
    }
    expect(text).toMatch(/^retry: 3000\n\nid: 1\nevent: progress\ndata: .+\n\n(: still here\n\n)+$/)
    events.close()
    http.close()
    await once(http, 'close')
  })

  it('without the right to read - 401 as a problem, no stream', async () => {
    await using server = await startTestServer()
    const { id } = server.orders.order(drill)
    const headers = { via: '1.1 proxy' }
    const reply = await server.call('GET', `/v1/runs/${id}/events`, { as: null, headers })
    expect(reply.problem().code).toBe('UNAUTHORIZED')
  })

  it('the server closes - the stream ends in order, and closing takes no time', async () => {
    const server = await startTestServer()
    const { id } = server.orders.order(drill)
    const events = await listen(server, id)
    await events.next()
    const before = performance.now()
    await server.close()
    expect(performance.now() - before).toBeLessThan(1000)
    expect(await events.next()).toBe(undefined)
  })

  it('a client that stops reading - misses what was overtaken meanwhile, and still gets the end', async () => {
    await using server = await startTestServer()
    const { id } = server.orders.order(drill)
    const client = await stalledClient(server, id)
    for (let count = 0; count < 3; count += 1) {
      server.catalog.updateRun(id, { progress: { phase: `overtaken ${count}` } })
      await untilSent()
    }
    server.catalog.updateRun(id, { state: 'succeeded', finishedAt: new Date(now) })
    await untilSent()
    const text = await client.readRest()
    expect(text).toContain('event: end')
    expect(text).not.toMatch(/overtaken [01]/)
  })

  it('a client that stops reading - does not hold the close for longer than its grace', async () => {
    const server = await startTestServer()
    const { id } = server.orders.order(drill)
    const client = await stalledClient(server, id)
    const before = performance.now()
    await server.close()
    expect(performance.now() - before).toBeLessThan(5000)
    client.leave()
  })

  it('clients that leave - leave nothing that listens; a hundred that stay - the next one gets 429', async () => {
    await using server = await startTestServer()
    const { id } = server.orders.order(drill)
    const path = `/v1/runs/${id}/events`
    const listeners = await Promise.all(Array.from({ length: 100 }, () => listen(server, id)))
    expect((await server.call('GET', path)).problem()).toMatchObject({ status: 429, code: 'RATE_LIMITED' })
    for (const { leave } of listeners) leave()
    const deadline = performance.now() + 5000
    for (;;) {
      const { response, leave } = await listen(server, id)
      leave()
      if (response.status === 200) break
      if (performance.now() > deadline) throw new Error('the streams of clients that left are still counted')
    }
  })
})
