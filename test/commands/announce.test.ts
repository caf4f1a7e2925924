import { expect, it } from 'vitest'
import type { PlannedJob } from '../../src/catalog/runs.ts'
import { announce } from '../../src/commands/announce.ts'
import { createLog } from '../../src/log.ts'
import { manifestAt } from '../catalog/stored.ts'
import { testInstallation } from '../support/installation.ts'

it('more databases than anybody reads - fifty of what is scheduled and of what worries, and how many more', async () => {
  await using test = await testInstallation()
  const { catalog, clock } = test.installation
  const names = Array.from({ length: 53 }, (_, index) => `db${String(index).padStart(2, '0')}`)
  for (const database of names) {
    const manifest = manifestAt('2026-11-20T02:00:00Z', { database })
    catalog.addBackup({ manifest, manifestSha256: database, hasSignature: false }, ['store'])
  }
  const place = { job: 'backup', server: 'main', intervalSeconds: 86_400, pausedUntil: null } as const
  const first = clock.now().getTime()
  const planned = names.map((database, index): PlannedJob => {
    return { ...place, database, nextAt: new Date(first + (60 - index) * 1000) }
  })
  const lines: Record<string, unknown>[] = []
  const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(JSON.parse(line)))
  announce(log, planned, test.installation, null)
  const said = (msg: string) => lines.filter((line) => line['msg'] === msg)
  expect(said('scheduled').map(({ database }) => database)).toEqual(names.toReversed().slice(0, 50))
  expect(said('scheduled later')).toMatchObject([{ level: 'info', more: 3 }])
  const worries = said('worries').map(({ worry }) => worry)
  expect(worries).toHaveLength(50)
  expect(worries[0]).toBe('main/db00: no backup was ever drilled')
  const [ready] = said('ready')
  expect(said('worries, besides')).toMatchObject([{ level: 'warn', more: Number(ready?.['worries']) - 50 }])
  expect(ready).toMatchObject({ address: null, backups: 53, drills: 0 })
})
