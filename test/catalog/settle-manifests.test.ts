import { describe, expect, it } from 'vitest'
import { Catalog, type CatalogBackup, type ReportTrust, storesOf } from '../../src/catalog/catalog.ts'
import { lackingIn } from '../../src/catalog/lacking.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { PgproofError } from '../../src/errors.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { manifestAt, present, reportOf, rolesManifestAt, sha256Of, signal, storeBackup } from './stored.ts'
import { type Held, type Several, several } from './two-stores.ts'

const first = manifestAt('2026-11-01T02:00:00Z')
const second = manifestAt('2026-11-02T02:00:00Z', { previous: { label: first.label, sha256: sha256Of(first) } })
const third = manifestAt('2026-11-03T02:00:00Z', { previous: { label: second.label, sha256: sha256Of(second) } })
const all = [first, second, third]

/** The same backup by another hand. */
const forged = (manifest: Manifest): Manifest => ({ ...manifest, pgproofVersion: '9.9.9' })
const replace = (manifest: Manifest): readonly Manifest[] => all.map((one) => (one === manifest ? forged(one) : one))

async function read(a: Held, b: Held, trust: ReportTrust | null = null): Promise<Several> {
  const test = await several(a, b)
  const catalog = new Catalog({
    clock: { now: () => present, monotonicMs: () => 0, sleep: async () => {} },
    reportTrust: async () => trust,
  })
  const whole = { ...test, catalog, refresh: () => catalog.refresh(test.set, signal) }
  await whole.refresh()
  return whole
}

function found({ catalog }: Several, { label }: Manifest): CatalogBackup {
  return catalog.find(label) ?? expect.unreachable()
}

const faultsIn = ({ copies }: CatalogBackup) => Object.fromEntries(copies.map(({ store, faults }) => [store, faults]))

