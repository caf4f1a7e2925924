import { createHash } from 'node:crypto'
import { type HttpServer, startHttp } from '../../src/http/server.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import type { Queue } from '../../src/jobs/orders.ts'
import { tokens } from './test-server.ts'

/** The API over a real queue, on a free port, for who has the token for backups. */
export async function serveQueue(installation: Installation, queue: Queue): Promise<HttpServer> {
  const sha256 = createHash('sha256').update(tokens.backup).digest('hex')
  const http = {
    ...installation.config.http,
    listen: { host: '127.0.0.1', port: 0 },
    tokens: [{ name: 'ops', scope: 'backup' as const, sha256 }],
  }
  return await startHttp({
    installation: { ...installation, config: { ...installation.config, http } },
    orders: queue,
    metrics: async () => '',
    planned: () => [],
    queueView: () => queue.view(),
    keyExpiries: () => [],
    configReload: () => ({ isSuccessful: true, lastSuccessAt: new Date(0), needsRestart: [] }),
    isReady: () => ({ ready: true, reasons: [], awaited: '' }),
    version: '9.9.9',
  })
}
