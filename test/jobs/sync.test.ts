import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Manifest } from '../../src/domain/manifest.ts'
import { PgproofError } from '../../src/errors.ts'
import { runSync, type SyncRequest, type SyncResult } from '../../src/jobs/sync.ts'
import { backupFolder, drillReportKey } from '../../src/storage/object-keys.ts'
import { recordOf, reportOf, signal, storeBackup, storeRecord, storeReport } from '../catalog/stored.ts'
import { asleep } from '../support/asleep.ts'
import { MemoryStore } from '../support/memory-store.ts'
import {
  bodies,
  caught,
  fail,
  heal,
  manifestsIn,
  soundManifestAt,
  soundRolesAt,
  type TwoStores,
  type TwoStoresOptions,
  twoStores,
} from './two-stores.ts'

const now = new Date('2026-11-18T12:00:00Z')
const clock = { now: () => now, monotonicMs: () => now.getTime(), sleep: asleep }
const nights = [1, 2, 3].map((day) => soundManifestAt(`2026-11-1${day}T02:00:00Z`))
const [first, second, third] = nights as [Manifest, Manifest, Manifest]
const signed = soundManifestAt('2026-11-14T02:00:00Z', {
  encryption: { recipients: ['A'.repeat(40)], signer: 'B'.repeat(40) },
})
const roles = soundRolesAt('2026-11-12T01:00:00Z')

/** `a` holds three nights and the roles; `b` nothing. */
async function filled(options: TwoStoresOptions = {}): Promise<TwoStores> {
  const test = await twoStores({ clock, settings: { PGPROOF_SERVERS__0__RETENTION__LAST: '10' }, ...options })
  for (const manifest of [...nights, roles]) await storeBackup(test.a, manifest)
  return test
}

const sync = ({ installation }: TwoStores, request: Partial<SyncRequest> = {}): Promise<SyncResult> =>
  runSync({ isDryRun: false, ...request }, installation, signal)
const key = (manifest: Manifest, name: string): string => `${backupFolder(manifest)}${name}`
/** Without those of the holds, which are gone in the end. */
const writes = ({ calls }: MemoryStore): string[] =>
  calls.filter((call) => /^(put|write|delete) (?!holds\/)/.test(call))

