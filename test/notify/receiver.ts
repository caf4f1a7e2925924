import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { waitFor } from '../commands/cli.ts'

export type Received = {
  readonly method: string
  /** With its query. */
  readonly path: string
  readonly authorization: string | undefined
  readonly type: string | undefined
  readonly body: string
}

export type Reply = { readonly status: number; readonly headers?: Record<string, string> } | 'hang' | 'cut'

/** A real HTTP server that takes notices and pings and answers what the test says. */
export type Receiver = AsyncDisposable & {
  readonly origin: string
  readonly port: number
  readonly received: Received[]
  /** What it answers from now on, by how many it has received before. */
  answer(reply: (received: Received, index: number) => Reply): void
  /** Waits until so many have come. */
  until(count: number): Promise<readonly Received[]>
  /** The bodies as JSON. */
  documents(): Record<string, unknown>[]
}

export async function startReceiver(tls?: { readonly key: string; readonly cert: string }): Promise<Receiver> {
  const received: Received[] = []
  let reply: (received: Received, index: number) => Reply = () => ({ status: 200 })
  const listener: Parameters<typeof createServer>[1] = async (incoming, outgoing) => {
    let body = ''
    incoming.setEncoding('utf8')
    for await (const chunk of incoming) body += chunk
    const { authorization, 'content-type': type } = incoming.headers
    const one = { method: incoming.method ?? '', path: incoming.url ?? '', authorization, type, body }
    const given = reply(one, received.push(one) - 1)
    if (given === 'cut') outgoing.destroy()
    else if (given !== 'hang') outgoing.writeHead(given.status, given.headers).end('ok')
  }
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    origin: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    port,
    received,
    answer(next) {
      reply = next
    },
    async until(count) {
      await waitFor(`${count} requests, there are ${received.length}`, () => received.length >= count)
      return received
    },
    documents: () => received.map(({ body }) => JSON.parse(body) as Record<string, unknown>),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
