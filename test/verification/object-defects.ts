import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { manifestSchema } from '../../src/domain/manifest.ts'
import {
  bytesOf,
  decryptObject,
  fitEvidence,
  forgeDump,
  plantObject,
  readDump,
  readManifest,
  replaceDump,
  replaceEvidence,
  replaceObject,
  rewriteManifest,
} from '../support/forge.ts'
import { serverBinDir } from '../support/postgres-server.ts'
import { flipBit, type Stage } from './stage.ts'
import type { StoredDefect } from './stored-defects.ts'

type Plant = StoredDefect['plant']
type More = Partial<Pick<StoredDefect, 'judged' | 'of' | 'verdict' | 'baseline' | 'settings'>>

const object = (title: string, rung: string, names: string, plant: Plant, more: More = {}): StoredDefect => ({
  group: 'object',
  title,
  rung,
  names,
  judged: 'drill',
  plant,
  ...more,
})

const dump = ({ newer }: Stage): string => `${newer}dump.zst.pgp`
const evidence = ({ newer }: Stage): string => `${newer}evidence.json.pgp`
const body = (stage: Stage): Buffer => bytesOf(stage.test, dump(stage))
const change = (stage: Stage, name: string, to: Uint8Array): void => replaceObject(stage.test, name, to)

/** One field of the manifest, changed by somebody with an editor. */
const edited = (title: string, field: string, to: (manifest: Stored) => object, more: More = {}): StoredDefect =>
  object(
    `the manifest was edited: ${title}`,
    'evidence',
    `its ${field} `,
    ({ test, newer }) =>
      rewriteManifest(test, newer, (manifest) => manifestSchema.parse({ ...manifest, ...to(manifest) })),
    more,
  )
type Stored = ReturnType<typeof readManifest>

/** A dump that only the owner of the private key could have put there, with everything made to fit. */
const fitted = async (stage: Stage, archive: Uint8Array, compressed?: Uint8Array): Promise<void> => {
  await replaceDump(stage.test, stage.newer, archive, compressed)
  await fitEvidence(stage.test, stage.newer)
}

const unchecked: More = { baseline: 'unchecked' }
const later = '2030-01-01T00:00:00.000Z'

