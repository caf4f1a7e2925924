import { once } from 'node:events'
import { type AddressInfo, connect, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'

/** What happens to bytes that arrive: passed on, held back until the next mode, or answered with a reset. */
export type ProxyMode = 'forward' | 'stall' | 'refuse'

export type TcpProxy = {
  readonly port: number
  /** Connections that were accepted so far. */
  readonly connections: () => number
  /** For connections old and new, from now on. */
  setMode(mode: ProxyMode): void
  /** Holds back every byte of the connections that are open now; later ones are not affected. */
  stallCurrent(): void
  /** Resets the connection that carries the n-th next byte in that direction, up to `times` connections. */
  cutAfter(bytes: number, direction: 'toServer' | 'toClient', times?: number): void
  /** How many cuts have happened. */
  readonly cuts: () => number
  /** Watches what goes to the server; called with each chunk before it is passed on. */
  onRequest: ((chunk: Buffer) => void) | undefined
  /** Lets the request through but resets the connection instead of passing on the answer, when this says so. */
  dropAnswer: ((request: Buffer) => boolean) | undefined
  /** Puts something else in the place of a chunk that the server sends. */
  changeAnswer: ((chunk: Buffer) => Buffer) | undefined
  stop(): Promise<void>
}

/**
 * A proxy on 127.0.0.1 in front of one server that can cut, stall and refuse. With `tls` it speaks TLS to its
 * clients and plain TCP to the server.
 */
export async function startTcpProxy(
  target: { readonly host: string; readonly port: number },
  tls?: { readonly key: string; readonly cert: string },
): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  const stalled = new WeakSet<Socket>()
  let mode: ProxyMode = 'forward'
  let accepted = 0
  let cuts = 0
  let cut: { left: number; bytes: number; direction: 'toServer' | 'toClient'; times: number } | undefined

  const stall = (socket: Socket): void => {
    stalled.add(socket)
    socket.pause()
  }
  const serve = (client: Socket): void => {
    accepted += 1
    if (mode === 'refuse') {
      client.on('error', () => {})
      client.resetAndDestroy()
      return
    }
    const server = connect(target.port, target.host)
    const end = () => {
      client.destroy()
      server.destroy()
    }
    const reset = () => {
      cuts += 1
      // A TLS socket cannot be reset; it is cut without its goodbye.
      if (tls === undefined) client.resetAndDestroy()
      end()
    }
    let isAnswerDropped = false
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.on('error', end)
      socket.on('close', () => {
        sockets.delete(socket)
        end()
      })
    }
    const move = (from: Socket, to: Socket, direction: 'toServer' | 'toClient') => {
      from.on('data', (received: Buffer) => {
        const chunk = (direction === 'toClient' && proxy.changeAnswer?.(received)) || received
        if (direction === 'toServer') {
          proxy.onRequest?.(chunk)
          if (proxy.dropAnswer?.(chunk) === true) isAnswerDropped = true
        } else if (isAnswerDropped) return reset()
        if (cut?.direction === direction) {
          cut.left -= chunk.length
          if (cut.left < 0) {
            to.write(chunk.subarray(0, Math.max(0, chunk.length + cut.left)))
            cut.times -= 1
            cut = cut.times > 0 ? { ...cut, left: cut.bytes } : undefined
            return reset()
          }
        }
        if (!to.write(chunk)) {
          from.pause()
          to.once('drain', () => {
            if (!stalled.has(from)) from.resume()
          })
        }
      })
    }
    move(client, server, 'toServer')
    move(server, client, 'toClient')
    if (mode === 'stall') for (const socket of [client, server]) stall(socket)
  }

  const listener: Server = tls === undefined ? createTcpServer(serve) : createTlsServer(tls, serve)
  listener.on('tlsClientError', () => {})
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')

  const proxy: TcpProxy = {
    port: (listener.address() as AddressInfo).port,
    connections: () => accepted,
    cuts: () => cuts,
    setMode: (next) => {
      mode = next
      for (const socket of sockets) {
        if (next === 'refuse') socket.destroy()
        else if (next === 'stall') stall(socket)
        else {
          stalled.delete(socket)
          socket.resume()
        }
      }
    },
    stallCurrent: () => {
      for (const socket of sockets) stall(socket)
    },
    cutAfter: (bytes, direction, times = 1) => {
      cut = { left: bytes, bytes, direction, times }
    },
    onRequest: undefined,
    dropAnswer: undefined,
    changeAnswer: undefined,
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      listener.close()
      await once(listener, 'close')
    },
  }
  return proxy
}
