import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  isOwnDrillKey,
  isOwnFolder,
  isOwnPruneKey,
  placeOfFullDrill,
  placesOfFolders,
} from '../../src/catalog/places.ts'
import { parseTime } from '../../src/commands/time.ts'
import { parseServerUrl } from '../../src/config/server-url.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts'
import { isLabel, labelTime } from '../../src/domain/backup-label.ts'
import { decodeDrillReport, encodeDrillReport } from '../../src/domain/drill-report.ts'
import { decodeDrillTables } from '../../src/domain/drill-tables.ts'
import { decodeEvidence } from '../../src/domain/evidence.ts'
import { decodeFullDrillReport } from '../../src/domain/full-drill-report.ts'
import { decodeHold, encodeHold } from '../../src/domain/hold.ts'
import { decodeManifest, encodeManifest } from '../../src/domain/manifest.ts'
import { decodePause, encodePause, type PauseDocument } from '../../src/domain/pause.ts'
import { decodePruneRecord, encodePruneRecord } from '../../src/domain/prune-record.ts'
import { parseIdentifiers, parseQualifiedName } from '../../src/domain/qualified-name.ts'
import { decodeRolesEvidence } from '../../src/domain/roles-evidence.ts'
import { nextDue, previousDue } from '../../src/domain/schedule.ts'
import { decryptBytes } from '../../src/encryption/decrypt.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { readPrivateKeys, readRecipients, readSigningKey, readTrustedSigners } from '../../src/encryption/keys.ts'
import { readRecipientKeyIds } from '../../src/encryption/message-head.ts'
import { signDetached, verifyDetached } from '../../src/encryption/sign.ts'
import { wholeBytes } from '../../src/encryption/whole-bytes.ts'
import { findEntries, splitPostData, splitRefreshes } from '../../src/postgres/archive-contents.ts'
import { splitStatements as splitArchived } from '../../src/postgres/archive-definitions.ts'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { splitStatements } from '../../src/postgres/replay-roles.ts'
import { escapeName, unescapeName } from '../../src/storage/object-keys.ts'
import { manifestAt, recordOf, reportOf, rolesManifestAt } from '../catalog/stored.ts'
import { type ConfigFolder, configFolder } from '../config/folder.ts'
import { keysMadeAt, now, openKeyFolder } from '../encryption/made-keys.ts'
import { answersOrRefuses, fuzzOptions, near, nearDocument } from './inputs.ts'

/*
 * Everything that pgproof parses and others may have written, fed with inputs near real ones and with noise: it answers, or
 * refuses with an error of the register, in time. PGPROOF_FUZZ_RUNS=5000 for the long run, PGPROOF_FUZZ_SEED to repeat one.
 */

const minutes = 10 * 60_000
const manifest = manifestAt('2026-11-20T02:00:00Z')
const text = fc.string({ unit: 'binary', maxLength: 200 })

async function fuzz<T>(arbitrary: fc.Arbitrary<T>, parse: (input: T) => unknown): Promise<void> {
  await fc.assert(
    fc.asyncProperty(arbitrary, (input) => answersOrRefuses(() => parse(input))),
    fuzzOptions as fc.Parameters<[T]>,
  )
}

