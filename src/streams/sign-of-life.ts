import { connect, createServer, type Server } from 'node:net'

/*
 * Whether the owner of a folder still lives, told by a Unix socket in it that only a living process listens on: a process id
 * says nothing to another container that shares the folder.
 */

/** unix(7); a longer path would be cut off, and the socket would be somewhere else. */
const longestPathBytes = 107

/** Listens at `path` until it is closed, without keeping the process alive; null where there can be no socket. */
export async function showLife(path: string): Promise<Server | null> {
  if (Buffer.byteLength(path) > longestPathBytes) return null
  const server = createServer((socket) => socket.destroy())
  server.unref()
  return await new Promise((resolve) => {
    // For ever: one that cannot take a caller, for want of a descriptor, must not end the process.
    server.on('error', () => resolve(null))
    server.listen(path, () => resolve(server))
  })
}

/** Whether somebody listens there. */
export async function showsLife(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(path)
    const answer = (isAlive: boolean): void => {
      socket.destroy()
      resolve(isAlive)
    }
    socket.once('connect', () => answer(true))
    // A full queue of one that is too busy to answer is a sign of life, too (EAGAIN).
    socket.once('error', ({ code }: NodeJS.ErrnoException) => answer(code === 'EAGAIN'))
  })
}
