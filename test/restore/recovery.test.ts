import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { type BareMachine, bareMachine, commandBlocks } from '../support/bare-machine.ts'
import {
  addressed,
  blocksOf,
  bringKeys,
  clearServer,
  databaseOf,
  differences,
  expectDone,
  fromStep,
  type Kept,
  keep,
  strict,
  wholeDatabase,
} from '../support/by-hand.ts'
import { query, startPostgres, type TestServer } from '../support/postgres-server.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'

const page = readFileSync(new URL('../../docs/recovery.md', import.meta.url), 'utf8')

const s3Environment = ({ server }: TestBucket): Record<string, string> => ({
  AWS_ACCESS_KEY_ID: server.accessKeyId,
  AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
  AWS_REGION: server.region,
  AWS_ENDPOINT_URL: server.endpoint,
})

const pageChanges = (bucket: TestBucket, signer = ''): Record<string, string> => ({
  'signer=FINGERPRINT': `signer=${signer}`,
  'AWS_ACCESS_KEY_ID=reader': `AWS_ACCESS_KEY_ID=${bucket.server.accessKeyId}`,
  'AWS_SECRET_ACCESS_KEY=secret': `AWS_SECRET_ACCESS_KEY=${bucket.server.secretAccessKey}`,
  'AWS_REGION=us-east-1': `AWS_REGION=${bucket.server.region}`,
  'https://s3.example.com': bucket.server.endpoint,
  'store=backups/prod': `store=${bucket.settings().url.replace('s3://', '')}`,
})

async function bareMachineWith<T>(
  keys: Kept['keys'],
  use: (machine: BareMachine) => Promise<T>,
  programs: readonly string[] = [],
): Promise<T> {
  await using machine = bareMachine(programs)
  bringKeys(machine.folder, keys)
  return await use(machine)
}

