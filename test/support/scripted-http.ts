import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

export type HttpRequest = {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export type HttpAnswer = {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  /** Ends the connection after this much of the body. */
  readonly cutAfter?: number
}

/** An HTTP server on 127.0.0.1 whose answers are written by the test, for what no healthy server says; over TLS with `tls`. */
export async function startScriptedServer(
  answer: (request: HttpRequest) => HttpAnswer,
  tls?: { readonly key: string; readonly cert: string },
): Promise<{ readonly endpoint: string; readonly requests: HttpRequest[] } & AsyncDisposable> {
  const requests: HttpRequest[] = []
  const listener: RequestListener = async (incoming, outgoing) => {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of incoming) chunks.push(chunk as Buffer)
    } catch {
      // The client hung up in the middle; nothing is left to answer.
      return
    }
    const url = new URL(incoming.url ?? '', 'http://127.0.0.1')
    const request = {
      method: incoming.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      headers: incoming.headers,
      body: Buffer.concat(chunks),
    }
    requests.push(request)
    const { status, headers = {}, body = '', cutAfter } = answer(request)
    const bytes = Buffer.from(body)
    outgoing.writeHead(status, { 'content-length': bytes.length, ...headers })
    if (cutAfter === undefined) outgoing.end(request.method === 'HEAD' ? undefined : bytes)
    else outgoing.write(bytes.subarray(0, cutAfter), () => outgoing.destroy())
  }
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
