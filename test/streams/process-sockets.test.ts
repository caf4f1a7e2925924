import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import { connectionKey, tcpConnectionsOf } from '../../src/streams/process-sockets.ts'

it.each([
  ['IPv4', '127.0.0.1', '127.0.0.1'],
  ['IPv4 in a socket of IPv6', '::', '127.0.0.1'],
  ['IPv6', '::1', '::1'],
])('connections of a process by %s - found under the one name that either end gives them', async (_what, host, to) => {
  const server = createServer()
  server.listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const [[far], near] = await Promise.all([
    once(server, 'connection') as Promise<[Socket]>,
    new Promise<Socket>((resolve) => {
      const socket = connect(port, to, () => resolve(socket))
    }),
  ])
  try {
    const found = await tcpConnectionsOf(process.pid)
    // This process has both ends.
    expect(found).toContain(connectionKey(near.localAddress ?? '', near.localPort ?? 0))
    expect(found).toContain(connectionKey(far.localAddress ?? '', port))
  } finally {
    near.destroy()
    far.destroy()
    server.close()
    await once(server, 'close')
  }
})