/** The blocks of docs/recovery.md up to where the guides go on, with one of its clients. */
function pageBlocks(client: string, changes: Record<string, string>): string[] {
  const [steps = ''] = page.split('\n## 5. ')
  const sections = steps
    .split(/^(?=##)/m)
    .filter((text) => !text.startsWith('### ') || text.startsWith(`### ${client}`))
  const blocks = commandBlocks(sections.join('')).join('\0')
  for (const from of Object.keys(changes)) expect(blocks).toContain(from)
  return Object.entries(changes)
    .reduce((text, [from, to]) => text.replaceAll(from, to), blocks)
    .split('\0')
}

describe('restored by hand, command by command, on a machine without pgproof', () => {
  let target: TestServer
  let bucket: TestBucket
  /** Signed, compressed by pg_dump, in a bucket. */
  let inBucket: Kept
  beforeAll(async () => {
    target = await startPostgres()
    bucket = await makeTestBucket()
    inBucket = await keep('shop', { bucket }, 'signed', { PGPROOF_SERVERS__0__COMPRESSION__METHOD: 'gzip' })
  })
  afterEach(async () => await clearServer(target))
  afterAll(async () => {
    await inBucket[Symbol.asyncDispose]()
    await bucket.remove()
    await target.stop()
  })

  it('RECOVERY.md in a directory, zstd, unsigned, names that need quoting - roles and database, equal in every digest', async () => {
    await using machine = bareMachine()
    const directory = join(machine.folder, "the store's")
    mkdirSync(directory)
    await using kept = await keep(`Shop "1's" \`x\` \\`, { directory }, 'unsigned')
    bringKeys(machine.folder, kept.keys)
    const guide = (folder: string): string => readFileSync(join(directory, folder, 'RECOVERY.md'), 'utf8')
    expectDone(await machine.run(blocksOf(guide(kept.folders.roles), target)))
    const followed = await machine.run(blocksOf(guide(kept.folders.database), target))
    expectDone(followed)
    expect(followed.output).toContain('counts compared: all as expected')
    expect(await differences(target, kept)).toBe('')
    expect(await databaseOf(target, kept.database)).toEqual(wholeDatabase)
    const subscriptions = await query(target.url(kept.database), 'SELECT subenabled AS enabled FROM pg_subscription')
    expect(subscriptions).toEqual([{ enabled: false }])
    // The plaintext is gone again.
    const left = ['RECOVERY.md', 'dump.zst.pgp', 'evidence.json.pgp', 'manifest.json', 'roles.sql.pgp']
    expect(readdirSync(machine.folder).sort()).toEqual(['backup.key.asc', "the store's", ...left].sort())

    const found = await bareMachineWith(kept.keys, async (other) => {
      const blocks = pageBlocks('a directory', {
        'store=/mnt/backups': `store="${directory}"`,
        'database=shop': `database='${kept.folders.database.split('/')[2]}'`,
      })
      return await other.run(blocks.filter((block) => !/signing\.pub|manifest\.json\.sig/.test(block)))
    })
    expectDone(found)
    expect(found.output.match(/: OK$/gm)).toHaveLength(6)
  })

  it('RECOVERY.md in a bucket, gzip, signed - fetched by rclone, signature good, equal in every digest', async () => {
    await using machine = bareMachine(['rclone'])
    bringKeys(machine.folder, inBucket.keys)
    const env = s3Environment(bucket)
    for (const folder of [inBucket.folders.roles, inBucket.folders.database]) {
      await inBucket.fetch(folder, machine.folder)
      const guide = readFileSync(join(machine.folder, 'RECOVERY.md'), 'utf8')
      for (const name of readdirSync(machine.folder)) if (!name.endsWith('.asc')) rmSync(join(machine.folder, name))
      const followed = await machine.run(blocksOf(guide, target), env)
      expectDone(followed)
      expect(followed.output).toMatch(/VALIDSIG/)
    }
    expect(await differences(target, inBucket)).toBe('')
    expect(await databaseOf(target, 'shop')).toEqual(wholeDatabase)
  })

  it.each(['rclone', 's3cmd'])(
    'docs/recovery.md with %s - the newest backup found, fetched and checked',
    async (client) => {
      const { output, failed } = await bareMachineWith(
        inBucket.keys,
        async (machine) => await machine.run(pageBlocks(client, pageChanges(bucket, inBucket.signer))),
        [client],
      )
      expect(failed, output).toBeUndefined()
      expect(output).toContain(inBucket.folders.database.split('/').at(-2))
      expect(output.match(/VALIDSIG/g)).toHaveLength(2)
      expect(output.match(/: OK$/gm)).toHaveLength(6)
    },
  )

  it.each<[string, string, (folder: string) => void]>([
    [
      'a manifest that somebody wrote who cannot sign',
      'BAD signature',
      (folder) => {
        const path = join(folder, 'database/manifest.json')
        writeFileSync(path, readFileSync(path, 'utf8').replace('"kind": "database"', '"kind":  "database"'))
      },
    ],
    ['a signature that is gone', 'No such file', (folder) => rmSync(join(folder, 'database/manifest.json.sig'))],
  ])('docs/recovery.md and %s - its block fails, and that is the end', async (_, says, harm) => {
    await using machine = bareMachine(['rclone'])
    bringKeys(machine.folder, inBucket.keys)
    const blocks = pageBlocks('rclone', pageChanges(bucket, inBucket.signer))
    const verify = blocks.findIndex((block) => block.includes('--verify'))
    expectDone(await machine.run(blocks.slice(0, verify)))
    harm(machine.folder)
    const { output, failed } = await machine.run([strict, ...blocks.slice(verify)], { signer: inBucket.signer })
    expect([failed, output]).toEqual([1, expect.stringContaining(says)])
  })

  it('docs/recovery.md and the signature of somebody else whose key is in the ring - its block fails', async () => {
    const { output, failed } = await bareMachineWith(
      inBucket.keys,
      async (machine) => await machine.run(pageBlocks('rclone', pageChanges(bucket, 'F'.repeat(40)))),
      ['rclone'],
    )
    expect(output).toContain('Good signature')
    expect(output).not.toContain(': OK')
    expect(failed).toBeDefined()
  })

  it('docs/recovery.md to its end, without the roles - a restored database, and one table beside the living one', async () => {
    await using machine = bareMachine(['rclone'])
    bringKeys(machine.folder, inBucket.keys)
    expectDone(await machine.run(pageBlocks('rclone', pageChanges(bucket, inBucket.signer))))
    const guide = readFileSync(join(machine.folder, 'database/RECOVERY.md'), 'utf8')
    const blocks = addressed(commandBlocks(fromStep(guide, 3)), target, {
      'owners=()': 'owners=(--no-owner --no-privileges)',
    }).filter((block) => !block.includes('database.sql') || block.startsWith('rm '))
    expectDone(await machine.run(['cd database', strict, ...blocks]))
    const count = 'SELECT count(*)::int AS rows, min(id)::int AS first FROM shop.event'
    const before = await query(target.url('shop'), count)
    await query(target.url('shop'), 'DELETE FROM shop.event WHERE id < 100')
    const [, table = ''] = page.split('\n## One table only')
    const oneTable = commandBlocks(table.split('\n## ')[0] ?? '').map((block) =>
      block.replace('gpg --decrypt database/dump.zst.pgp | zstd -d >', 'gpg --decrypt database/dump.pgp >'),
    )
    const env = { PGHOST: '127.0.0.1', PGPORT: String(target.port), PGUSER: 'postgres' }
    expectDone(await machine.run([strict, ...oneTable], env))
    expect(await query(target.url('shop'), count.replace('shop.event', 'recovered.event'))).toEqual(before)
    expect(await query(target.url('shop'), count)).not.toEqual(before)
  })

  it('rows, a table and a sequence lost on the way - the comparison names them and ends with an error', async () => {
    await using machine = bareMachine()
    bringKeys(machine.folder, inBucket.keys)
    await inBucket.fetch(inBucket.folders.database, machine.folder)
    const guide = readFileSync(join(machine.folder, 'RECOVERY.md'), 'utf8')
    const blocks = addressed(commandBlocks(fromStep(guide, 2)), target, {
      'owners=()': 'owners=(--no-owner --no-privileges)',
    })
    const comparison = blocks.findIndex((block) => block.includes('evidence.json`'))
    const harm = `psql -X --dbname=restored --set=ON_ERROR_STOP=on <<'SQL'
      DROP EVENT TRIGGER log_ddl; DELETE FROM shop.note WHERE author = 'ann'; DROP TABLE shop."Odd ""Name""";
      SELECT setval('shop.event_id_seq', 1); SELECT lo_unlink(min(oid)) FROM pg_largeobject_metadata;\nSQL`
    const { failed, output } = await machine.run([strict, ...blocks.toSpliced(comparison, 0, harm)])
    expect(failed).toBe(comparison + 2)
    expect(output.split('\n').filter((line) => line.includes(': expected'))).toEqual([
      expect.stringMatching(/^large objects: expected \d+, restored \d+$/),
      expect.stringMatching(/^sequence shop\.event_id_seq: expected \d+, restored 1$/),
      'table shop."Odd ""Name""": expected 2, restored missing',
      'table shop.note: expected 3, restored 2',
    ])
  })

  describe('what cannot be restored', () => {
    const damaged = (change: (folder: string) => void, from = 2, keys = inBucket.keys) =>
      bareMachineWith(keys, async (machine) => {
        await inBucket.fetch(inBucket.folders.database, machine.folder)
        const guide = readFileSync(join(machine.folder, 'RECOVERY.md'), 'utf8')
        change(machine.folder)
        const blocks = commandBlocks(from === 2 ? fromStep(guide, 2) : `${keyStep}${fromStep(guide, from)}`)
        const outcome = await machine.run([strict, ...blocks])
        return { ...outcome, at: [strict, ...blocks][outcome.failed ?? 0] }
      })
    const keyStep = '```sh\ngpg --batch --import backup.key.asc\n```\n'
    const dump = (folder: string): string => join(folder, 'dump.pgp')
    const flip = (folder: string): void => {
      const bytes = readFileSync(dump(folder))
      bytes[5000] = (bytes[5000] as number) ^ 1
      writeFileSync(dump(folder), bytes)
    }

    it('a dump cut short - sha256sum says which file, and that is the end', async () => {
      const { output, at } = await damaged((folder) => truncateSync(dump(folder), 5000))
      expect(at).toContain('sha256sum')
      expect(output).toContain('dump.pgp: FAILED')
    })

    it('a bit flipped - sha256sum; without that step gpg ends with an error', async () => {
      expect((await damaged(flip)).output).toContain('dump.pgp: FAILED')
      const { output, at } = await damaged(flip, 3)
      expect(at).toContain('gpg --decrypt')
      expect(output).toContain('encrypted message has been manipulated')
    })

    it('a manifest that was changed after it was signed - BAD signature', async () => {
      const { output, at } = await damaged((folder) => {
        const path = join(folder, 'manifest.json')
        writeFileSync(path, readFileSync(path, 'utf8').replace('"kind": "database"', '"kind":  "database"'))
      })
      expect(at).toContain('--verify')
      expect(output).toContain('BAD signature')
    })

    it('a key that opens nothing - No secret key', async () => {
      const { privateKey } = await generateKeyPair({ name: 'other', kind: 'ecc', use: 'backup', now: new Date() })
      const { output, at } = await damaged(() => {}, 2, { ...inBucket.keys, privateKey })
      expect(at).toContain('gpg --decrypt')
      expect(output).toContain('No secret key')
    })
  })
})