describe('documents in the store', () => {
  const report = reportOf(manifest, '2026-11-20T04:00:00Z')
  const hold = { by: 'restore', host: 'db', since: now, now, folders: ['backups/main/app/x/'] } as const
  const label = manifest.label
  const pause: PauseDocument = {
    ...{ format: 1, kind: 'pause', label, server: 'main', database: 'app', jobs: ['backup', 'drill'] },
    ...{ since: '2026-11-20T02:00:00Z', until: '2026-11-21T02:00:00Z', reason: 'maintenance', by: 'ops@db2' },
  }
  const resume: PauseDocument = {
    ...{ format: 1, kind: 'resume', label, ends: [label], at: '2026-11-20T03:00:00Z', by: 'ops@db2' },
  }
  const documents: readonly [string, object, (bytes: Uint8Array, what: string) => unknown][] = [
    ['manifest', JSON.parse(Buffer.from(encodeManifest(manifest)).toString()), decodeManifest],
    [
      'manifest of roles',
      JSON.parse(Buffer.from(encodeManifest(rolesManifestAt('2026-11-20T02:00:00Z'))).toString()),
      decodeManifest,
    ],
    ['drill report', JSON.parse(Buffer.from(encodeDrillReport(report)).toString()), decodeDrillReport],
    ['prune record', JSON.parse(Buffer.from(encodePruneRecord(recordOf([manifest]))).toString()), decodePruneRecord],
    ['hold', JSON.parse(Buffer.from(encodeHold(hold)).toString()), decodeHold],
    ['pause', JSON.parse(Buffer.from(encodePause(pause)).toString()), decodePause],
    ['resume', JSON.parse(Buffer.from(encodePause(resume)).toString()), decodePause],
  ]
  it.each(documents)(
    '%s - one near it is read or refused',
    async (_name, real, decode) => {
      expect(() => decode(Buffer.from(JSON.stringify(real)), 'it')).not.toThrow()
      await fuzz(nearDocument(real), (bytes) => decode(bytes, 'it'))
      await fuzz(near(Buffer.from(JSON.stringify(real, null, 2))), (bytes) => decode(bytes, 'it'))
    },
    minutes,
  )

  it.each([
    ['evidence', decodeEvidence],
    ['roles evidence', decodeRolesEvidence],
    ['drill tables', decodeDrillTables],
    ['full drill report', decodeFullDrillReport],
  ] as const)(
    '%s - any JSON and any bytes are refused',
    async (_name, decode) => {
      await fuzz(fc.json(), (json) => decode(Buffer.from(json), 'it'))
      await fuzz(near(Buffer.from('{"format":1,"label":"20261120T020000Z-4f7k","tables":[]}')), (bytes) =>
        decode(bytes, 'it'),
      )
    },
    minutes,
  )

  it(
    'keys - any text is a place of ours or none, and a name comes back from its escape',
    async () => {
      const real = `backups/main/app/${manifest.label}/`
      const keys = fc.oneof(
        text,
        near(Buffer.from(real)).map((bytes) => bytes.toString('utf8')),
      )
      await fuzz(keys, (key) => {
        placesOfFolders()(key)
        placeOfFullDrill(key)
        isOwnFolder(key, manifest)
        isOwnDrillKey(key, { server: key, database: key, label: key })
        isOwnPruneKey(key, { label: key })
        unescapeName(key)
      })
      await fuzz(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 63 }), (name) => {
        const escaped = escapeName(name)
        if (!/^[\w.=-]+$/.test(escaped) || escaped === '.' || escaped === '..') throw new Error(`escaped as ${escaped}`)
        if (unescapeName(escaped) !== name) throw new Error(`comes back as ${unescapeName(escaped)}`)
      })
    },
    minutes,
  )

  it(
    'labels - any text is one with a time or none',
    async () => {
      const labels = fc.oneof(
        text,
        near(Buffer.from(manifest.label)).map((bytes) => bytes.toString('latin1')),
      )
      await fuzz(labels, (label) => {
        if (isLabel(label) !== (labelTime(label) !== undefined)) throw new Error('they disagree')
      })
    },
    minutes,
  )
})

describe('OpenPGP', () => {
  let keys: Awaited<ReturnType<typeof openKeyFolder>>
  beforeAll(async () => {
    keys = await openKeyFolder()
    return () => keys[Symbol.asyncDispose]()
  }, 60_000)

  it(
    'a message near a real one - is opened or refused, by its head and whole',
    async () => {
      const made = await keys.make('backup')
      const recipients = await readRecipients([made.publicPath], now)
      const privateKeys = await readPrivateKeys([made.privatePath], undefined, now)
      const plaintext = Buffer.from('x'.repeat(3000))
      const message = await encryptBytes(plaintext, recipients, now)
      await fuzz(near(message), async (bytes) => {
        const opened = await decryptBytes(bytes, privateKeys, 'it')
        // A bit of the session key's packet may not matter (RFC 7748, 5: the highest one of a point); the contents do.
        if (!plaintext.equals(opened)) throw new Error('other contents came out of a message that was changed')
      })
      await fuzz(near(message), (bytes) => readRecipientKeyIds(wholeBytes(bytes), 'it'))
    },
    minutes,
  )

  it(
    'a signature near a real one - is never taken for another text',
    async () => {
      const pair = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', now: keysMadeAt })
      const privatePath = await keys.file('signer.key.asc', pair.privateKey)
      const publicPath = await keys.file('signer.pub.asc', pair.publicKey)
      const signer = await readSigningKey(privatePath, undefined, now)
      const trusted = await readTrustedSigners([publicPath], now)
      const bytes = Buffer.from('signed text')
      const signature = await signDetached(bytes, signer, now)
      await expect(verifyDetached(bytes, signature, trusted, 'it')).resolves.toBeDefined()
      await fuzz(near(signature), (changed) => verifyDetached(bytes, changed, trusted, 'it'))
      await fuzz(near(bytes), async (changed) => {
        if (changed.equals(bytes)) return
        await verifyDetached(changed, signature, trusted, 'it')
        throw new Error('another text counts as signed')
      })
    },
    minutes,
  )

  it(
    'a key file near a real one - is read or refused',
    async () => {
      const made = await keys.make('backup')
      await fuzz(near(readFileSync(made.publicPath), readFileSync(made.privatePath)), async (bytes) => {
        const path = await keys.file('fuzzed.asc', bytes)
        await readRecipients([path], now)
      })
    },
    minutes,
  )
})

