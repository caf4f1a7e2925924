import { expect, it } from 'vitest'
import { sharedNames } from '../../src/catalog/shared-names.ts'
import { runPrune } from '../../src/jobs/prune.ts'
import { testDatabase, testInstallation } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'

// Two daemons that were given one prefix, by a copied configuration: nothing of either may get lost.

const signal = new AbortController().signal
const keepOne = { PGPROOF_SERVERS__0__RETENTION__LAST: '1', PGPROOF_SERVERS__0__RETENTION__DAILY: '0' }

it('two installations back up, prune and drill under one prefix at once - every run ends, the newest backup is whole', async () => {
  await using source = await testDatabase()
  const store = new MemoryStore()
  await using one = await testInstallation(keepOne, { store })
  await using other = await testInstallation(keepOne, { store })
  await one.run('roles')
  await one.run('backup', source.name)

  const outcomes = await Promise.allSettled([
    one.run('backup', source.name),
    other.run('backup', source.name),
    one.run('prune'),
    other.run('prune'),
    other.run('drill', source.name),
  ])
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') continue
    // One database is dumped by one of them at a time; what the other one pruned meanwhile cannot be drilled.
    expect(outcome.reason).toMatchObject({ code: expect.stringMatching(/^(LOCKED|NO_BACKUP|STORE_NOT_FOUND)$/) })
  }

  await one.installation.catalog.refresh(one.installation.stores, signal)
  const [newest, ...older] = one.installation.catalog.backups({ server: 'main', database: source.name })
  expect(newest?.faults).toEqual([])
  expect(older.every(({ faults }) => faults.length === 0)).toBe(true)
  expect(one.installation.catalog.historyGaps()).toEqual([])
  expect(sharedNames(one.installation.catalog)).toEqual([])
  expect((await one.run('drill', source.name)).drill).toMatchObject({ error: null, report: { verdict: 'passed' } })
})

it('both prune the same backups at the same moment - each is gone once, the newest stays, the history is whole', async () => {
  await using source = await testDatabase()
  const store = new MemoryStore()
  await using one = await testInstallation({ ...keepOne, PGPROOF_SERVERS__0__RETENTION__LAST: '9' }, { store })
  for (let count = 0; count < 4; count += 1) await one.run('backup', source.name)
  await using first = await testInstallation(keepOne, { store })
  await using second = await testInstallation(keepOne, { store })
  const runs = [first, second].map(({ installation }) => runPrune({ isDryRun: false }, installation, signal))
  for (const { plan } of await Promise.all(runs)) expect(plan.groups).toHaveLength(1)

  await first.installation.catalog.refresh(first.installation.stores, signal)
  const { catalog } = first.installation
  expect(catalog.backups().map(({ faults }) => faults)).toEqual([[]])
  expect([catalog.orphans(), catalog.historyGaps()]).toEqual([[], []])
})
