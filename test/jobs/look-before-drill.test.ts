import { expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { executeRun } from '../../src/jobs/execute.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { createLog } from '../../src/log.ts'
import { testDatabase, testInstallation } from '../support/installation.ts'
import { storeSetOf } from '../support/store-sets.ts'

it('a store that does not answer a look for what others have backed up - said, and the drill of what is known passes', async () => {
  await using source = await testDatabase('template1')
  await using test = await testInstallation()
  await test.run('roles')
  await test.run('backup', source.name)
  const { signal } = new AbortController()
  await test.installation.catalog.refresh(storeSetOf(test.store), signal)
  test.store.before = (operation) => {
    if (operation === 'list') throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'no route' })
  }
  const lines: string[] = []
  const log = createLog({ level: 'warn', format: 'json' }, (line) => lines.push(line))
  // A while after the refresh.
  const clock = { ...systemClock, now: () => new Date(Date.now() + 60_000) }
  const run = newRun({ job: 'drill', server: 'main', database: source.name, trigger: 'cli' }, test.installation)
  const { drill } = await executeRun(run, {}, { ...test.installation, clock, log }, signal)
  expect(drill).toMatchObject({ error: null, report: { verdict: 'passed' } })
  expect(lines.map((line) => JSON.parse(line) as object)).toContainEqual(
    expect.objectContaining({
      ...{ msg: 'what others have backed up is not read anew', server: 'main' },
      reason: expect.stringContaining('no route'),
    }),
  )
})