/** Defects of the objects of a backup. */
export const objectDefects: readonly StoredDefect[] = [
  object('the dump is missing', 'objects', 'dump.zst.pgp is not in the store', (stage) => {
    stage.test.store.objects.delete(dump(stage))
  }),
  object('the evidence is missing', 'objects', 'evidence.json.pgp is not in the store', (stage) => {
    stage.test.store.objects.delete(evidence(stage))
  }),
  object('RECOVERY.md is missing', 'objects', 'RECOVERY.md is not in the store', ({ test, newer }) => {
    test.store.objects.delete(`${newer}RECOVERY.md`)
  }),
  object('a byte of the dump is missing at its end', 'objects', 'bytes expected', (stage) =>
    change(stage, dump(stage), body(stage).subarray(0, -1)),
  ),
  object('half of the dump is missing', 'objects', 'bytes expected', (stage) =>
    change(stage, dump(stage), body(stage).subarray(0, body(stage).length / 2)),
  ),
  object('the dump has a byte more', 'objects', 'bytes expected', (stage) =>
    change(stage, dump(stage), Buffer.concat([body(stage), Buffer.of(0)])),
  ),
  object('nothing is left of the dump', 'objects', 'the store holds 0', (stage) =>
    change(stage, dump(stage), Buffer.alloc(0)),
  ),
  object('the first bit of the dump flipped', 'recipients', 'dump.zst.pgp', (stage) =>
    change(stage, dump(stage), flipBit(body(stage), 0)),
  ),
  object('a bit flipped in the key id at the dump’s head', 'recipients', 'is not encrypted to', (stage) =>
    change(stage, dump(stage), flipBit(body(stage), 8)),
  ),
  object('a bit flipped in the first 100 bytes of the dump', 'SHA-256', 'the SHA-256 of the object', (stage) =>
    change(stage, dump(stage), flipBit(body(stage), 60)),
  ),
  object('a bit flipped in the middle of the dump', 'SHA-256', 'the SHA-256 of the object', (stage) =>
    change(stage, dump(stage), flipBit(body(stage), body(stage).length >> 1)),
  ),
  object('a bit flipped in the last 20 bytes of the dump', 'SHA-256', 'the SHA-256 of the object', (stage) =>
    change(stage, dump(stage), flipBit(body(stage), body(stage).length - 10)),
  ),
  object(
    'a bit flipped in the dump, seen by `verify`',
    'SHA-256',
    'the SHA-256 of the object',
    (stage) => change(stage, dump(stage), flipBit(body(stage), body(stage).length >> 1)),
    { judged: 'verify' },
  ),
  object('the dump of another database, manifest adapted', 'evidence', 'its dump.', ({ scene, test, newer }) =>
    forgeDump(test, newer, scene.source.url('postgres')),
  ),
  object('the dump of another backup, manifest adapted', 'evidence', 'dump.', ({ test, newer, older }) => {
    const { objects, dump: inside } = readManifest(test, older)
    plantObject(test, newer, 'dump', bytesOf(test, `${older}${objects.dump.name}`))
    rewriteManifest(test, newer, (manifest) => ({ ...manifest, dump: inside }))
  }),
  object('the dumps of two backups swapped, manifests adapted', 'evidence', 'dump.', ({ test, newer, older }) => {
    const [one, other] = [readManifest(test, older), readManifest(test, newer)]
    const bytes = [bytesOf(test, `${older}dump.zst.pgp`), bytesOf(test, `${newer}dump.zst.pgp`)] as const
    plantObject(test, newer, 'dump', bytes[0])
    plantObject(test, older, 'dump', bytes[1])
    rewriteManifest(test, newer, (manifest) => ({ ...manifest, dump: one.dump }))
    rewriteManifest(test, older, (manifest) => ({ ...manifest, dump: other.dump }))
  }),
  object('a bit of the evidence flipped', 'evidence', 'its SHA-256 is not the one in the manifest', (stage) =>
    change(stage, evidence(stage), flipBit(bytesOf(stage.test, evidence(stage)), 400)),
  ),
  object('a bit of the evidence flipped, manifest adapted', 'evidence', 'cannot decrypt', (stage) =>
    plantObject(stage.test, stage.newer, 'evidence', flipBit(bytesOf(stage.test, evidence(stage)), 400)),
  ),
  object('the evidence of another backup, manifest adapted', 'evidence', 'evidence of another backup', (stage) =>
    plantObject(stage.test, stage.newer, 'evidence', bytesOf(stage.test, `${stage.older}evidence.json.pgp`)),
  ),
  object('the evidence is none, manifest adapted', 'evidence', 'is not what pgproof writes', ({ test, newer }) =>
    replaceEvidence(test, newer, '{"format":1}'),
  ),
  object('the manifest says that there is no evidence', 'evidence', 'a backup without evidence', ({ test, newer }) =>
    rewriteManifest(test, newer, ({ objects, ...rest }) => ({ ...rest, objects: { ...objects, evidence: null } })),
  ),
  object(
    'the evidence has a newer format',
    'evidence',
    'has format 2',
    async (stage) => {
      const text = (await decryptObject(stage.test, evidence(stage))).toString()
      await replaceEvidence(stage.test, stage.newer, replaced(text, '"format":1', '"format":2'))
    },
    { verdict: 'inconclusive' },
  ),
  object(
    'the manifest has a newer format',
    'manifest',
    'has format 2',
    ({ test, newer }) => {
      const name = `${newer}manifest.json`
      replaceObject(test, name, Buffer.from(replaced(test.store.text(name), '"format": 1', '"format": 2')))
    },
    { verdict: 'refused' },
  ),
  object(
    'the manifest is no JSON',
    'manifest',
    'is not what pgproof writes',
    ({ test, newer }) => test.store.truncate(`${newer}manifest.json`, 200),
    { verdict: 'refused' },
  ),
  object(
    'the manifest of another backup in its place',
    'manifest',
    'of another place',
    ({ test, newer, older }) => replaceObject(test, `${newer}manifest.json`, bytesOf(test, `${older}manifest.json`)),
    { verdict: 'refused' },
  ),
  edited('snapshotTime', 'snapshotTime', () => ({ snapshotTime: later })),
  edited('startedAt', 'startedAt', () => ({ startedAt: later })),
  edited('the version of the source', 'source.version', ({ source }) => ({ source: { ...source, version: '9.6' } })),
  edited('the system identifier', 'source.systemIdentifier', ({ source }) => ({
    source: { ...source, systemIdentifier: '1' },
  })),
  edited('dump.bytes', 'dump.bytes', (manifest) => ({ dump: { ...manifest.dump, bytes: manifest.dump.bytes + 1 } })),
  edited('dump.sha256', 'dump.sha256', (manifest) => ({ dump: { ...manifest.dump, sha256: '0'.repeat(64) } })),
  edited('the total of rows', 'evidence.rows', (manifest) => ({ evidence: { ...manifest.evidence, rows: 1 } })),
  edited('the number of tables', 'evidence.tables', (manifest) => ({ evidence: { ...manifest.evidence, tables: 1 } })),
  edited('the level of the evidence', 'evidence.level', (manifest) => ({
    evidence: { ...manifest.evidence, level: 'off' },
  })),
  edited('another RECOVERY.md', 'objects.recovery.sha256', (manifest) => ({
    objects: { ...manifest.objects, recovery: { ...manifest.objects.recovery, sha256: '0'.repeat(64) } },
  })),
  edited('an omission too many', 'omissions', () => ({ omissions: [{ kind: 'tablespace', objects: 1 }] })),
  edited('no predecessor', 'previous', () => ({ previous: null })),
  edited(
    'a recipient removed',
    'encryption.recipients',
    ({ encryption: { recipients, signer } }) => ({
      encryption: { recipients: recipients.slice(0, 1), signer },
    }),
    unchecked,
  ),
  edited('pgproofVersion', 'pgproofVersion', () => ({ pgproofVersion: '9.9.9' })),
  edited('storeId', 'storeId', () => ({ storeId: 'another' })),
  object('a damaged zstd stream, everything fitting', 'decryption', 'compressed content', async (stage) => {
    const archive = await readDump(stage.test, stage.newer)
    const compressed = zstdCompressSync(archive)
    await fitted(stage, archive, flipBit(compressed, 2))
  }),
  object('half a zstd stream, everything fitting', 'decryption', 'dump.zst.pgp', async (stage) => {
    const archive = await readDump(stage.test, stage.newer)
    const compressed = zstdCompressSync(archive)
    await fitted(stage, archive, compressed.subarray(0, compressed.length / 2))
  }),
  object('another dump inside than its SHA-256 says', 'decryption', 'the SHA-256 of the dump inside', async (stage) => {
    const archive = await readDump(stage.test, stage.newer)
    await fitted(stage, archive, zstdCompressSync(archive.subarray(0, -1)))
  }),
  object('text instead of an archive, everything fitting', 'table of contents', 'pg_restore', (stage) =>
    fitted(stage, Buffer.from('CREATE TABLE a ();\n'.repeat(500))),
  ),
  object('an SQL script instead of an archive, everything fitting', 'table of contents', 'pg_restore', (stage) =>
    fitted(stage, execFileSync(join(serverBinDir(), 'pg_dump'), ['-d', stage.scene.source.url('gallery')])),
  ),
  object('an archive cut in the middle, everything fitting', 'restore', 'pg_restore failed', async (stage) => {
    const archive = await readDump(stage.test, stage.newer)
    await fitted(stage, archive.subarray(0, archive.indexOf('order 30')))
  }),
  object(
    'an archive cut in the middle, seen by `verify`',
    'archive',
    'pg_restore',
    async (stage) => {
      const archive = await readDump(stage.test, stage.newer)
      await fitted(stage, archive.subarray(0, archive.indexOf('order 30')))
    },
    { judged: 'verify' },
  ),
  object('a bit of the archive flipped before compression', 'digests', 'shop.customers', async (stage) => {
    const archive = await readDump(stage.test, stage.newer)
    await fitted(stage, flipBit(archive, archive.indexOf('customer 17') + 10))
  }),
  object('the archive of another database, everything fitting', 'table of contents', 'shop customers', (stage) =>
    forgeDump(stage.test, stage.newer, stage.scene.source.url('postgres'), { fitEvidence: true }),
  ),
  object('the same contents from a database of another name', 'database settings', 'original', (stage) =>
    forgeDump(stage.test, stage.newer, stage.scene.mirror.url('original'), { fitEvidence: true }),
  ),
  object('a bit of RECOVERY.md flipped', 'recovery guide', 'RECOVERY.md', ({ test, newer }) =>
    replaceObject(test, `${newer}RECOVERY.md`, flipBit(bytesOf(test, `${newer}RECOVERY.md`), 90)),
  ),
  object(
    'a bit of RECOVERY.md flipped, seen by `verify`',
    'recovery guide',
    'RECOVERY.md',
    ({ test, newer }) => replaceObject(test, `${newer}RECOVERY.md`, flipBit(bytesOf(test, `${newer}RECOVERY.md`), 90)),
    { judged: 'verify' },
  ),
]

function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`nothing to replace: ${from}`)
  return text.replace(from, to)
}
