import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createPlaceFinder, type DataPlace, writePlaces } from '../../src/postgres/archive-places.ts'
import { testUrl } from '../support/installation.ts'
import { useNewerPostgres } from '../support/newer-postgres.ts'
import { query, serverBinDir } from '../support/postgres-server.ts'
import { errorOf, openSandbox } from './sandbox.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-places-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

const setUp = `CREATE TABLE many (id int, text text); INSERT INTO many SELECT g, repeat('x', g % 900) FROM generate_series(1, 200) g;
  CREATE TABLE empty (); CREATE TABLE one (v text); INSERT INTO one VALUES (repeat('long ', 2000));
  CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS n FROM many; CREATE SEQUENCE s; SELECT setval('s', 7);
  COMMENT ON TABLE many IS 'é'; SELECT lo_from_bytea(0, decode(repeat('00ff', 9000), 'hex')), lo_create(0)`

type Dumped = { readonly piped: Buffer; readonly written: Buffer }

/** What pg_dump writes into a pipe, and into a file, where it can go back to its table of contents. */
function dumpBoth(pgDump: string, url: string, flags: readonly string[]): Dumped {
  const args = ['-Fc', ...flags, '-d', url]
  const file = join(folder, 'written')
  // Not by its option: one of a newer major sees no folder of ours.
  const output = openSync(file, 'w')
  execFileSync(pgDump, args, { stdio: ['ignore', output, 'inherit'] })
  closeSync(output)
  return { piped: execFileSync(pgDump, args, { maxBuffer: 1 << 28 }), written: readFileSync(file) }
}

async function placesIn(bytes: Uint8Array, pieceBytes: number, most?: number): Promise<readonly DataPlace[]> {
  const finder = createPlaceFinder(most)
  const passed: Uint8Array[] = []
  for await (const piece of finder.stage(piecesOf(bytes, pieceBytes))) passed.push(piece)
  expect(Buffer.concat(passed).equals(bytes)).toBe(true)
  return finder.result()
}

async function* piecesOf(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}

/** Until the time in the header, after it: when it was made is all that may differ. */
function withoutTime(archive: Uint8Array, minor: number): Buffer {
  const at = minor >= 15 ? 12 : 16
  return Buffer.concat([archive.subarray(0, at), archive.subarray(at + 7 * 5)])
}

async function expectCompleted({ piped, written }: Dumped, minor: number, pieceBytes = 1000): Promise<void> {
  expect(piped[6]).toBe(minor)
  expect(withoutTime(piped, minor).equals(withoutTime(written, minor))).toBe(false)
  const file = join(folder, 'completed')
  writeFileSync(file, piped)
  await writePlaces(file, await placesIn(piped, pieceBytes))
  expect(withoutTime(readFileSync(file), minor).equals(withoutTime(written, minor))).toBe(true)
}

