import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { Run } from '../../src/catalog/runs.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { silentLog } from '../../src/log.ts'
import { isLookedAfter } from '../../src/notify/places.ts'
import { clock } from '../catalog/stored.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { plannedAt } from './world.ts'

const daily = { backup: '0 2 * * *' }

describe('whether a run that failed is looked after', () => {
  it.each([
    ['a schedule ordered it and has it', 'schedule', daily, ['app'], true],
    ['a schedule ordered it and the database is gone', 'schedule', daily, ['other'], false],
    ['a schedule ordered it and there is none any more', 'schedule', {}, [], false],
    ['somebody ordered it by hand, and there is no schedule', 'http', {}, [], true],
    ['somebody ordered it by hand, and the schedule says that the database is gone', 'http', daily, ['other'], false],
  ] as const)('%s', (_, trigger, schedule, databases, answer) => {
    const parts = { catalog: new Catalog({ clock }), clock, log: silentLog }
    const order: Pick<Run, 'job' | 'server' | 'database' | 'trigger' | 'attempt'> = {
      ...{ job: 'backup', server: 'main', database: 'app', trigger, attempt: 1 },
    }
    const planned = databases.map((database) => plannedAt('backup', database))
    const config = { servers: [serverConfig('main', { schedule })] }
    expect(isLookedAfter(newRun(order, parts), { config, planned })).toBe(answer)
  })
})