describe('stores with different manifests of one backup', () => {
  it.each([
    ['first', replace(second), all, 'b'],
    ['second', all, replace(second), 'a'],
  ])(
    'replaced in the %s, and the next backup names the other - that one counts, the other copy is faulty, and it is told',
    async (_which, a, b, right) => {
      const test = await read({ backups: a }, { backups: b })
      const wrong = right === 'a' ? 'b' : 'a'
      const backup = found(test, second)
      expect(backup.manifestSha256).toBe(sha256Of(second))
      expect(backup.faults).toEqual([])
      expect(storesOf(backup)).toEqual([right])
      const reason = `store ${right} has another one than store ${wrong}, and backup ${third.label}, which came after it, names that one`
      expect(faultsIn(backup)).toMatchObject({ [right]: [], [wrong]: [`its manifest: ${reason}`] })
      expect(test.catalog.damaged()).toMatchObject([{ store: wrong, error: { code: 'MANIFESTS_DIFFER' } }])
      expect(test.catalog.historyGaps()).toEqual([])
    },
  )

  it('the newest, which none follows, and a drill passed - the drilled one counts', async () => {
    const report = reportOf(third, '2026-11-04T02:00:00Z')
    const test = await read({ backups: replace(third) }, { backups: all, reports: [report] })
    expect(found(test, third).manifestSha256).toBe(sha256Of(third))
    expect(storesOf(found(test, third))).toEqual(['b'])
  })

  it('a drill that failed - says nothing for the one that it read', async () => {
    const report = reportOf(third, '2026-11-04T02:00:00Z', { verdict: 'failed' })
    const test = await read({ backups: replace(third) }, { backups: all, reports: [report] })
    expect(found(test, third).isDisputed).toBe(true)
  })

  it('the newest, and nothing tells - no copy is whole, each says why, and the one before is the latest whole one', async () => {
    const test = await read({ backups: replace(third) }, { backups: all })
    const backup = found(test, third)
    const faults = faultsIn(backup)
    expect(Object.keys(faults)).toEqual(['a', 'b'])
    expect(faults['a']?.[0]).toBe(
      'its manifest: store b has another one than store a, and nothing tells which is the true one',
    )
    expect(faults['b']?.[0]).toBe(
      'its manifest: store a has another one than store b, and nothing tells which is the true one',
    )
    expect(backup.isDisputed).toBe(true)
    expect(test.catalog.damageOf(third.label)).toMatchObject({ code: 'MANIFESTS_DIFFER' })
    const newestWhole = test.catalog.backups({ kind: 'database' }).find((one) => one.faults.length === 0)
    expect(newestWhole?.manifest.label).toBe(second.label)
  })

  it('each named by a backup of its own store - nothing tells', async () => {
    const other = forged(second)
    const rechained = {
      ...third,
      label: third.label.replace('4f7k', 'aaaa'),
      previous: { label: other.label, sha256: sha256Of(other) },
    }
    const test = await read({ backups: [first, other, rechained] }, { backups: all })
    expect(found(test, second).isDisputed).toBe(true)
  })

  it('roles - settled by the next ones', async () => {
    const old = rolesManifestAt('2026-11-01T03:00:00Z')
    const next = rolesManifestAt('2026-11-08T03:00:00Z', { previous: { label: old.label, sha256: sha256Of(old) } })
    const test = await read({ backups: [forged(old), next] }, { backups: [old, next] })
    expect(storesOf(found(test, old))).toEqual(['b'])
  })

  it('one of them signed by a trusted signer - that one counts, whatever the rest of the store says', async () => {
    const trust: ReportTrust = {
      identity: 'x',
      storeId: null,
      verify: async (bytes, signature, what) => {
        if (!Buffer.from(bytes).includes('9.9.9') && Buffer.from(signature).toString() === 'good')
          return { fingerprint: 'F' }
        throw new PgproofError('SIGNATURE_INVALID', { what, reason: 'test' })
      },
    }
    const other = forged(second)
    const rechained = {
      ...third,
      label: third.label.replace('4f7k', 'aaaa'),
      previous: { label: other.label, sha256: sha256Of(other) },
    }
    const test = await several({ backups: [first, other, rechained] }, { backups: all })
    for (const store of ['a', 'b'])
      await test.stores[store]?.put(`${backupFolder(second)}manifest.json.sig`, Buffer.from('good'), { signal })
    const catalog = new Catalog({
      clock: { now: () => present, monotonicMs: () => 0, sleep: async () => {} },
      reportTrust: async () => trust,
    })
    await catalog.refresh(test.set, signal)
    const backup = found({ ...test, catalog }, second)
    expect(storesOf(backup)).toEqual(['b'])
    expect(faultsIn(backup)['a']?.[0]).toContain('a trusted signer signed that one')
  })

  it('the refresh is cancelled while it asks who signed them - it fails, and neither counts before the next one', async () => {
    const verify = async (): Promise<never> => {
      throw new PgproofError('SIGNATURE_INVALID', { what: 'it', reason: 'test' })
    }
    const test = await several({ backups: replace(third) }, { backups: all })
    const catalog = new Catalog({
      clock: { now: () => present, monotonicMs: () => 0, sleep: async () => {} },
      reportTrust: async () => ({ identity: 'x', storeId: null, verify }),
    })
    const controller = new AbortController()
    const store = test.stores['b'] ?? expect.unreachable()
    store.before = (operation, key) => {
      if (operation === 'get' && key.endsWith('.json.sig')) controller.abort()
    }
    await store.put(`${backupFolder(third)}manifest.json.sig`, Buffer.from('x'), { signal })
    await expect(catalog.refresh(test.set, controller.signal)).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(catalog.backups()).toEqual([])
    await catalog.refresh(test.set, signal)
    expect(found({ ...test, catalog }, third).isDisputed).toBe(true)
  })

  it('settled - a sync writes over neither of them', async () => {
    const test = await read({ backups: replace(second) }, { backups: all })
    const lacking = lackingIn({ store: 'a', policyOf: () => null, now: present, timezone: 'UTC' }, test.catalog)
    expect(lacking).toEqual([])
  })

  it('put right again - nothing is left of it after the next reading', async () => {
    const test = await read({ backups: replace(second) }, { backups: all })
    // Another time and with it another document: what was read before is not believed for it.
    test.stores['a']?.objects.delete(`${backupFolder(second)}manifest.json`)
    await test.refresh()
    await storeBackup(test.stores['a'] ?? expect.unreachable(), second)
    await test.refresh()
    expect(faultsIn(found(test, second))).toEqual({ a: [], b: [] })
    expect(test.catalog.damaged()).toEqual([])
  })
})
