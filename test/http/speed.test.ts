import { beforeAll, describe, expect, it } from 'vitest'
import { manifestAt, recordOf, reportOf, sha256Of } from '../catalog/stored.ts'
import { startTestServer, type TestServer } from './test-server.ts'

const dayMs = 86_400_000

describe('10,000 backups of 20 databases and 4,000 drills', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer()
    fill(server)
    return () => server.close()
  }, 120_000)

  it.each(['/metrics', '/v1/status', '/'])('GET %s - 99 of 100 answers take at most 100 ms', async (path) => {
    await server.call('GET', path)
    const times: number[] = []
    for (let count = 0; count < 100; count += 1) {
      // Time of the processor, the client's share included: others may work on this machine as well.
      const before = process.cpuUsage()
      const { status } = await server.call('GET', path)
      const { user, system } = process.cpuUsage(before)
      times.push((user + system) / 1000)
      expect(status).toBe(200)
    }
    expect(times.toSorted((a, b) => a - b)[98]).toBeLessThanOrEqual(100)
  })
})

function fill({ catalog }: TestServer): void {
  for (let index = 0; index < 10_000; index += 1) {
    const at = Date.UTC(2026, 10, 20) - Math.floor(index / 20) * dayMs
    const manifest = manifestAt(new Date(at).toISOString(), { database: `db${index % 20}` })
    catalog.addBackup({ manifest: manifest, manifestSha256: sha256Of(manifest), hasSignature: false }, ['store'])
    if (index < 4000) catalog.addDrill(reportOf(manifest, new Date(at + 3_600_000).toISOString()), ['store'])
  }
  const pruned = Array.from({ length: 2000 }, (_, index) => manifestAt(new Date(index * dayMs).toISOString()))
  catalog.addPrune(recordOf(pruned), 'store')
}
