import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DrillReport } from '../../src/domain/drill-report.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { PgproofError } from '../../src/errors.ts'
import { type TestInstallation, testDatabase, testInstallation } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { storeSetOf } from '../support/store-sets.ts'

let crm: Awaited<ReturnType<typeof testDatabase>>
let keys: { publicKey: string; privateKey: string }

beforeAll(async () => {
  crm = await testDatabase('template1')
  await query(crm.url, 'CREATE TABLE contact (id int); INSERT INTO contact SELECT generate_series(1, 1000)')
  keys = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: new Date() })
})
afterAll(() => crm[Symbol.asyncDispose]())

/** An installation whose drills sign their reports and count those of nobody else, with one backup. */
async function signing(settings: Record<string, string> = {}): Promise<TestInstallation> {
  const folder = await testInstallation()
  // The key files outlive that folder's own installation and go with the one that is returned.
  const files = { publicKey: join(folder.folder, 'signer.pub.asc'), privateKey: join(folder.folder, 'signer.key.asc') }
  writeFileSync(files.publicKey, keys.publicKey)
  writeFileSync(files.privateKey, keys.privateKey, { mode: 0o600 })
  const test = await testInstallation({
    PGPROOF_ENCRYPTION__SIGNING_KEY_FILE: files.privateKey,
    PGPROOF_ENCRYPTION__TRUSTED_SIGNERS: files.publicKey,
    ...settings,
  })
  await test.run('backup', crm.name)
  return {
    ...test,
    [Symbol.asyncDispose]: async () => {
      rmSync(folder.folder, { recursive: true, force: true })
      await test[Symbol.asyncDispose]()
    },
  }
}

const drillKeys = (test: TestInstallation): string[] =>
  test.store.keys().flatMap((key) => /^drills\/.+?(\.[a-z.]+)$/.exec(key)?.[1] ?? [])

describe('the report of a drill', () => {
  it('is written last, after its tables and its signature, and counts at once and after a refresh', async () => {
    await using test = await signing()
    test.store.calls.length = 0
    const { drill } = await test.run('drill', crm.name)
    expect(drill?.report.verdict).toBe('passed')
    const puts = test.store.calls.flatMap((call) => /^put drills\/.+?(\.[a-z.]+)$/.exec(call)?.[1] ?? [])
    expect(puts).toEqual(['.tables.json.pgp', '.json.sig', '.json'])
    const { catalog } = test.installation
    expect(catalog.newest('main', crm.name, 'verified')).toBeDefined()
    await catalog.refresh(storeSetOf(test.store), new AbortController().signal)
    expect(catalog.newest('main', crm.name, 'verified')).toBeDefined()
    expect(catalog.damaged()).toEqual([])
  })

  it('the store fails at the report itself - what was written before counts as nothing', async () => {
    await using test = await signing()
    test.store.before = (operation, key) => {
      if (operation === 'put' && /^drills\/.+Z-\w{4}\.json$/.test(key))
        throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'gone' })
    }
    await expect(test.run('drill', crm.name)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    test.store.before = () => {}
    await test.installation.catalog.refresh(storeSetOf(test.store), new AbortController().signal)
    expect(drillKeys(test).toSorted()).toEqual(['.json.sig', '.tables.json.pgp'])
    expect(test.installation.catalog.drills()).toEqual([])
    expect(test.installation.catalog.damaged()).toEqual([])
  })

  it('forecasts the restore of the newest backup - from this drill alone, then from both', async () => {
    await using test = await signing()
    const first = (await test.run('drill', crm.name)).drill?.report as DrillReport
    expect(first.forecastSeconds).toBeCloseTo(first.restoreTimeSeconds ?? 0, 3)
    const second = (await test.run('drill', crm.name)).drill?.report as DrillReport
    const mean = ((first.restoreTimeSeconds ?? 0) + (second.restoreTimeSeconds ?? 0)) / 2
    expect(second.forecastSeconds).toBeCloseTo(mean, 3)
  })

  it('older than drill.keepReports and of a backup that is gone - a prune removes it with tables and signature', async () => {
    await using test = await signing({
      PGPROOF_DRILL__KEEP_REPORTS: '1s',
      PGPROOF_SERVERS__0__RETENTION__LAST: '1',
      PGPROOF_SERVERS__0__RETENTION__VERIFIED: '1',
    })
    const old = (await test.run('drill', crm.name)).drill?.report.label ?? ''
    expect(test.store.keys().filter((key) => key.includes(old))).toHaveLength(3)
    // The newest verified backup is never pruned: another one has to take its place.
    await test.run('backup', crm.name)
    await test.run('drill', crm.name, { pick: 'latest' })
    const left = async (): Promise<string[]> => {
      await test.run('prune')
      return test.store.keys().filter((key) => key.includes(old))
    }
    await expect.poll(left, { timeout: 10_000, interval: 200 }).toEqual([])
    expect(drillKeys(test)).toHaveLength(3)
    expect(test.installation.catalog.historyGaps()).toEqual([])
  })
})
