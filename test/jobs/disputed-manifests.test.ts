import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeManifest, encodeManifest } from '../../src/domain/manifest.ts'
import { describeKeepReason } from '../../src/domain/retention.ts'
import { runPrune } from '../../src/jobs/prune.ts'
import { runSync } from '../../src/jobs/sync.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { storeBackup } from '../catalog/stored.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import type { MemoryStore } from '../support/memory-store.ts'
import { restoreTo, targetName } from '../support/restoring.ts'
import { bodies, caught, manifestsIn, soundManifestAt, twoStores } from './two-stores.ts'

const { signal } = new AbortController()
let source: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  source = await testDatabase()
})
afterAll(async () => {
  await source[Symbol.asyncDispose]()
})

/** Somebody who can write to the store puts another manifest in the place of that one. Two of one second have no order by their names. */
async function replaceManifest(store: MemoryStore, label: string | null): Promise<string> {
  const key = store.keys().find((one) => one.endsWith(`/${label}/manifest.json`)) ?? ''
  const manifest = decodeManifest(Buffer.from(store.text(key)), key)
  await store.put(key, encodeManifest({ ...manifest, startedAt: '2020-01-01T00:00:00.000Z' }), { signal })
  return manifest.label
}

describe('two stores with different manifests of one backup', () => {
  it('nothing tells which is true - a restore refuses and says how to go on; a store named decides', async () => {
    await using test = await twoStores()
    await using target = targetName(testUrl())
    const made = await test.run('backup', source.name)
    const label = await replaceManifest(test.a, made.label)
    await test.installation.catalog.refresh(test.installation.stores, signal)
    const error = await caught(restoreTo(test, target.url, { choice: { by: 'label', label } }))
    expect(error).toMatchObject({ code: 'MANIFESTS_DIFFER', hint: expect.stringContaining('--from') })
    expect(error.message).toContain('nothing tells which is the true one')
    const latest = await caught(restoreTo(test, target.url))
    expect(latest).toMatchObject({ code: 'NO_BACKUP', details: expect.stringContaining('nothing tells') })
    const chosen = { choice: { by: 'label', label } as const, from: 'b' }
    expect(await restoreTo(test, target.url, chosen)).toMatchObject({ outcome: 'created', error: null })
  })

  it('the backup after it tells - a restore takes the true one by itself, a sync writes over neither', async () => {
    await using test = await twoStores()
    await using target = targetName(testUrl())
    const first = await test.run('backup', source.name)
    await test.run('backup', source.name)
    const label = await replaceManifest(test.a, first.label)
    const replaced = bodies(test.a)
    await runSync({ isDryRun: false }, test.installation, signal)
    expect(bodies(test.a)).toEqual(replaced)
    const report = await restoreTo(test, target.url, { choice: { by: 'label', label }, verify: true })
    expect(report).toMatchObject({ outcome: 'created', error: null })
  })

  it('beyond what is kept - no copy of it is pruned, the others go', async () => {
    const nights = [10, 11, 12, 13].map((day) => soundManifestAt(`2026-11-${day}T02:00:00Z`))
    const settings = { PGPROOF_SERVERS__0__RETENTION__LAST: '1', PGPROOF_SERVERS__0__RETENTION__DAILY: '0' }
    const now = new Date('2026-11-13T12:00:00Z')
    const clock = { now: () => now, monotonicMs: () => 0, sleep: async () => {} }
    await using test = await twoStores({ settings, clock })
    for (const store of [test.a, test.b]) for (const manifest of nights) await storeBackup(store, manifest)
    const [, disputed, , newest] = nights
    const other = { ...(disputed ?? expect.unreachable()), pgproofVersion: '9.9.9' }
    await test.a.put(`${backupFolder(other)}manifest.json`, encodeManifest(other), { signal })
    const { plan } = await runPrune({ isDryRun: false, isForced: true }, test.installation, signal)
    for (const store of [test.a, test.b]) expect(manifestsIn(store)).toEqual([disputed?.label, newest?.label])
    const reasons = plan.groups.flatMap(({ decisions }) =>
      decisions.filter(({ label }) => label === disputed?.label).flatMap((one) => one.reasons.map(describeKeepReason)),
    )
    expect(reasons).toHaveLength(2)
    for (const reason of reasons) expect(reason).toContain('another store has another manifest of it')
  })
})