describe('what an operator writes', () => {
  let folder: ConfigFolder
  beforeAll(async () => {
    folder = await configFolder()
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  it(
    'a configuration near the example - loads or is refused with all its faults',
    async () => {
      const example = readFileSync(join(import.meta.dirname, '../../config/pgproof.example.yaml'))
      await fuzz(near(example), (bytes) => folder.load(bytes.toString('utf8'), { S3_ACCESS_KEY_ID: 'x' }))
      await fuzz(fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }), (variables) => {
        const env = Object.fromEntries(Object.entries(variables).map(([name, value]) => [`PGPROOF_${name}`, value]))
        return folder.load(undefined, { PGPROOF_STORE__URL: 'file:///x', ...env })
      })
    },
    minutes,
  )

  it(
    'a cron expression - has due times or is refused',
    async () => {
      const field = fc.oneof(
        fc.constantFrom('*', '*/5', '0', '1-5', 'MON', '29', '2', 'L', '?', '60', '1,2,3'),
        fc.string({ maxLength: 6 }),
      )
      const expression = fc.array(field, { minLength: 0, maxLength: 7 }).map((fields) => fields.join(' '))
      await fuzz(fc.tuple(expression, fc.constantFrom('UTC', 'Europe/Berlin', 'Antarctica/Troll')), ([cron, zone]) => {
        const next = nextDue(cron, zone, now)
        if (!(next > now)) throw new Error(`next due ${next.toISOString()}`)
        const previous = previousDue(cron, zone, now)
        if (previous > now) throw new Error(`previously due ${previous.toISOString()}`)
      })
    },
    minutes,
  )

  it(
    'times, durations, sizes, names and URLs - are understood or refused',
    async () => {
      const words = fc.oneof(
        text,
        near(
          ...[
            '2026-11-20 02:00',
            'yesterday 14:00',
            '3h ago',
            '26h',
            '8MiB',
            'public."My Table"',
            'postgres://u@h:5432/d?sslmode=require',
          ].map((word) => Buffer.from(word)),
        ).map((bytes) => bytes.toString('utf8')),
      )
      await fuzz(words, (word) => parseTime(word, 'Europe/Berlin', now))
      await fuzz(words, (word) => {
        const duration = parseDuration(word)
        if (duration !== undefined && parseDuration(formatDuration(duration)) !== duration)
          throw new Error('not the same')
        const size = parseSize(word)
        if (size !== undefined) formatSize(size)
        parseQualifiedName(word)
        parseIdentifiers(word)
        const server = parseServerUrl(word)
        if ('url' in server) parseConnectionUrl('main', server.url)
      })
    },
    minutes,
  )
})

describe('what PostgreSQL’s programs print', () => {
  const listing = `;\n; Archive created at 2026-11-20\n215; 1259 16386 TABLE public orders postgres\n3300; 0 16386 TABLE DATA public orders postgres
3150; 2606 16390 CONSTRAINT public orders orders_pkey postgres\n3160; 0 16400 MATERIALIZED VIEW DATA public totals postgres\n2; 3079 16385 EXTENSION - citext `
  const script = `CREATE ROLE app;\nALTER ROLE app WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x$y:z';\nALTER ROLE "o'x" SET search_path TO 'a;b', $$c$$;\n\\restrict abc\n-- c\nGRANT a TO b;\n`

  it(
    'a table of contents near a real one - is divided without losing a line',
    async () => {
      await fuzz(near(Buffer.from(listing)), (bytes) => {
        const lines = bytes.toString('utf8').split('\n')
        const { builds, attaches, foreignKeys, rest } = splitPostData(lines)
        if (builds.length + attaches.length + foreignKeys.length + rest.length > lines.length)
          throw new Error('lines were made up')
        splitRefreshes(lines, { structure: [], properties: { encoding: 'UTF8' }, omissions: [] } as never)
        findEntries(lines, ['TABLE DATA public orders '], 'UTF8')
      })
    },
    minutes,
  )

  it(
    'a script of roles near a real one - is split or refused',
    async () => {
      await fuzz(near(Buffer.from(script)), (bytes) => splitStatements(bytes.toString('utf8')))
      await fuzz(near(Buffer.from(script)), (bytes) => splitArchived(bytes.toString('utf8')))
    },
    minutes,
  )
})
