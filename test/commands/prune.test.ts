import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PutBucketVersioningCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeDrillReport } from '../../src/domain/drill-report.ts'
import { drillReportKey } from '../../src/storage/object-keys.ts'
import { manifestAt, reportOf } from '../catalog/stored.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { testClient } from '../support/s3-server.ts'
import { makeTestBucket } from '../support/test-bucket.ts'
import { cliFolder } from './cli.ts'

describe('prune of old drill reports', () => {
  it('older than drill.keepReports and their backups gone - named before they go, and counted after', async () => {
    await using folder = await cliFolder(['app'])
    const reports = ['2020-01-01T05:00:00Z', '2020-02-01T05:00:00Z'].map((at) => reportOf(manifestAt(at), at))
    const paths = reports.map(({ server, database, label }) =>
      join(folder.path, 'store', drillReportKey(server, database, label)),
    )
    for (const [index, report] of reports.entries()) {
      const path = paths[index] ?? ''
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, encodeDrillReport(report))
    }
    const [old] = reports
    const dry = await folder.json(['prune', '--dry-run'])
    expect(dry.document['oldReports']).toEqual([{ store: 'store', server: 'main', database: 'app', label: old?.label }])
    const { code, stdout } = await folder.run(['prune'])
    expect(code).toBe(0)
    expect(stdout).toContain(
      `Drill reports to remove: older than drill.keepReports, and their backups are gone\n  ${old?.label} of main/app\n`,
    )
    expect(stdout).toMatch(/^Removed 0 backups and 1 leftover \(orphans, old drill reports\): [\d.]+ (B|KiB) freed\.$/m)
    const left = folder.objects()
    expect(paths.map((path) => left.includes(path))).toEqual([false, true])
  })
})

describe('prune of a bucket that keeps earlier versions', () => {
  let crm: Awaited<ReturnType<typeof testDatabase>>
  beforeAll(async () => {
    crm = await testDatabase('template1')
  })
  afterAll(() => crm[Symbol.asyncDispose]())

  it('says how much was freed, and how much is still there', async () => {
    const bucket = await makeTestBucket()
    try {
      const client = testClient(bucket.server)
      const versioning = { Bucket: bucket.name, VersioningConfiguration: { Status: 'Enabled' } } as const
      await client.send(new PutBucketVersioningCommand(versioning))
      client.destroy()
      await using folder = await cliFolder([crm.name])
      const { url, endpoint, region, provider, accessKeyId, secretAccessKey } = bucket.settings()
      const store = { url, endpoint, region, provider, accessKeyId, secretAccessKey: secretAccessKey?.() }
      const settings = (retention: object): object => ({
        store,
        servers: [{ name: 'main', url: testUrl(), databases: [crm.name], retention }],
      })
      await folder.configure(settings({ last: 5 }))
      for (let count = 0; count < 2; count += 1) expect(await folder.run(['backup'])).toMatchObject({ code: 0 })
      await folder.configure(settings({ last: 1 }))
      const { code, stdout } = await folder.run(['prune'])
      expect(code).toBe(0)
      expect(stdout).toMatch(
        /^Removed 1 backup: .+ freed\. .+ are still there as earlier versions, because the bucket keeps them \(store\.versions\)\.$/m,
      )
    } finally {
      await bucket.remove()
    }
  })
})
