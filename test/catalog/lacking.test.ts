import { describe, expect, it } from 'vitest'
import { type LackingQuestion, lackingIn } from '../../src/catalog/lacking.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import type { RetentionPolicy } from '../../src/domain/retention.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { manifestAt, present, reportOf, rolesManifestAt, signal } from './stored.ts'
import { type Held, readSeveral, type Several, several } from './two-stores.ts'

const nights = [1, 2, 3, 4].map((day) => manifestAt(`2026-11-0${day}T02:00:00Z`))
const [first, second, third, fourth] = nights as [Manifest, Manifest, Manifest, Manifest]
const policy = (changes: Partial<RetentionPolicy> = {}): RetentionPolicy => {
  return { last: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0, ...changes }
}

function lacking({ catalog }: Several, changes: Partial<LackingQuestion> = {}): string[] {
  const question = { store: 'b', policyOf: () => policy({ last: 10 }), now: present, timezone: 'UTC', ...changes }
  return lackingIn(question, catalog).map(({ manifest }) => manifest.label)
}

const keeps = (changes: Partial<RetentionPolicy>): Partial<LackingQuestion> => ({ policyOf: () => policy(changes) })
const labels = (...manifests: readonly Manifest[]): string[] => manifests.map(({ label }) => label)
const read = (a: Held, b: Held): Promise<Several> => readSeveral(a, b)

describe('what a store lacks', () => {
  it('nothing that it has - nothing; what only it has is lacking in the other', async () => {
    const test = await read({ backups: [first, second] }, { backups: nights })
    expect(lacking(test)).toEqual([])
    expect(lacking(test, { store: 'a' })).toEqual(labels(fourth, third))
  })

  it('a copy whose dump is missing - lacking, since another store has it whole', async () => {
    const test = await several({ backups: nights }, { backups: nights })
    test.stores['b']?.objects.delete(`${backupFolder(third)}dump.zst.pgp`)
    await test.refresh()
    expect(lacking(test)).toEqual(labels(third))
  })

  it('a damaged manifest - lacking', async () => {
    const test = await several({ backups: nights }, { backups: nights })
    test.stores['b']?.truncate(`${backupFolder(third)}manifest.json`, 20)
    await test.refresh()
    expect(lacking(test)).toEqual(labels(third))
  })

  it('what is whole nowhere - not lacking: there is nothing to copy', async () => {
    const test = await several({ backups: nights }, { backups: [first] })
    test.stores['a']?.objects.delete(`${backupFolder(third)}dump.zst.pgp`)
    await test.refresh()
    expect(lacking(test)).toEqual(labels(fourth, second))
  })

  it.each([
    ['the first store', 'a', 'b'],
    ['the second store', 'b', 'a'],
  ])(
    'another manifest under one label in %s - not lacking in the other: it would be written over',
    async (_, forgedIn, store) => {
      const forged = [first, second, { ...third, pgproofVersion: '9.9.9' }, fourth]
      const test = await read(
        { backups: forgedIn === 'a' ? forged : nights },
        { backups: forgedIn === 'b' ? forged : nights },
      )
      expect(lacking(test, { store })).toEqual([])
      expect(lacking(test, { store: forgedIn })).toEqual([])
    },
  )

  it('a forged copy in the first whose dump is gone, the true one in the second - neither is written over', async () => {
    const test = await several({ backups: [{ ...third, pgproofVersion: '9.9.9' }] }, { backups: [third] })
    test.stores['a']?.objects.delete(`${backupFolder(third)}dump.zst.pgp`)
    await test.refresh()
    expect([lacking(test), lacking(test, { store: 'a' })]).toEqual([[], []])
  })
})

