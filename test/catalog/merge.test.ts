import { describe, expect, it } from 'vitest'
import { type CatalogBackup, storesOf } from '../../src/catalog/catalog.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { PgproofError } from '../../src/errors.ts'
import { backupFolder, drillReportKey, pruneRecordKey } from '../../src/storage/object-keys.ts'
import type { MemoryStore } from '../support/memory-store.ts'
import { manifestAt, recordOf, reportOf, sha256Of, signal, storeBackup } from './stored.ts'
import { readSeveral, type Several, several } from './two-stores.ts'

/** A chain of nightly backups, each naming the one before it. */
function chain(length: number): [Manifest, ...Manifest[]] {
  const manifests = [manifestAt('2026-11-01T02:00:00Z')] as [Manifest, ...Manifest[]]
  for (let day = 2; day <= length; day += 1) {
    const before = manifests.at(-1) as Manifest
    const previous = { label: before.label, sha256: sha256Of(before) }
    manifests.push(manifestAt(`2026-11-${String(day).padStart(2, '0')}T02:00:00Z`, { previous }))
  }
  return manifests
}

const all = chain(4)
const [first, second, third, fourth] = all as unknown as [Manifest, Manifest, Manifest, Manifest]
const dumpOf = (manifest: Manifest): string => `${backupFolder(manifest)}dump.zst.pgp`
const manifestKey = (manifest: Manifest): string => `${backupFolder(manifest)}manifest.json`

function found({ catalog }: Several, manifest: Manifest): CatalogBackup {
  const backup = catalog.find(manifest.label)
  if (backup === undefined) throw new Error(`${manifest.label} is not there`)
  return backup
}

const faultsIn = (backup: CatalogBackup): Record<string, readonly string[]> =>
  Object.fromEntries(backup.copies.map(({ store, faults }) => [store, faults]))

/** The store is as if it were gone. */
function takeDown(store: MemoryStore): void {
  store.before = () => {
    throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'gone' })
  }
}

describe('backups in several stores', () => {
  it('some here, some there - all of them, newest first, each once and with its copies', async () => {
    const test = await readSeveral({ backups: [first, third] }, { backups: [second, third] })
    expect(
      test.catalog.backups().map(({ manifest, copies }) => [manifest.label, copies.map(({ store }) => store)]),
    ).toEqual([
      [third.label, ['a', 'b']],
      [second.label, ['b']],
      [first.label, ['a']],
    ])
    expect(
      test.catalog
        .inStore('a')
        .backups()
        .map(({ manifest }) => manifest.label),
    ).toEqual([third.label, first.label])
    expect(test.catalog.inStore('c').backups()).toEqual([])
  })

  it('faulty in the first, whole in the second - whole, and read from the second only', async () => {
    const test = await several({ backups: all }, { backups: all })
    test.stores['a']?.objects.delete(dumpOf(third))
    await test.refresh()
    const backup = found(test, third)
    expect(backup.faults).toEqual([])
    expect(faultsIn(backup)).toEqual({ a: ['dump.zst.pgp is missing'], b: [] })
    expect(storesOf(backup)).toEqual(['b'])
    expect(storesOf(backup, 'a')).toEqual(['b'])
    expect(
      test.catalog
        .inStore('a')
        .backups()
        .find(({ manifest }) => manifest.label === third.label)?.faults,
    ).toHaveLength(1)
  })

  it('faulty in both - faulty, and reading says what is wrong with the first', async () => {
    const test = await several({ backups: all }, { backups: all })
    test.stores['a']?.objects.delete(dumpOf(third))
    test.stores['b']?.truncate(dumpOf(third), 7)
    await test.refresh()
    expect(found(test, third).faults).toEqual(['dump.zst.pgp is missing'])
    expect(storesOf(found(test, third))).toEqual(['a', 'b'])
  })

  it('whole in both - the wanted store first, then the others', async () => {
    const test = await readSeveral({ backups: all }, { backups: all }, { backups: all })
    expect(storesOf(found(test, third), 'b')).toEqual(['b', 'a', 'c'])
    expect(storesOf(found(test, third), 'x')).toEqual(['a', 'b', 'c'])
  })

  it('damaged manifest in one, whole in the other - the backup counts, and the damage is told', async () => {
    const test = await several({ backups: all }, { backups: all })
    test.stores['a']?.truncate(manifestKey(third), 30)
    await test.refresh()
    expect(found(test, third).copies.map(({ store }) => store)).toEqual(['b'])
    expect(test.catalog.damaged()).toMatchObject([{ key: manifestKey(third), store: 'a' }])
    expect(test.catalog.historyGaps()).toEqual([])
  })

  it('objects without a manifest in one - an orphan there, and no copy', async () => {
    const test = await several({ backups: all }, { backups: all })
    test.stores['b']?.objects.delete(manifestKey(third))
    await test.refresh()
    expect(found(test, third).copies.map(({ store }) => store)).toEqual(['a'])
    expect(test.catalog.orphans()).toMatchObject([{ store: 'b', folder: backupFolder(third) }])
  })
})