describe('sync', () => {
  it('a store that lacks everything - the newest first, each with its manifest last, and then both are the same', async () => {
    await using test = await filled()
    const { copied } = await sync(test)
    expect(copied).toEqual([
      { store: 'store', labels: [], reports: 0 },
      { store: 'b', labels: [third.label, second.label, roles.label, first.label], reports: 0 },
    ])
    expect(bodies(test.b)).toEqual(bodies(test.a))
    expect(writes(test.a).slice(16)).toEqual([])
    for (const manifest of nights) {
      const own = writes(test.b).filter((call) => call.includes(backupFolder(manifest)))
      expect(own.at(-1)).toBe(`put ${key(manifest, 'manifest.json')}`)
    }
    expect((await sync(test)).copied.flatMap(({ labels }) => labels)).toEqual([])
    expect(test.installation.catalog.historyGaps()).toEqual([])
  })

  it('a dry run - says what is lacking, and writes nothing', async () => {
    await using test = await filled()
    const { plans, copied } = await sync(test, { isDryRun: true })
    expect(plans.map(({ store, backups }) => [store, backups.length])).toEqual([
      ['store', 0],
      ['b', 4],
    ])
    expect([copied, writes(test.b)]).toEqual([[], []])
  })

  it('both lack something - each gets it from the other; with a name only that one', async () => {
    await using test = await filled()
    const only = soundManifestAt('2026-11-14T02:00:00Z')
    await storeBackup(test.b, only)
    await sync(test, { store: 'b' })
    expect([manifestsIn(test.a).length, manifestsIn(test.b).length]).toEqual([4, 5])
    await sync(test)
    expect(bodies(test.a)).toEqual(bodies(test.b))
  })

  it.each(['write', 'commit', 'put'] as const)(
    'interrupted at a %s - what was copied counts, and the next sync goes on',
    async (operation) => {
      await using test = await filled()
      const named = operation === 'put' ? /manifest\.json$/ : /dump/
      let left = 2
      test.b.before = (at, where) => {
        if (at !== operation || !named.test(where)) return
        left -= 1
        if (left < 0) throw new PgproofError('STORE_FULL', { key: where })
      }
      expect(await caught(sync(test))).toMatchObject({
        code: 'SYNC_INCOMPLETE',
        details: expect.stringContaining(first.label),
      })
      expect(manifestsIn(test.b)).toHaveLength(2)
      expect(test.b.unfinished).toEqual([])
      heal(test.b)
      test.b.calls.length = 0
      expect((await sync(test)).copied[1]?.labels).toHaveLength(2)
      // What appeared whole is not sent again.
      expect(test.b.calls.filter((call) => call.startsWith('write'))).toHaveLength(operation === 'put' ? 0 : 5)
      expect(bodies(test.b)).toEqual(bodies(test.a))
    },
  )

  it('cancelled - it ends as cancelled, and copies nothing more', async () => {
    await using test = await filled()
    const abort = new AbortController()
    test.b.before = (operation) => {
      if (operation === 'commit') abort.abort(new PgproofError('CANCELLED', { what: 'sync' }))
    }
    expect(await caught(runSync({ isDryRun: false }, test.installation, abort.signal))).toMatchObject({
      code: 'CANCELLED',
    })
    expect([test.b.keys(), test.b.unfinished]).toEqual([[], []])
  })

  it('cancelled in the middle of a backup - the next sync of this process copies all others first', async () => {
    await using test = await filled()
    const abort = new AbortController()
    test.b.before = (operation, at) => {
      if (operation === 'commit' && at === key(third, 'dump.zst.pgp'))
        abort.abort(new PgproofError('CANCELLED', { what: 'sync' }))
    }
    await caught(runSync({ isDryRun: false }, test.installation, abort.signal))
    heal(test.b)
    expect((await sync(test)).copied[1]?.labels).toEqual([second.label, roles.label, first.label, third.label])
    test.b.objects.delete(key(third, 'manifest.json'))
    test.b.objects.delete(key(second, 'manifest.json'))
    expect((await sync(test)).copied[1]?.labels).toEqual([third.label, second.label])
  })

  it('a source object is not what its manifest says - OBJECT_MISMATCH in the details, no such backup in the target, all others there', async () => {
    await using test = await filled()
    test.a.damage(key(second, 'dump.zst.pgp'))
    const error = await caught(sync(test))
    expect(error).toMatchObject({ code: 'SYNC_INCOMPLETE', message: expect.stringContaining('1 failure') })
    expect(error.details).toMatch(new RegExp(`${second.label} to store b: .*SHA-256`))
    expect(manifestsIn(test.b)).toEqual([first.label, third.label, roles.label])
    expect(test.b.keys().filter((one) => one.includes(second.label))).toEqual([])
  })

  it('damaged in the first and sound in the third - copied from the third', async () => {
    const c = new MemoryStore(clock)
    await using test = await filled({ c })
    for (const manifest of [...nights, roles]) await storeBackup(c, manifest)
    test.a.damage(key(second, 'dump.zst.pgp'))
    await sync(test)
    expect(bodies(test.b)).toEqual(bodies(c))
  })

  it('a copy with a missing dump - is made whole again, its manifest not written anew', async () => {
    await using test = await filled()
    await sync(test)
    test.b.objects.delete(key(second, 'dump.zst.pgp'))
    test.b.truncate(key(third, 'evidence.json.pgp'), 3)
    test.b.calls.length = 0
    expect((await sync(test)).copied[1]?.labels).toEqual([third.label, second.label])
    expect(bodies(test.b)).toEqual(bodies(test.a))
    expect(
      test.installation.catalog.backups().every(({ copies }) => copies.every(({ faults }) => faults.length === 0)),
    ).toBe(true)
  })

  it('an object of an interrupted sync was damaged since, in its size unchanged - is copied anew', async () => {
    await using test = await filled()
    await sync(test)
    test.b.objects.delete(key(second, 'manifest.json'))
    test.b.damage(key(second, 'dump.zst.pgp'))
    test.b.calls.length = 0
    expect((await sync(test)).copied[1]?.labels).toEqual([second.label])
    expect(bodies(test.b)).toEqual(bodies(test.a))
    expect(writes(test.b)).toEqual([`write ${key(second, 'dump.zst.pgp')}`, `put ${key(second, 'manifest.json')}`])
  })

  it('a damaged manifest in the target - is replaced', async () => {
    await using test = await filled()
    await sync(test)
    test.b.truncate(key(second, 'manifest.json'), 30)
    await sync(test)
    expect(bodies(test.b)).toEqual(bodies(test.a))
  })

  it('another manifest under one label - neither store is written over', async () => {
    await using test = await filled()
    await sync(test)
    const forged = { ...second, pgproofVersion: '9.9.9' }
    await storeBackup(test.a, forged)
    const before = [bodies(test.a), bodies(test.b)]
    expect((await sync(test)).copied.flatMap(({ labels }) => labels)).toEqual([])
    expect([bodies(test.a), bodies(test.b)]).toEqual(before)
  })

  it('another manifest appears in the target meanwhile - it is not written over, and the sync says so', async () => {
    await using test = await filled()
    const forged = { ...second, pgproofVersion: '9.9.9' }
    test.b.before = async (operation, at) => {
      if (operation !== 'head' || at !== key(second, 'dump.zst.pgp')) return
      heal(test.b)
      await storeBackup(test.b, forged)
    }
    expect(await caught(sync(test))).toMatchObject({ details: expect.stringContaining('different manifests') })
    expect(test.b.text(key(second, 'manifest.json'))).toContain('9.9.9')
  })

  it('what the target pruned, or would prune next - does not come back', async () => {
    await using test = await filled({
      ofB: { retention: { last: 2, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0 } },
    })
    await storeRecord(test.b, recordOf([third], '2026-11-16T02:00:00Z'))
    await sync(test)
    expect(manifestsIn(test.b)).toEqual([first.label, second.label, roles.label])
    expect(test.installation.catalog.historyGaps()).toEqual([])
  })

  it('the signature is in one store only - it is copied with the backup', async () => {
    await using test = await filled()
    await test.a.put(key(third, 'manifest.json.sig'), Buffer.from('signature'), { signal })
    await sync(test)
    expect(test.b.text(key(third, 'manifest.json.sig'))).toBe('signature')
  })

  it('a copy lost its signature - it gets it back, and nothing else is written', async () => {
    await using test = await filled()
    const signature = key(signed, 'manifest.json.sig')
    for (const store of [test.a, test.b]) {
      await storeBackup(store, signed)
      await store.put(signature, Buffer.from('signature'), { signal })
    }
    await sync(test)
    test.b.objects.delete(signature)
    test.b.calls.length = 0
    expect((await sync(test)).copied[1]?.labels).toEqual([signed.label])
    expect(writes(test.b)).toEqual([`put ${signature}`, `put ${key(signed, 'manifest.json')}`])
    expect(bodies(test.b)).toEqual(bodies(test.a))
    expect((await sync(test)).copied[1]?.labels).toEqual([])
  })

  it('the target has another signature - the objects that it lacks are copied, and that one is not written over', async () => {
    await using test = await filled()
    const signature = key(signed, 'manifest.json.sig')
    for (const store of [test.a, test.b]) {
      await storeBackup(store, signed)
      await store.put(signature, Buffer.from(store === test.a ? 'forged' : 'signature'), { signal })
    }
    test.b.objects.delete(key(signed, 'dump.zst.pgp'))
    const { details } = await caught(sync(test))
    expect(details).toMatch(new RegExp(`^${signed.label} to store b: .*different signatures of one manifest$`))
    expect(test.b.text(signature)).toBe('signature')
    expect(test.b.keys()).toContain(key(signed, 'dump.zst.pgp'))
  })

  it('the signature came with an interrupted sync - it is not written again, where that may be refused', async () => {
    await using test = await filled()
    for (const store of [test.a, test.b])
      await store.put(key(third, 'manifest.json.sig'), Buffer.from('signature'), { signal })
    const before = test.b.calls.length
    await sync(test)
    expect(manifestsIn(test.b)).toContain(third.label)
    expect(test.b.calls.slice(before)).not.toContain(`put ${key(third, 'manifest.json.sig')}`)
  })

  it('what was there before goes while the rest is copied - SYNC_INCOMPLETE, no such backup; the next sync brings it whole', async () => {
    await using test = await filled()
    const dump = key(third, third.objects.dump.name)
    await test.b.put(dump, test.a.objects.get(dump)?.body ?? expect.unreachable(), { signal })
    test.b.before = (operation, at) => {
      if (operation === 'commit' && at === key(third, third.objects.recovery.name)) test.b.objects.delete(dump)
    }
    const error = await caught(sync(test))
    expect(error).toMatchObject({ code: 'SYNC_INCOMPLETE', details: expect.stringContaining('it went from the store') })
    expect(manifestsIn(test.b)).not.toContain(third.label)
    heal(test.b)
    expect((await sync(test)).copied[1]?.labels).toEqual([third.label])
    expect(bodies(test.b)).toEqual(bodies(test.a))
  })

  it('while a backup is copied - it is held in both stores, and in none afterwards', async () => {
    await using test = await filled()
    const held: string[][] = []
    test.b.before = (operation, at) => {
      if (operation !== 'put' || at !== key(third, 'manifest.json')) return
      for (const store of [test.a, test.b]) held.push(store.keys().filter((one) => one.startsWith('holds/')))
    }
    await sync(test)
    expect(held.map(({ length }) => length)).toEqual([1, 1])
    for (const store of [test.a, test.b]) expect(store.keys().filter((one) => one.startsWith('holds/'))).toEqual([])
  })

  it('a manifest that changes while its backup is copied - SYNC_INCOMPLETE, no such backup in the target, all others', async () => {
    await using test = await filled()
    test.b.before = (operation, at) => {
      if (operation !== 'commit' || at !== key(third, third.objects.dump.name)) return
      const body = Buffer.from(`${test.a.text(key(third, 'manifest.json'))}\n`)
      test.a.objects.set(key(third, 'manifest.json'), { body, modifiedAt: now })
    }
    const error = await caught(sync(test))
    expect(error).toMatchObject({ code: 'SYNC_INCOMPLETE' })
    expect(error.details).toMatch(new RegExp(`^${third.label} to store b: .*it changed since the store was listed$`))
    expect(manifestsIn(test.b).toSorted()).toEqual([first.label, second.label, roles.label].toSorted())
  })
})