describe('an archive that pg_dump wrote into a pipe', () => {
  const pgDump = (): string => join(serverBinDir(), 'pg_dump')
  let minor: number
  let sample: Buffer
  beforeAll(async () => {
    const [row] = await query(testUrl(), "SELECT current_setting('server_version_num')::int / 10000 AS major")
    const major = Number(row?.['major'])
    minor = major >= 17 ? 16 : major === 16 ? 15 : 14
    await using sandbox = await openSandbox('CREATE TABLE t (v int); INSERT INTO t VALUES (1), (22), (333)')
    sample = execFileSync(pgDump(), ['-Fc', '-Z0', '-d', testUrl(sandbox.database)])
  })

  it.each([['-Z0'], ['-Z6'], ['-Z0', '--no-blobs']])('%s - completed as pg_dump completes a file', async (...flags) => {
    await using sandbox = await openSandbox(setUp)
    await expectCompleted(dumpBoth(pgDump(), testUrl(sandbox.database), flags), minor)
  })

  it.each([1, 2, 7, 4096, 1 << 20])('in pieces of %i bytes - the same places', async (pieceBytes) => {
    await using sandbox = await openSandbox(setUp)
    await expectCompleted(dumpBoth(pgDump(), testUrl(sandbox.database), ['-Z0']), minor, pieceBytes)
  })

  it('no data at all, or written to a file - nothing to complete, the file stays as it is', async () => {
    await using sandbox = await openSandbox(setUp)
    const { written } = dumpBoth(pgDump(), testUrl(sandbox.database), [])
    expect(await placesIn(written, 1000)).toEqual([])
    const { piped } = dumpBoth(pgDump(), testUrl(sandbox.database), ['--schema-only', '--no-blobs'])
    expect(await placesIn(piped, 1000)).toEqual([])
    await writePlaces(join(folder, 'none'), [])
  })

  it('more tables with rows than places are worth their memory - none at all, up to that all of them', async () => {
    await using sandbox = await openSandbox('CREATE TABLE a (); CREATE TABLE b (); CREATE TABLE c ()')
    const piped = execFileSync(pgDump(), ['-Fc', '-Z0', '-d', testUrl(sandbox.database)])
    expect(await placesIn(piped, 1000, 3)).toHaveLength(3)
    expect(await placesIn(piped, 1000, 2)).toEqual([])
  })

  it('the spool is full when its places are written - SPOOL_FULL', async () => {
    expect(await errorOf(writePlaces('/dev/full', [{ saidAt: 0, dataAt: 1 }]))).toMatchObject({
      code: 'SPOOL_FULL',
      message: expect.stringContaining('/dev/full'),
    })
  })

  it('cut anywhere - no places', async () => {
    expect(await placesIn(sample, 1000)).toHaveLength(1)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: sample.length - 40 }), async (length) => {
        expect(await placesIn(sample.subarray(0, length), 1000)).toEqual([])
      }),
    )
  })

  it('damaged anywhere, or no archive - it passes unchanged, and no place is outside of it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(sample.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const damaged = Buffer.from(sample)
        damaged[at] = (damaged[at] ?? 0) ^ flip
        for (const { saidAt, dataAt } of await placesIn(damaged, 333)) {
          expect(saidAt + 9).toBeLessThanOrEqual(damaged.length)
          expect(dataAt).toBeLessThan(damaged.length)
        }
      }),
      { numRuns: 500 },
    )
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), async (bytes) => {
        expect(await placesIn(bytes, 50)).toEqual([])
      }),
    )
  })
})

describe('an archive of a newer major', () => {
  const serverFor = useNewerPostgres()

  it('with large objects, its layout of entries a little longer - each place begins a block of that entry', async (context) => {
    const newer = serverFor(context)
    await query(newer.url(), 'CREATE DATABASE places')
    await query(newer.url('places'), setUp)
    const args = ['-Fc', '-Z0', '-d', newer.url('places')]
    const piped = execFileSync(join(newer.binDir, 'pg_dump'), args, { maxBuffer: 1 << 28 })
    await query(newer.url(), 'DROP DATABASE places')
    const places = await placesIn(piped, 1000)
    // Three tables and the large objects; what pg_dump wrote in front of a place says that it was not known.
    expect(places.map(({ dataAt }) => piped[dataAt]).sort()).toEqual([1, 1, 1, 3])
    expect(places.map(({ saidAt }) => piped[saidAt])).toEqual([1, 1, 1, 1])
    const kinds = places.map(({ dataAt, saidAt }) => {
      const id = piped.subarray(dataAt + 1, dataAt + 6)
      const entry = piped.subarray(piped.lastIndexOf(id, saidAt), saidAt).toString('latin1')
      return /TABLE DATA|BLOBS/.exec(entry)?.[0]
    })
    expect(kinds.sort()).toEqual(['BLOBS', 'TABLE DATA', 'TABLE DATA', 'TABLE DATA'])
  })
})
