import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { S3Server } from './s3-server.ts'

const run = promisify(execFile)
const script = fileURLToPath(new URL('../../scripts/swift-s3.sh', import.meta.url))

/** OpenStack Swift with its S3 interface, from Debian packages; where it cannot be had this throws what to install. */
export async function startSwift(): Promise<S3Server> {
  const folder = await mkdtemp(join(tmpdir(), 'pgproof-swift-'))
  const stop = async () => {
    await run('bash', [script, 'stop', folder])
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const { stdout } = await run('bash', [script, 'start', folder, String(await freePort())])
    return {
      endpoint: stdout.trim(),
      region: 'us-east-1',
      accessKeyId: 'test:pgproof',
      secretAccessKey: 'pgproof-secret',
      provider: 'generic',
      stop,
    }
  } catch (error) {
    await stop()
    const reason = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error)
    throw new Error(`no second S3 server for tests: ${reason}`, { cause: error })
  }
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
