import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** What befalls one request. Bytes of a request count its body, those of an answer its head too. */
export type Fault =
  | { readonly kind: 'reset-request' | 'stall-request'; readonly afterBytes: number }
  | { readonly kind: 'reset-answer' | 'end-answer' | 'stall-answer'; readonly afterBytes: number }
  /** The proxy's own answer; the server never hears of the request. Early: before the body has been read. */
  | {
      readonly kind: 'answer'
      readonly status: number
      readonly code: string
      readonly isEarly: boolean
      readonly retryAfterSeconds?: number
    }
  /** The server acts on the request, its answer is lost: reset, silence, or a 500 in its place. */
  | { readonly kind: 'lose-answer'; readonly instead: 'reset' | 'silence' | 'status' }
  | { readonly kind: 'forward-twice' }
  /** Every piece of the request waits before it is passed on; the line is never idle. */
  | { readonly kind: 'trickle-request'; readonly everyMs: number }
  | { readonly kind: 'trickle'; readonly pieces: number; readonly everyMs: number }
  /** The body is cut, and its length says that this is all. */
  | { readonly kind: 'short-body'; readonly share: number }

export type ProxiedRequest = {
  /** S3's name, `UploadPart`. */
  readonly operation: string
  readonly path: string
  /** How many requests with this operation and path there were before. */
  readonly nth: number
}

/** What goes wrong, and when. */
export type FaultPlan = {
  faultOf(request: ProxiedRequest): Fault | undefined
  /** Whether the n-th connection (from 0) is reset as soon as it is made. */
  refuses(connection: number): boolean
  /** Before the n-th request (from 0) is read, the port is closed for so long. */
  outageMs(request: number): number
}

export type FaultProxy = {
  readonly endpoint: string
  /** Every fault that happened, `UploadPart: reset-request`. */
  readonly happened: readonly string[]
  readonly requests: () => number
  /** Connections of clients that are open. */
  readonly open: () => number
  /** Reads on where it has stopped reading, without passing anything on, so that it sees who has hung up. */
  release(): void
  stop(): Promise<void>
}

