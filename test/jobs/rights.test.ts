import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { runCheck } from '../../src/jobs/check.ts'
import { executeRun, type Finished } from '../../src/jobs/execute.ts'
import { runPrune } from '../../src/jobs/prune.ts'
import { newRun } from '../../src/jobs/run-job.ts'
import { silentLog } from '../../src/log.ts'
import { type Wired, wire } from '../../src/wire.ts'
import { signal } from '../catalog/stored.ts'
import { testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { makeUserBucket, rgwUsers, serverWithUsers, shippedPolicy, type UserBucket } from '../support/rgw-users.ts'
import type { S3Server } from '../support/s3-server.ts'

let server: S3Server
let source: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  server = await serverWithUsers()
  source = await testDatabase()
})
afterAll(async () => {
  await source[Symbol.asyncDispose]()
  await server.stop()
})

/** A store in this bucket as a machine knows it that only makes backups. */
function writerVariables(bucket: UserBucket): Record<string, string> {
  return {
    PGPROOF_STORE__URL: `s3://${bucket.name}/some/prefix`,
    PGPROOF_STORE__ENDPOINT: server.endpoint,
    PGPROOF_STORE__REGION: server.region,
    PGPROOF_STORE__PROVIDER: server.provider,
    PGPROOF_STORE__ACCESS_KEY_ID: rgwUsers.writer,
    PGPROOF_STORE__SECRET_ACCESS_KEY: `${rgwUsers.writer}-secret`,
    PGPROOF_STORE__APPEND_ONLY: 'true',
  }
}

/** And as one knows it that does everything, each thing with credentials of its own. */
function storeVariables(bucket: UserBucket): Record<string, string> {
  return {
    ...writerVariables(bucket),
    PGPROOF_STORE__READER__ACCESS_KEY_ID: rgwUsers.reader,
    PGPROOF_STORE__READER__SECRET_ACCESS_KEY: `${rgwUsers.reader}-secret`,
    PGPROOF_STORE__PRUNER__ACCESS_KEY_ID: rgwUsers.pruner,
    PGPROOF_STORE__PRUNER__SECRET_ACCESS_KEY: `${rgwUsers.pruner}-secret`,
  }
}

describe('an installation with the shipped policies', () => {
  it('check, backups, a drill and a prune - each works with the rights that it has, and check finds no more than those', async () => {
    const bucket = await makeUserBucket(server, { versioning: true })
    try {
      await bucket.grant({
        writer: shippedPolicy('writer', bucket.name),
        reader: shippedPolicy('reader', bucket.name),
        pruner: shippedPolicy('pruner', bucket.name),
      })
      // For its folder and its keys.
      await using test = await testInstallation()
      const configure = async (store: Record<string, string>) =>
        await loadConfig({
          file: undefined,
          cwd: test.folder,
          env: {
            PGPROOF_ENCRYPTION__RECIPIENTS: 'backup.pub.asc',
            PGPROOF_ENCRYPTION__PRIVATE_KEY_FILE: 'backup.key.asc',
            PGPROOF_SERVERS__0__NAME: 'main',
            PGPROOF_SERVERS__0__URL: testUrl(),
            PGPROOF_SERVERS__0__DATABASES: source.name,
            PGPROOF_SERVERS__0__RETENTION__LAST: '1',
            PGPROOF_SERVERS__0__RETENTION__DAILY: '0',
            PGPROOF_SERVERS__0__RETENTION__WEEKLY: '0',
            PGPROOF_SERVERS__0__RETENTION__MONTHLY: '0',
            PGPROOF_SERVERS__0__RETENTION__YEARLY: '0',
            PGPROOF_SERVERS__0__RETENTION__VERIFIED: '1',
            PGPROOF_DRILL__SPOOL: join(test.folder, 'spool'),
            ...store,
          },
        })
      const run = async (
        { installation }: Wired,
        job: 'backup' | 'roles' | 'drill',
        database: string | null,
      ): Promise<Finished> => {
        await installation.catalog.refresh(installation.stores, signal)
        const order = newRun({ job, server: 'main', database, trigger: 'cli' }, installation)
        return await executeRun(order, { prune: false, pick: 'latest' }, installation, signal)
      }
      const options = { writes: true, needsCatalog: true, log: silentLog }

      // The machine beside the database.
      const labels: (string | null)[] = []
      const { config: writerConfig } = await configure(writerVariables(bucket))
      {
        await using writing = await wire(writerConfig, options, signal)
        await run(writing, 'roles', null)
        for (let count = 0; count < 3; count += 1) labels.push((await run(writing, 'backup', source.name)).label)
      }

      // Another one.
      const { config } = await configure(storeVariables(bucket))
      await using wired = await wire(config, options, signal)
      const { installation } = wired
      const findings = (await runCheck(installation, signal)).filter(({ subject }) => subject === 'store')
      expect(findings.map(({ result }) => result)).not.toContain('problem')
      expect(findings.map(({ result }) => result)).not.toContain('warning')

      expect((await run(wired, 'drill', source.name)).drill?.report).toMatchObject({ verdict: 'passed' })

      await installation.catalog.refresh(installation.stores, signal)
      const { removed } = await runPrune({ isDryRun: false, isForced: true }, installation, signal)
      expect(JSON.stringify(removed)).toContain(labels[0])
      const listed: string[] = []
      for await (const { key } of installation.stores.one('store').reader.list('backups/', { signal })) listed.push(key)
      expect(listed.some((key) => key.includes(labels[0] ?? ''))).toBe(false)
      expect(listed.some((key) => key.includes(labels[2] ?? ''))).toBe(true)
    } finally {
      await bucket.remove()
    }
  })
})
