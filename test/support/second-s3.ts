import { createServer } from 'node:net'
import { type S3Server, startByScript } from './s3-server.ts'

/** OpenStack Swift with its S3 interface, from Debian packages; where it cannot be had this throws what to install. */
export async function startSwift(): Promise<S3Server> {
  const login = { accessKeyId: 'test:pgproof', secretAccessKey: 'pgproof-secret', provider: 'generic' as const }
  return await startByScript('swift-s3.sh', await freePort(), login).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`no second S3 server for tests: ${reason}`, { cause: error })
  })
}

/** A port whose three successors are free as well: the servers behind Swift's proxy take those. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 30_000 + Math.floor(Math.random() * 2_000)
    const areFree = await Promise.all([0, 1, 2, 3].map((more) => isFree(port + more)))
    if (areFree.every(Boolean)) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