/** An HTTP proxy on 127.0.0.1 in front of one S3 server that does what the plan says, down to single bytes. */
export async function startFaultProxy(endpoint: string, plan: FaultPlan): Promise<FaultProxy> {
  const target = new URL(endpoint)
  const agent = new Agent({ keepAlive: true })
  const happened: string[] = []
  const seen = new Map<string, number>()
  const clients = new Set<Socket>()
  const unread = new Set<IncomingMessage>()
  const outages = new AbortController()
  let connections = 0
  let requests = 0
  let port = 0

  const server = createServer((incoming, outgoing) => {
    void serve(incoming, outgoing).catch(() => reset(incoming.socket))
  })
  server.keepAliveTimeout = 60_000
  server.on('connection', (socket: Socket) => {
    socket.on('error', () => {})
    if (plan.refuses(connections++)) {
      happened.push('connection: refused')
      socket.resetAndDestroy()
      return
    }
    clients.add(socket)
    socket.once('close', () => clients.delete(socket))
  })
  const listen = async () => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  }

  const serve = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    incoming.on('error', () => {})
    unread.add(incoming)
    incoming.once('close', () => unread.delete(incoming))
    const url = new URL(incoming.url ?? '', 'http://proxy')
    const operation = operationOf(incoming.method ?? '', url)
    const path = `${url.pathname}${url.searchParams.get('partNumber') ?? ''}`
    const name = `${operation} ${path}`
    const nth = seen.get(name) ?? 0
    seen.set(name, nth + 1)
    const outageMs = plan.outageMs(requests++)
    if (outageMs > 0) {
      happened.push('port: closed for a while')
      server.close()
      for (const socket of clients) reset(socket)
      await delay(outageMs, undefined, { signal: outages.signal })
      return await listen()
    }
    const fault = plan.faultOf({ operation, path, nth })
    if (fault !== undefined) happened.push(`${operation}: ${fault.kind}`)
    switch (fault?.kind) {
      case 'answer':
        if (!fault.isEarly) for await (const _ of incoming);
        return answer(outgoing, fault)
      case 'reset-request':
        return await forward(incoming, fault.afterBytes, () => reset(incoming.socket))
      case 'stall-request':
        return await forward(incoming, fault.afterBytes, () => incoming.pause())
    }
    const replies = await ask(incoming, fault)
    const reply = replies.at(-1) as IncomingMessage
    reply.on('error', () => reset(incoming.socket))
    for (const other of replies.slice(0, -1)) other.resume()
    await pass(reply, incoming, outgoing, fault)
  }

  /** Sends the request on to the server, perhaps twice at the same time; resolves with the heads of the answers. */
  const ask = async (incoming: IncomingMessage, fault: Fault | undefined): Promise<IncomingMessage[]> => {
    const upstream = Array.from({ length: fault?.kind === 'forward-twice' ? 2 : 1 }, () => open(incoming))
    const replies = upstream.map(async (to) => (await once(to, 'response'))[0] as IncomingMessage)
    const whole = Promise.all(replies)
    whole.catch(() => {})
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      if (fault?.kind === 'trickle-request') await delay(fault.everyMs)
      for (const to of upstream) {
        if (to.write(chunk) || to.destroyed) continue
        const waiting = new AbortController()
        await Promise.race([once(to, 'drain', { signal: waiting.signal }), whole]).finally(() => waiting.abort())
      }
    }
    for (const to of upstream) to.end()
    return await whole
  }

  const open = (incoming: IncomingMessage) => {
    const { method, url: path, rawHeaders } = incoming
    const to = request({
      ...{ host: target.hostname, port: target.port, method, path, agent, setHost: false },
      headers: rawHeaders as unknown as readonly string[],
    })
    to.on('error', () => {})
    const hangUp = () => to.destroy()
    incoming.socket.once('close', hangUp)
    to.once('close', () => incoming.socket.off('close', hangUp))
    return to
  }

  /** Sends the beginning of the request on, then does what is planned. */
  const forward = async (incoming: IncomingMessage, bytes: number, then: () => void): Promise<void> => {
    const to = open(incoming)
    to.flushHeaders()
    let left = bytes
    incoming.on('data', (chunk: Buffer) => {
      if (left <= 0) return
      const isRoom = to.write(chunk.subarray(0, left))
      left -= chunk.length
      if (left <= 0) return then()
      if (isRoom) return
      incoming.pause()
      to.once('drain', () => incoming.resume())
    })
    if (left <= 0) then()
    // A body that is shorter than that: nothing comes after its end.
    incoming.once('end', () => {
      if (left > 0) then()
    })
    await once(incoming.socket, 'close')
    to.destroy()
  }

  await listen()
  return {
    endpoint: `http://127.0.0.1:${port}`,
    happened,
    requests: () => requests,
    open: () => clients.size,
    release: () => {
      for (const incoming of unread) incoming.resume()
    },
    stop: async () => {
      outages.abort()
      agent.destroy()
      for (const socket of clients) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** Passes the answer on, or as much of it as the fault lets through. */
async function pass(
  reply: IncomingMessage,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  fault: Fault | undefined,
): Promise<void> {
  const { socket } = incoming
  switch (fault?.kind) {
    case 'lose-answer':
      reply.resume()
      if (fault.instead === 'reset') reset(socket)
      if (fault.instead === 'status') answer(outgoing, { status: 500, code: 'InternalError', isEarly: false })
      return
    case 'reset-answer':
    case 'end-answer':
    case 'stall-answer': {
      const bytes = (await raw(reply)).subarray(0, fault.afterBytes)
      if (fault.kind === 'stall-answer') socket.write(bytes)
      else if (fault.kind === 'end-answer') socket.end(bytes)
      else socket.write(bytes, () => reset(socket))
      return
    }
    case 'short-body': {
      const body = await bodyOf(reply)
      const bytes = body.subarray(0, Math.floor(body.length * fault.share))
      outgoing.writeHead(reply.statusCode ?? 0, { 'content-type': 'application/xml', 'content-length': bytes.length })
      outgoing.end(bytes)
      return
    }
    case 'trickle': {
      const body = await bodyOf(reply)
      outgoing.writeHead(reply.statusCode ?? 0, reply.rawHeaders)
      const size = Math.max(1, Math.ceil(body.length / fault.pieces))
      for (let at = 0; at < body.length && !socket.destroyed; at += size) {
        outgoing.write(body.subarray(at, at + size))
        await delay(fault.everyMs)
      }
      outgoing.end()
      return
    }
  }
  outgoing.writeHead(reply.statusCode ?? 0, reply.rawHeaders)
  reply.pipe(outgoing)
}

function answer(
  outgoing: ServerResponse,
  { status, code, isEarly, retryAfterSeconds }: Omit<Extract<Fault, { kind: 'answer' }>, 'kind'>,
): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>by the proxy</Message></Error>`
  outgoing.writeHead(status, {
    'content-type': 'application/xml',
    'content-length': body.length,
    ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
    ...(isEarly ? { connection: 'close' } : {}),
  })
  outgoing.end(outgoing.req.method === 'HEAD' ? undefined : body)
}

/** The answer as it goes over the line. */
async function raw(reply: IncomingMessage): Promise<Buffer> {
  const lines = [`HTTP/1.1 ${reply.statusCode} ${reply.statusMessage}`]
  const { rawHeaders } = reply
  for (let index = 0; index < rawHeaders.length; index += 2)
    lines.push(`${rawHeaders[index]}: ${rawHeaders[index + 1]}`)
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  const body = await bodyOf(reply)
  const isChunked = reply.headers['transfer-encoding'] === 'chunked'
  const size = `${body.length.toString(16)}\r\n`
  return isChunked && body.length > 0
    ? Buffer.concat([head, Buffer.from(size), body, Buffer.from('\r\n0\r\n\r\n')])
    : Buffer.concat([head, body])
}

async function bodyOf(reply: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of reply as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function reset(socket: Socket): void {
  if (socket.destroyed) return
  // The client hung up first and our end is shut down: a reset of that is refused (EINVAL), and Node never closes it.
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

function operationOf(method: string, { pathname, searchParams }: URL): string {
  const isBucket = pathname.split('/').filter((part) => part !== '').length < 2
  const has = (name: string) => searchParams.has(name)
  if (has('uploads')) return method === 'POST' ? 'CreateMultipartUpload' : 'ListMultipartUploads'
  if (has('uploadId'))
    return { PUT: 'UploadPart', POST: 'CompleteMultipartUpload', DELETE: 'AbortMultipartUpload' }[method] ?? 'ListParts'
  if (isBucket) return method === 'HEAD' ? 'HeadBucket' : 'ListObjectsV2'
  return { PUT: 'PutObject', GET: 'GetObject', HEAD: 'HeadObject', DELETE: 'DeleteObject' }[method] ?? method
}
