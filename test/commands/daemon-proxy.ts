import { connect, createServer, type Socket } from 'node:net'

/** A proxy by TCP that can break its connections, once or for ever, and keep answers to orders back. */
export async function proxyTo(address: string, answersToOrders: 'pass' | 'hold' | 'swallow one' = 'pass') {
  let target = new URL(address)
  let isBroken = false
  let text = ''
  let rule = answersToOrders
  const held: (() => void)[] = []
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    let isOrder = false
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    if (isBroken) client.destroy()
    client.on('data', (chunk) => {
      text += chunk.toString()
      isOrder ||= chunk.toString().startsWith('POST')
      upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      if (!isOrder || rule === 'pass') client.write(chunk)
      else if (rule === 'hold') held.push(() => client.write(chunk))
      else {
        rule = 'pass'
        client.destroy()
      }
    })
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => {
      // What is kept back must still arrive, though the daemon has closed its side.
      if (isOrder && rule === 'hold') held.push(() => client.end())
      else client.destroy()
    })
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('no port')
  const breakAll = (forEver: boolean): void => {
    isBroken = forEver
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${bound.port}`,
    seen: () => text,
    breakAll,
    release: () => {
      rule = 'pass'
      for (const pass of held) pass()
    },
    leadTo: (other: string) => {
      target = new URL(other)
    },
    [Symbol.asyncDispose]: async () => {
      breakAll(true)
      await new Promise((done) => server.close(done))
    },
  }
}