describe('what drills say of each copy', () => {
  const at = (hour: number): string => `2026-11-10T0${hour}:00:00Z`
  const drill = (hour: number, store: string, verdict: 'passed' | 'failed' | 'inconclusive') =>
    reportOf(third, at(hour), { store, verdict, label: `20261110T0${hour}0000Z-dr11` })
  const standing = ({ catalog }: Several, store: string) => {
    const held = catalog
      .inStore(store)
      .backups()
      .find(({ manifest }) => manifest.label === third.label)
    return [held?.lastVerdict, held?.verifiedAt !== null]
  }
  const drilled = (...reports: readonly ReturnType<typeof drill>[]) =>
    readSeveral({ backups: all, reports }, { backups: all, reports })

  it('passed in one - the other one is verified, too, for it has the same bytes', async () => {
    const test = await drilled(drill(1, 'a', 'passed'))
    expect([standing(test, 'a'), standing(test, 'b')]).toEqual([
      ['passed', true],
      ['passed', true],
    ])
  })

  it('failed in one - nothing is said against the other', async () => {
    const test = await drilled(drill(1, 'a', 'passed'), drill(2, 'b', 'failed'))
    expect([standing(test, 'a'), standing(test, 'b')]).toEqual([
      ['passed', true],
      ['failed', false],
    ])
  })

  it('failed in one and then passed in the other - the damaged copy does not become good by that', async () => {
    const test = await drilled(drill(1, 'b', 'failed'), drill(2, 'a', 'passed'))
    expect([standing(test, 'a'), standing(test, 'b')]).toEqual([
      ['passed', true],
      ['failed', false],
    ])
  })

  it('failed, then inconclusive, then passed in the other - still failed; passed itself - good again', async () => {
    const failing = [drill(1, 'b', 'failed'), drill(2, 'b', 'inconclusive'), drill(3, 'a', 'passed')]
    expect(standing(await drilled(...failing), 'b')[1]).toBe(false)
    expect(standing(await drilled(...failing, drill(4, 'b', 'passed')), 'b')).toEqual(['passed', true])
  })
})

