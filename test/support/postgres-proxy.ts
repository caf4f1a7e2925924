import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A query on its way to the server, by either of the two protocols of queries. */
export type PassingQuery = { readonly text: string; readonly values: readonly (string | null)[] }

/**
 * What befalls a query: nothing; its connection breaks before the server hears of it, or after; or an error is answered in
 * the place of the server, which never hears of it.
 */
export type QueryFate =
  | undefined
  | 'cut'
  | 'lose the answer'
  | { readonly sqlState: string; readonly message: string; readonly detail?: string }

/** While it is awaited, the query waits: that is the moment between two queries. */
export type Befall = (query: PassingQuery) => QueryFate | Promise<QueryFate>

export type PostgresProxy = AsyncDisposable & {
  readonly port: number
  /** The server is away from now on: connections break, and new ones are refused, until it is back. */
  setAway(isAway: boolean): void
}

/** A proxy on 127.0.0.1 in front of a PostgreSQL server that understands what clients send, without TLS. */
export async function startPostgresProxy(url: string, befall: Befall): Promise<PostgresProxy> {
  const target = new URL(url)
  const sockets = new Set<Socket>()
  let isAway = false
  const listener = createServer((client) => {
    if (isAway) {
      client.on('error', () => {})
      client.resetAndDestroy()
      return
    }
    const server = connect(Number(target.port), target.hostname)
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        if (!other.writableEnded) other.end()
      })
    }
    server.on('data', (bytes: Buffer) => {
      if (!client.destroyed) client.write(bytes)
    })
    void relay(client, server, befall)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const end = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (listener.address() as AddressInfo).port,
    setAway: (next) => {
      isAway = next
      if (isAway) end()
    },
    [Symbol.asyncDispose]: async () => {
      end()
      listener.close()
      await once(listener, 'close')
    },
  }
}

/** Hands on what the client sends, one query after the other. */
async function relay(client: Socket, server: Socket, befall: Befall): Promise<void> {
  let held: Buffer[] = []
  for await (const message of messagesOf(client)) {
    held.push(message.bytes)
    if (beforeSync.has(message.type)) continue
    const bytes = Buffer.concat(held)
    const query = queryIn(held)
    held = []
    const fate = query === null ? undefined : await befall(query)
    if (fate === 'cut') {
      client.resetAndDestroy()
      server.destroy()
      return
    }
    if (typeof fate === 'object') client.write(errorAnswer(fate))
    else server.write(bytes)
    if (fate === 'lose the answer') {
      client.resetAndDestroy()
      return
    }
  }
}

/** An extended query is several messages: Parse, Bind, Describe, Execute or Close, and then Sync. */
const beforeSync = new Set(['P', 'B', 'D', 'E', 'C'])

type Message = { readonly type: string; readonly bytes: Buffer }

/** The first ones have a length alone: the request for TLS, and then the greeting. */
async function* messagesOf(client: Socket): AsyncGenerator<Message, void, void> {
  let rest = Buffer.alloc(0)
  let isGreeted = false
  try {
    for await (const chunk of client as AsyncIterable<Buffer>) {
      rest = Buffer.concat([rest, chunk])
      for (;;) {
        const begin = isGreeted ? 1 : 0
        if (rest.length < begin + 4) break
        const length = begin + rest.readInt32BE(begin)
        if (rest.length < length) break
        const bytes = rest.subarray(0, length)
        rest = rest.subarray(length)
        const type = isGreeted ? String.fromCharCode(bytes[0] ?? 0) : ''
        if (!isGreeted) isGreeted = bytes.readInt32BE(4) >> 16 === 3
        yield { type, bytes }
      }
    }
  } catch {
    // The client broke its connection.
  }
}

/** Null if these messages ask nothing. */
function queryIn(messages: readonly Buffer[]): PassingQuery | null {
  const ofType = (type: string): Buffer | undefined => messages.find((one) => one[0] === type.charCodeAt(0))
  const simple = ofType('Q')
  if (simple !== undefined) return { text: textAt(simple, 5), values: [] }
  const parse = ofType('P')
  if (parse === undefined) return null
  const text = textAt(parse, parse.indexOf(0, 5) + 1)
  const bind = ofType('B')
  return { text, values: bind === undefined ? [] : valuesIn(bind) }
}

function textAt(message: Buffer, start: number): string {
  return message.toString('utf8', start, message.indexOf(0, start))
}

/** Of a Bind: names of portal and statement, formats, then the values. */
function valuesIn(bind: Buffer): (string | null)[] {
  let at = bind.indexOf(0, bind.indexOf(0, 5) + 1) + 1
  at += 2 + 2 * bind.readInt16BE(at)
  const count = bind.readInt16BE(at)
  at += 2
  return Array.from({ length: count }, () => {
    const length = bind.readInt32BE(at)
    at += 4
    if (length < 0) return null
    at += length
    return bind.toString('utf8', at - length, at)
  })
}

function errorAnswer({ sqlState, message, detail }: Exclude<QueryFate, undefined | string>): Buffer {
  const fields = [
    ...['SERROR', 'VERROR', `C${sqlState}`, `M${message}`],
    ...(detail === undefined ? [] : [`D${detail}`]),
  ]
  const body = Buffer.from(`${fields.join('\0')}\0\0`)
  const head = Buffer.alloc(5, 'E')
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body, Buffer.from('Z\0\0\0\u0005E')])
}
