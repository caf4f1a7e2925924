import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliFolder, cliFolder } from '../commands/cli.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { freePort, query } from '../support/postgres-server.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'

let database: Awaited<ReturnType<typeof testDatabase>>
let bucket: TestBucket
beforeAll(async () => {
  database = await testDatabase('template0')
  await query(database.url, 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS id')
  bucket = await makeTestBucket()
})
afterAll(async () => {
  await bucket.remove()
  await database[Symbol.asyncDispose]()
})

/** What is left of the machine: the configuration and the keys, in a new folder; all else is gone. */
async function loseMachine(folder: CliFolder): Promise<string> {
  const rescued = mkdtempSync(join(tmpdir(), 'new-machine-'))
  for (const name of ['pgproof.yaml', 'pub.asc', 'key.asc']) cpSync(join(folder.path, name), join(rescued, name))
  await folder[Symbol.asyncDispose]()
  expect(existsSync(folder.path)).toBe(false)
  mkdirSync(join(rescued, 'tmp'))
  return rescued
}

describe('a daemon that was lost with its machine', () => {
  it('rebuilt from its configuration and keys - the first scrape, list, status and the page know everything', async () => {
    const port = await freePort()
    const { endpoint, region, provider, accessKeyId, secretAccessKey } = bucket.server
    const old = await cliFolder([database.name])
    await old.configure({
      store: { url: `s3://${bucket.name}/prod`, endpoint, region, provider, accessKeyId, secretAccessKey },
      // On purpose no path of the old machine.
      drill: { spool: 'spool' },
      servers: [{ name: 'main', url: testUrl(), databases: [database.name], objectives: { rpo: '26h', rto: '30m' } }],
      http: { listen: `127.0.0.1:${port}` },
    })
    expect((await old.run(['backup', '--roles'])).code).toBe(0)
    expect((await old.run(['backup'])).code).toBe(0)
    expect((await old.run(['drill'])).code).toBe(0)
    const before = await old.json(['list'])
    const drills = await old.json(['list', '--drills'])

    const rescued = await loseMachine(old)
    await using runner = await cliFolder([database.name])
    const options = { config: join(rescued, 'pgproof.yaml'), cwd: rescued, env: { TMPDIR: join(rescued, 'tmp') } }
    const started = runner.start(['serve'], options)
    try {
      // The port opens once the catalog is there: the first answer must be the truth.
      const metrics = await firstAnswer(`http://127.0.0.1:${port}/metrics`, () => started.child.exitCode)
      const place = `server="main",database="${database.name}"`
      const sample = (name: string, labels = place): number =>
        Number(
          metrics
            .split('\n')
            .find((line) => line.startsWith(`${name}{${labels}} `))
            ?.split(' ')
            .at(-1),
        )
      const [backup] = [...(before.document['backups'] ?? [])].filter(
        (one) => String(one['database']) === database.name,
      )
      const snapshotTime = Date.parse(String(backup?.['snapshotTime'])) / 1000
      for (const proof of ['any', 'verified'])
        expect(sample('pgproof_recovery_point_timestamp_seconds', `${place},proof="${proof}"`)).toBeCloseTo(
          snapshotTime,
          0,
        )
      expect(sample('pgproof_drill_last_passed_timestamp_seconds')).toBeGreaterThan(snapshotTime)
      expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toContain(database.name)

      // Ages move on; everything else is as it was.
      const timeless = ({ document }: { document: unknown }): unknown =>
        JSON.parse(JSON.stringify(document, (key, value: unknown) => (key === 'ageSeconds' ? undefined : value)))
      expect(timeless(await runner.json(['list'], options))).toEqual(timeless(before))
      expect(timeless(await runner.json(['list', '--drills'], options))).toEqual(timeless(drills))
      const { document } = await runner.json(['status'], options)
      expect(document).toMatchObject({
        databases: [{ database: database.name, backups: { retained: 1, verified: 1 } }],
        roles: [{ server: 'main', newestBackup: { passwords: 'present' } }],
        worries: [],
      })
      // And it goes on as if nothing had been: the next backup follows the last.
      expect((await runner.run(['backup'], options)).code).toBe(0)
      expect((await runner.run(['list', '--history'], options)).stdout).toContain(
        'every backup follows the one before it',
      )
    } finally {
      started.child.kill('SIGTERM')
      expect((await started.result).code).toBe(0)
      rmSync(rescued, { recursive: true })
    }
  })
})

async function firstAnswer(url: string, exitCode: () => number | null): Promise<string> {
  for (;;) {
    if (exitCode() !== null) throw new Error('serve has ended')
    const answer = await fetch(url).catch(() => undefined)
    if (answer !== undefined) return await answer.text()
  }
}
