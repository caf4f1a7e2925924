import { describe, expect, it } from 'vitest'
import { BackupList } from '../../src/catalog/backup-list.ts'
import { Catalog } from '../../src/catalog/catalog.ts'
import { sightOfStore } from '../../src/catalog/copy-sight.ts'
import { DrillIndex } from '../../src/catalog/drill-index.ts'
import { mergeContents } from '../../src/catalog/merge.ts'
import { rebuildFromStore } from '../../src/catalog/rebuild.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { storeSetOf } from '../support/store-sets.ts'
import { clock, manifestAt, reportOf, signal, storeBackup, storeReport } from './stored.ts'

/** Two backups; the older one is drilled with these verdicts, one a day, by copies in stores of these names. */
async function drilled(
  drills: readonly (readonly ['passed' | 'failed' | 'inconclusive', store: string])[],
): Promise<MemoryStore> {
  const store = new MemoryStore(clock)
  const older = manifestAt('2026-11-01T02:00:00Z')
  await storeBackup(store, older)
  await storeBackup(store, manifestAt('2026-11-10T02:00:00Z'))
  for (const [index, [verdict, name]] of drills.entries()) {
    const at = new Date(Date.parse('2026-11-02T04:00:00Z') + index * 86_400_000).toISOString()
    await storeReport(store, reportOf(older, at, { verdict, store: name }))
  }
  return store
}

describe('a store that is alone', () => {
  it.each([
    ['never drilled', []],
    ['passed', [['passed', 'store']]],
    [
      'failed after it had passed',
      [
        ['passed', 'store'],
        ['failed', 'store'],
      ],
    ],
    [
      'inconclusive after it had passed',
      [
        ['passed', 'store'],
        ['inconclusive', 'store'],
      ],
    ],
    [
      'passed after it had failed',
      [
        ['failed', 'store'],
        ['passed', 'store'],
      ],
    ],
    ['failed in a store that is gone', [['failed', 'elsewhere']]],
    [
      'failed in a store that is gone, passed here',
      [
        ['failed', 'elsewhere'],
        ['passed', 'store'],
      ],
    ],
  ] as const)('%s - its backups say what is worked out for one of several', async (_what, drills) => {
    const store = await drilled(drills)
    const catalog = new Catalog({ clock })
    await catalog.refresh(storeSetOf(store), signal)
    const contents = await rebuildFromStore(store, new Map(), null, signal)
    const merged = mergeContents(new Map([['store', contents]]))
    const reports = new DrillIndex(merged.drills)
    const all = {
      backupIn: (folder: string) => merged.backups.get(folder),
      reportsOf: (folder: string) => reports.of(folder),
    }
    const { backups: workedOut } = new BackupList(sightOfStore('store', all), merged.backups.keys())
    const said = catalog.inStore('store').backups()
    expect(
      said.map(({ verifiedAt, lastVerdict, faults, copies }) => ({ verifiedAt, lastVerdict, faults, copies })),
    ).toEqual(
      workedOut.map(({ verifiedAt, lastVerdict, faults, copies }) => ({ verifiedAt, lastVerdict, faults, copies })),
    )
    expect(said.map(({ folder, lastDrilledAt }) => [folder, lastDrilledAt])).toEqual(
      workedOut.map(({ folder, lastDrilledAt }) => [folder, lastDrilledAt]),
    )
  })
})