describe('stores that are not as they should be', () => {
  it.each([true, false])(
    'the target is down, dry run: %s - the sync is not complete, and says which store',
    async (isDryRun) => {
      await using test = await filled()
      fail(test.b)
      const error = await caught(sync(test, { isDryRun }))
      expect(error).toMatchObject({ code: 'SYNC_INCOMPLETE', details: expect.stringContaining('store b') })
    },
  )

  it('the only source is down - the sync says so, though the target lacks nothing that is known', async () => {
    await using test = await filled()
    fail(test.a)
    const error = await caught(sync(test, { store: 'b' }))
    expect(error).toMatchObject({ code: 'SYNC_INCOMPLETE', details: expect.stringContaining('store store') })
  })

  it('the source goes down in the middle - what was copied counts, nothing half is visible', async () => {
    await using test = await filled()
    let reads = 0
    test.a.before = (operation) => {
      if (operation === 'read') reads += 1
      if (reads > 4) throw new PgproofError('STORE_UNREACHABLE', { store: 'a', reason: 'gone' })
    }
    expect(await caught(sync(test))).toMatchObject({ code: 'SYNC_INCOMPLETE' })
    expect(manifestsIn(test.b)).toEqual([third.label])
  })

  it('a document of the target is not handed out - nothing is copied there: it may be what says that it was pruned', async () => {
    await using test = await filled()
    await storeRecord(test.b, recordOf([first], '2026-11-16T02:00:00Z'))
    fail(test.b, ['get'], /^prunes/)
    expect(await caught(sync(test))).toMatchObject({ details: expect.stringContaining('completely') })
    expect(manifestsIn(test.b)).toEqual([])
  })

  it('the first of two targets goes away after it was listed - nothing is written there, and the second is caught up', async () => {
    const c = new MemoryStore(clock)
    await using test = await filled({ c })
    const { stores, catalog } = test.installation
    stores.assertMarked = async ({ name }) => {
      if (name === 'b' && catalog.lastRefreshedAt !== null)
        throw new PgproofError('STORE_UNMARKED', { store: 'b', key: 'pgproof.json', advice: '' })
    }
    expect(await caught(sync(test))).toMatchObject({
      code: 'SYNC_INCOMPLETE',
      details: expect.stringMatching(/^anything to store b: /),
    })
    expect([writes(test.b), manifestsIn(c).length]).toEqual([[], 4])
  })

  it('the first of two targets is not the store it should be - it stays empty, and the second is caught up', async () => {
    const c = new MemoryStore(clock)
    await using test = await filled({ c })
    const { stores } = test.installation
    stores.assertMarked = async ({ name }) => {
      if (name === 'b') throw new PgproofError('STORE_UNMARKED', { store: 'b', key: 'pgproof.json', advice: '' })
    }
    expect(await caught(sync(test))).toMatchObject({
      code: 'SYNC_INCOMPLETE',
      message: expect.stringContaining('1 failure'),
    })
    expect([test.b.keys(), manifestsIn(c).length]).toEqual([[], 4])
  })
})

