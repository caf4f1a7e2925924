import { expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { newRun, runJob } from '../../src/jobs/run-job.ts'
import { createLog } from '../../src/log.ts'

it('a run ends - its line is in the log before whoever watches runs writes what follows from it', async () => {
  const lines: string[] = []
  const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(String(JSON.parse(line).msg)))
  const parts = { catalog: new Catalog({ clock: systemClock }), clock: systemClock, log }
  parts.catalog.watchRuns(({ state }) => lines.push(`seen ${state}`))
  const run = newRun({ job: 'backup', server: 'main', database: 'app', trigger: 'schedule' }, parts)
  const work = async (): Promise<never> => {
    throw new PgproofError('DUMP_FAILED')
  }
  await runJob(run, { deadlineMs: 60_000 }, work, parts, new AbortController().signal).catch(() => {})
  expect(lines).toEqual(['seen queued', 'seen running', 'run started', 'run finished', 'seen failed'])
})