describe('what it would not keep', () => {
  it('what it pruned - not brought back, be it that backup or another under its label', async () => {
    const test = await read(
      { backups: nights },
      { backups: [fourth], pruned: [first, { ...second, pgproofVersion: '9.9.9' }] },
    )
    expect(lacking(test)).toEqual(labels(third))
  })

  it('what another store pruned - is copied all the same', async () => {
    const test = await readSeveral({ backups: nights }, { backups: [fourth] }, { backups: [fourth], pruned: [third] })
    expect(lacking(test)).toEqual(labels(third, second, first))
    expect(lacking(test, { store: 'c' })).toEqual(labels(second, first))
  })

  it('more than the policy keeps - the newest of what it lacks, counted with what it has', async () => {
    const test = await read({ backups: nights }, { backups: [fourth, second] })
    expect(lacking(test, keeps({ last: 3 }))).toEqual(labels(third))
    expect(lacking(test, keeps({ last: 2 }))).toEqual(labels(third))
    expect(lacking(test, keeps({ last: 1 }))).toEqual([])
  })

  it('after the copying - the next prune of it removes none of what was copied', async () => {
    const months = Array.from({ length: 9 }, (_, month) => manifestAt(`2026-0${month + 1}-05T02:00:00Z`))
    const rule = { last: 2, monthly: 4 }
    const test = await read({ backups: [...months, ...nights] }, { backups: [fourth] })
    const copied = lacking(test, keeps(rule))
    expect(copied.length).toBeGreaterThan(2)
    const held = [...months, ...nights].filter(({ label }) => copied.includes(label) || label === fourth.label)
    const after = await read({ backups: [...months, ...nights] }, { backups: held })
    expect(lacking(after, keeps(rule))).toEqual([])
    // As if it were empty and had to keep what is there: nothing of it is left out.
    const mirrored = await read({ backups: held }, {})
    expect(lacking(mirrored, keeps(rule))).toHaveLength(held.length)
  })

  it('the newest verified one, however old - is kept, so it is copied', async () => {
    const reports = [reportOf(first, '2026-11-10T05:00:00Z', { store: 'a' })]
    const test = await read({ backups: nights, reports }, {})
    expect(lacking(test, keeps({ last: 1 }))).toEqual(labels(fourth, first))
  })

  it('of a server that is not configured any more - no prune touches it, so it is copied', async () => {
    const test = await read({ backups: nights }, {})
    expect(lacking(test, { policyOf: () => null })).toHaveLength(4)
  })

  it('of databases and roles - each by its own policy', async () => {
    const roles = ['2026-10-01', '2026-11-02'].map((day) => rolesManifestAt(`${day}T01:00:00Z`))
    const test = await read({ backups: [...nights, ...roles] }, {})
    const policyOf: LackingQuestion['policyOf'] = (_, kind) => policy({ last: kind === 'roles' ? 1 : 2 })
    expect(lacking(test, { policyOf })).toEqual(labels(fourth, third, roles[1] as Manifest))
  })

  it('roles that the policy no longer keeps and an old backup needs - are copied with it, or for one that is there', async () => {
    const oldBackup = manifestAt('2025-01-05T02:00:00Z')
    const oldRoles = rolesManifestAt('2025-01-06T01:00:00Z')
    const roles = rolesManifestAt('2026-11-04T01:00:00Z')
    const a = { backups: [oldBackup, oldRoles, fourth, roles] }
    const policyOf: LackingQuestion['policyOf'] = (_, kind) => policy(kind === 'roles' ? { last: 1 } : { last: 2 })
    expect(lacking(await read(a, {}), { policyOf })).toHaveLength(4)
    expect(lacking(await read(a, { backups: [oldBackup, fourth, roles] }), { policyOf })).toEqual(labels(oldRoles))
  })

  it('a backup being written there at this moment - is lacking until its manifest is there', async () => {
    const test = await read({ backups: nights }, { backups: [first, second, third] })
    expect(lacking(test)).toEqual(labels(fourth))
    const bytes = await test.stores['a']?.get(`${backupFolder(fourth)}manifest.json`, { signal })
    expect(bytes).toBeDefined()
    const backup = test.catalog.find(fourth.label)
    if (backup !== undefined) test.catalog.addBackup(backup, ['b'])
    expect(lacking(test)).toEqual([])
  })
})
