import type { Run } from '../../src/catalog/runs.ts'
import { now, type ServerSettings, startTestServer, type TestServer } from '../http/test-server.ts'
import { busyFleet } from '../support/queue-views.ts'
import { keysUntil, type Story, scheduleOf, storeOf } from './store.ts'

/** 300 databases on ten servers, 30 daily backups of each; one failed its drill, and one was last backed up two days ago. */
export const manyStories: readonly Story[] = Array.from({ length: 300 }, (_, index) => ({
  server: `pg-${String(1 + (index % 10)).padStart(2, '0')}`,
  database: `tenant_${String(index).padStart(3, '0')}`,
  backups: 30,
  drillEvery: 5,
  ageHours: 5 + (index % 7),
  restoreSeconds: (drill) => 40 + drill + (index % 30),
  verdicts: (drill) => (index === 200 && drill === 0 ? 'failed' : 'passed'),
}))

/** Their page as a fleet shows it in the evening: two runs go on, 60 wait, and something of everything is the matter. */
export async function fleetServer(
  stories: readonly Story[],
  changes: ServerSettings['parts'] = {},
): Promise<TestServer> {
  const planned = scheduleOf(stories)
  const server = await startTestServer({
    ...storeOf(stories),
    parts: {
      planned: () => planned,
      queueView: () => busyFleet(new Date(now)),
      ...keysUntil('2028-01-01T00:00:00Z'),
      ...changes,
    },
  })
  const queuedAt = new Date(Date.parse(now) - 90_000)
  for (const [index, { server: name = 'main', database }] of stories.slice(0, 62).entries()) {
    const isRunning = index < 2
    const run: Run = {
      ...{ id: `0000000${index}-run`, server: name, database, trigger: 'schedule', attempt: 1, queuedAt },
      job: index % 9 === 1 ? 'drill' : 'backup',
      state: isRunning ? 'running' : 'queued',
      worker: isRunning ? ['eu-1', 'prover'][index] : null,
      startedAt: isRunning ? new Date(Date.parse(now) - 30_000) : null,
      ...{ finishedAt: null, label: null, error: null, progress: null },
    }
    server.catalog.addRun(run)
  }
  return server
}
