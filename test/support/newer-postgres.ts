import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, type TestContext } from 'vitest'
import { freePort, query } from './postgres-server.ts'

export type NewerPostgres = {
  /** `postgres://…/DATABASE` as the superuser. */
  url(database?: string): string
  readonly major: number
  /** Where pg_dump and pg_dumpall of its major may be, besides the usual places. */
  readonly binDir: string
  stop(): Promise<void>
}

/** For a `describe`: starts one before its tests and stops it after them. Without one (never in CI) a test that asks for it says why, and is skipped. */
export function useNewerPostgres(): (context: TestContext) => NewerPostgres {
  let found: Awaited<ReturnType<typeof newerPostgres>>
  beforeAll(async () => {
    found = await newerPostgres()
  })
  afterAll(async () => {
    if ('url' in found) await found.stop()
  })
  return (context) => {
    if ('url' in found) return found
    console.error(found.lacking)
    return context.skip(found.lacking)
  }
}

/**
 * A server of a newer major than that of the tests: the one that PGPROOF_TEST_PG_NEWER_URL names, else one of its own
 * from scripts/newer-postgres.sh. Where neither can be had it returns why; with CI set, it throws.
 */
async function newerPostgres(): Promise<NewerPostgres | { readonly lacking: string }> {
  const cache = fileURLToPath(new URL('../../node_modules/.cache/pgproof', import.meta.url))
  const base = process.env['PGPROOF_TEST_PG_NEWER_URL']
  if (base !== undefined) return await describe(base, cache, async () => {})
  const port = await freePort()
  const script = fileURLToPath(new URL('../../scripts/newer-postgres.sh', import.meta.url))
  // Its end of the pipe closes with this process, however that ends, and then the script stops the server.
  const child = spawn('bash', [script, cache, String(port)], { stdio: ['pipe', 'pipe', 'pipe'] })
  const ended = once(child, 'close')
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000)
  })
  const stop = async (): Promise<void> => {
    child.stdin.end()
    await ended
  }
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  try {
    // Unpacking a Debian takes half a minute.
    await Promise.race([once(child.stdout, 'data'), ended])
    await untilConnectable(url, child)
    return await describe(url, cache, stop)
  } catch (error) {
    await stop()
    const lacking = `no newer PostgreSQL for tests: ${said.trim() || String(error)}`
    if (process.env['CI'] !== undefined && process.env['CI'] !== 'false') throw new Error(lacking, { cause: error })
    return { lacking }
  }
}

async function describe(base: string, cache: string, stop: () => Promise<void>): Promise<NewerPostgres> {
  const [row] = await query(base, "SELECT current_setting('server_version_num')::int / 10000 AS major")
  const url = (database = 'postgres'): string => {
    const named = new URL(base)
    named.pathname = `/${encodeURIComponent(database)}`
    return named.href
  }
  return { url, major: Number(row?.['major']), binDir: join(cache, 'bin'), stop }
}

async function untilConnectable(url: string, child: { readonly exitCode: number | null }): Promise<void> {
  const deadline = Date.now() + 30_000
  for (;;) {
    try {
      await query(url, 'SELECT 1')
      return
    } catch (error) {
      if (child.exitCode !== null || Date.now() > deadline) throw error
      await new Promise((done) => setImmediate(done))
    }
  }
}