describe('reports of drills', () => {
  const report = reportOf(third, '2026-11-15T05:00:00Z')
  const reportKey = drillReportKey('main', 'app', report.label)

  it('with signature and tables - copied, the report last', async () => {
    await using test = await filled()
    await storeReport(test.a, report)
    for (const beside of [`${reportKey}.sig`, reportKey.replace('.json', '.tables.json.pgp')])
      await test.a.put(beside, Buffer.from(beside), { signal })
    expect((await sync(test)).copied[1]?.reports).toBe(3)
    expect(bodies(test.b)).toEqual(bodies(test.a))
    const order = writes(test.b).filter((call) => call.startsWith('put drills/'))
    expect(order.at(-1)).toBe(`put ${reportKey}`)
    expect(test.installation.catalog.inStore('b').backups()[0]?.verifiedAt).not.toBeNull()
  })

  it('of a backup that is there - copied before any dump; of one that is lacking - after that one', async () => {
    await using test = await filled()
    for (const manifest of [first, roles]) await storeBackup(test.b, manifest)
    const ofHeld = reportOf(first, '2026-11-12T05:00:00Z')
    await storeReport(test.a, ofHeld)
    await storeReport(test.a, report)
    test.b.calls.length = 0
    await sync(test)
    expect(writes(test.b).filter((call) => /drills|manifest/.test(call))).toEqual([
      `put ${drillReportKey('main', 'app', ofHeld.label)}`,
      `put ${key(third, 'manifest.json')}`,
      `put ${key(second, 'manifest.json')}`,
      `put ${reportKey}`,
    ])
    expect(writes(test.b)[0]).toContain('put drills/')
  })

  it('there without its tables, which the other store has - they are copied, and the next sync finds nothing', async () => {
    await using test = await filled()
    await sync(test)
    const tables = Buffer.from('encrypted')
    const withTables = { ...report, tablesSha256: createHash('sha256').update(tables).digest('hex') }
    for (const store of [test.a, test.b]) await storeReport(store, withTables)
    await test.a.put(reportKey.replace('.json', '.tables.json.pgp'), tables, { signal })
    expect((await sync(test)).copied.map(({ reports }) => reports)).toEqual([0, 1])
    expect(bodies(test.b)).toEqual(bodies(test.a))
    expect((await sync(test, { isDryRun: true })).plans.map(({ reports }) => reports)).toEqual([[], []])
    expect(test.installation.catalog.damaged()).toEqual([])
  })

  it('there without its tables, and another one in the other store - told, and neither is written over', async () => {
    await using test = await filled()
    await sync(test)
    const tables = Buffer.from('encrypted')
    const withTables = { ...report, tablesSha256: createHash('sha256').update(tables).digest('hex') }
    await storeReport(test.b, withTables)
    await storeReport(test.a, { ...withTables, restoreTimeSeconds: 1 })
    await test.a.put(reportKey.replace('.json', '.tables.json.pgp'), tables, { signal })
    const before = [bodies(test.a), bodies(test.b)]
    expect(await caught(sync(test))).toMatchObject({
      code: 'SYNC_INCOMPLETE',
      details: expect.stringContaining(`${reportKey}, with other contents, already exists`),
    })
    expect([bodies(test.a), bodies(test.b)]).toEqual(before)
  })

  it('damaged in the first, sound in the third - the sound one is copied, to the second', async () => {
    const c = new MemoryStore(clock)
    await using test = await filled({ c })
    for (const store of [test.a, c]) await storeReport(store, report)
    test.a.truncate(reportKey, 50)
    await sync(test)
    expect(test.b.text(reportKey)).toBe(c.text(reportKey))
  })
})