describe('the history over several stores', () => {
  it('each store has holes that another one fills - no gap', async () => {
    const test = await readSeveral({ backups: [first, third] }, { backups: [second, fourth] })
    expect(test.catalog.historyGaps()).toEqual([])
    expect(test.catalog.historyChains()).toMatchObject([{ backups: 4, links: 3, whole: 3, pruned: 0 }])
  })

  it('in none of them - a gap', async () => {
    const test = await readSeveral({ backups: [first, third] }, { backups: [first, third, fourth] })
    expect(test.catalog.historyGaps()).toMatchObject([{ label: second.label, found: 'removed' }])
  })

  it('pruned in one and kept in the other - no gap, not returned, and not counted as gone', async () => {
    const test = await readSeveral({ backups: [third, fourth], pruned: [first, second] }, { backups: all })
    expect(test.catalog.historyGaps()).toEqual([])
    expect(test.catalog.historyChains()).toMatchObject([{ backups: 4, pruned: 0, gaps: 0 }])
  })

  it('pruned in one, and a third store got it later from the second - not returned', async () => {
    const test = await several(
      { backups: [third, fourth], pruned: [first, second] },
      { backups: [third, fourth] },
      { backups: all },
    )
    for (const [key, stored] of test.stores['b']?.objects ?? []) {
      stored.modifiedAt = new Date('2026-11-20T11:00:00Z')
      expect(key).not.toContain(second.label)
    }
    const late = test.stores['b'] as MemoryStore
    await storeBackup(late, second)
    for (const [key, stored] of late.objects)
      if (key.includes(second.label)) stored.modifiedAt = new Date('2027-01-01T00:00:00Z')
    await test.refresh()
    expect(test.catalog.historyGaps()).toEqual([])
  })

  it.each([
    ['the same backup', second],
    ['another one under its label', { ...second, pgproofVersion: '9.9.9' }],
  ])(
    '%s put back into the very store that pruned it - returned, though another store never pruned it',
    async (_, back) => {
      const test = await several({ backups: all }, { backups: [third, fourth], pruned: [first, second] })
      const pruned = test.stores['b'] as MemoryStore
      await storeBackup(pruned, back)
      for (const [key, stored] of pruned.objects)
        if (key.includes(back.label)) stored.modifiedAt = new Date('2027-01-01T00:00:00Z')
      await test.refresh()
      expect(test.catalog.historyGaps().map(({ label, found: what }) => [label, what])).toContainEqual([
        second.label,
        'returned',
      ])
    },
  )

  it('pruned in both, and put back into the second - returned', async () => {
    const test = await several({ backups: [third, fourth], pruned: [first, second] }, { backups: [third, fourth] })
    const { b } = test.stores
    const record = { ...recordOf([first, second], '2026-11-20T05:00:00Z') }
    await b?.put(pruneRecordKey(record.label), Buffer.from(`${JSON.stringify(record, null, 2)}\n`), { signal })
    await storeBackup(b as MemoryStore, second)
    for (const [key, stored] of b?.objects ?? [])
      if (key.includes(second.label)) stored.modifiedAt = new Date('2027-01-01T00:00:00Z')
    await test.refresh()
    expect(test.catalog.historyGaps()).toMatchObject([{ label: second.label, found: 'returned' }])
  })

  it('while a store cannot be read - nothing is said to be removed that may be there', async () => {
    const test = await several({ backups: [first, third, fourth] }, { backups: all })
    takeDown(test.stores['b'] as MemoryStore)
    await test.refresh()
    expect(test.catalog.historyGaps()).toEqual([])
    expect(test.catalog.standings()).toMatchObject([
      { name: 'a', isComplete: true, error: null },
      { name: 'b', isComplete: false, error: { code: 'STORE_UNREACHABLE' }, readAt: null },
    ])
    expect(test.catalog.isComplete).toBe(false)
  })
})

describe('a refresh', () => {
  it('one store stops answering - what it held is remembered, and its standing says so', async () => {
    const test = await readSeveral({ backups: [first, third] }, { backups: all })
    takeDown(test.stores['b'] as MemoryStore)
    await test.refresh()
    expect(test.catalog.backups()).toHaveLength(4)
    expect(test.catalog.standings()[1]).toMatchObject({ isComplete: false, readAt: expect.any(Date) })
    const { b } = test.stores
    if (b !== undefined) b.before = () => {}
    await test.refresh()
    expect(test.catalog.isComplete).toBe(true)
  })

  it('no store answers - it throws, and what was known stays', async () => {
    const test = await readSeveral({ backups: all }, { backups: all })
    for (const store of Object.values(test.stores)) takeDown(store)
    await expect(test.refresh()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect(test.catalog.backups()).toHaveLength(4)
    expect(test.catalog.isComplete).toBe(false)
  })

  it('a report damaged in one and sound in the other - it counts', async () => {
    const report = reportOf(third, '2026-11-10T05:00:00Z')
    const test = await several({ backups: all, reports: [report] }, { backups: all, reports: [report] })
    test.stores['a']?.truncate(drillReportKey('main', 'app', report.label), 40)
    await test.refresh()
    expect(test.catalog.drills()).toHaveLength(1)
    expect(test.catalog.damaged()).toMatchObject([{ store: 'a' }])
    expect([...test.catalog.inStore('a').reports]).toEqual([])
  })
})
