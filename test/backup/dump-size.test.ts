import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DumpCompression, expectedDumpBytes } from '../../src/postgres/dump.ts'
import { partBytesAt, planParts } from '../../src/storage/part-plan.ts'
import { s3Profiles } from '../../src/storage/s3-profiles.ts'
import { testDatabase, testInstallation } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { query } from '../support/postgres-server.ts'

/** What a store whose parts are all of one size takes of a stream of which so much was expected. */
function takenBy({ expectedBytes }: { expectedBytes: number | undefined }): number {
  const plan = planParts({ expectedBytes }, s3Profiles.r2)
  return partBytesAt(plan, 1, 0) * plan.maxParts
}

describe('the size of a dump', () => {
  let database: Awaited<ReturnType<typeof testDatabase>>
  beforeAll(async () => {
    database = await testDatabase()
    // Compressed files and images are such: nothing can be gained, and pg_dump writes two letters for each byte.
    const noise = "decode(string_agg(md5(random()::text), ''), 'hex')"
    await query(
      database.url,
      `CREATE TABLE noise AS SELECT row, ${noise} AS bytes FROM generate_series(1, 200) row, generate_series(1, 6250) GROUP BY row`,
    )
  })
  afterAll(async () => {
    await database[Symbol.asyncDispose]()
  })

  it.each(['zstd', 'gzip', 'none'])(
    'random bytes, compressed by %s - within what the store was told, and a tenth',
    async (method) => {
      const store = new MemoryStore()
      const expected: (number | undefined)[] = []
      const write = store.write.bind(store)
      store.write = async (key, source, options) => {
        expected.push(options.expectedBytes)
        return await write(key, source, options)
      }
      await using test = await testInstallation({ PGPROOF_SERVERS__0__COMPRESSION__METHOD: method }, { store })
      const { backup } = await test.run('backup', database.name)
      const { source, objects } = backup?.manifest ?? {}
      expect(expected).toEqual([
        expectedDumpBytes((source as { databaseBytes: number }).databaseBytes, method as DumpCompression['method']),
      ])
      expect(objects?.dump.bytes).toBeGreaterThan(20e6)
      expect(objects?.dump.bytes).toBeLessThan(1.1 * (expected[0] ?? 0))
    },
  )

  it.each([
    ['none', 150e9],
    ['none', 190e9],
    ['lz4', 125e9],
    ['gzip', 66e9],
    ['zstd', 66e9],
  ] as const)('of 60 GB, compressed by %s - a store of equal parts takes %d bytes', (method, bytes) => {
    expect(takenBy({ expectedBytes: expectedDumpBytes(60e9, method) })).toBeGreaterThan(bytes)
  })
})
