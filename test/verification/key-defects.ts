import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import {
  bytesOf,
  decryptObject,
  fitEvidence,
  plantObject,
  readDump,
  replaceDump,
  replaceEvidence,
  replaceObject,
  rewriteManifest,
} from '../support/forge.ts'
import { type Stage, signAs } from './stage.ts'
import type { StoredDefect } from './stored-defects.ts'

type More = Partial<Pick<StoredDefect, 'verdict' | 'baseline'>>

const key = (
  title: string,
  rung: string,
  names: string,
  plant: StoredDefect['plant'],
  more: More = {},
): StoredDefect => ({ group: 'key', title, rung, names, judged: 'drill', plant, ...more })

const both = ({ scene }: Stage): string[] => ['backup.pub.asc', scene.key('escrow.pub.asc')]
/** The same dump encrypted anew, the evidence to all whom the manifest names. */
const encryptedTo = async (stage: Stage, recipients: readonly string[], all: readonly string[]): Promise<void> => {
  const archive = await readDump(stage.test, stage.newer)
  await replaceDump(stage.test, stage.newer, archive, zstdCompressSync(archive), recipients)
  await fitEvidence(stage.test, stage.newer, all)
}
const evidenceTo = async (stage: Stage, recipients: readonly string[]): Promise<void> =>
  await replaceEvidence(
    stage.test,
    stage.newer,
    (await decryptObject(stage.test, `${stage.newer}evidence.json.pgp`)).toString(),
    recipients,
  )

const signed: More = { baseline: 'signed' }
const unchecked: More = { baseline: 'unchecked' }
const later = '2030-01-01T00:00:00.000Z'

/** Defects of recipients and signatures, and of the keys at hand. */
export const keyDefects: readonly StoredDefect[] = [
  key(
    'the dump is encrypted to one of two recipients only',
    'recipients',
    'dump.zst.pgp is not encrypted to',
    (stage) => encryptedTo(stage, ['backup.pub.asc'], both(stage)),
    unchecked,
  ),
  key(
    'the evidence is encrypted to one of two recipients only',
    'recipients',
    'evidence.json.pgp is not encrypted',
    (stage) => evidenceTo(stage, ['backup.pub.asc']),
    unchecked,
  ),
  key(
    'the dump is encrypted to a recipient too many',
    'recipients',
    'is encrypted to 3 keys, not 2',
    (stage) => encryptedTo(stage, [...both(stage), stage.scene.key('stranger.pub.asc')], both(stage)),
    unchecked,
  ),
  key(
    'the evidence is encrypted to a recipient too many',
    'recipients',
    'is encrypted to 3 keys, not 2',
    (stage) => evidenceTo(stage, [...both(stage), stage.scene.key('stranger.pub.asc')]),
    unchecked,
  ),
  key(
    'another key in the place of a recipient’s',
    'recipients',
    'is not encrypted to',
    (stage) => encryptedTo(stage, ['backup.pub.asc', stage.scene.key('stranger.pub.asc')], both(stage)),
    unchecked,
  ),
  key(
    'the dump is encrypted to a stranger only, everything else fitting',
    'recipients',
    'is not encrypted to',
    (stage) => encryptedTo(stage, [stage.scene.key('stranger.pub.asc')], ['backup.pub.asc']),
  ),
  key('the evidence is encrypted to a stranger only', 'evidence', 'is not encrypted to', (stage) =>
    evidenceTo(stage, [stage.scene.key('stranger.pub.asc')]),
  ),
  key(
    'the dump encrypted anew by who has the public key, manifest adapted',
    'evidence',
    'is not what the evidence says',
    async ({ test, newer }) => replaceDump(test, newer, await readDump(test, newer)),
  ),
  key(
    'the dump encrypted anew, manifest adapted, where signers are trusted',
    'signature',
    'is not valid',
    async (stage) => {
      const archive = await readDump(stage.test, stage.newer)
      await replaceDump(stage.test, stage.newer, archive, zstdCompressSync(archive), both(stage))
    },
    signed,
  ),
  key(
    'the whole backup made anew by who has the public keys, unsigned',
    'signature',
    'carries no signature',
    async (stage) => {
      await encryptedTo(stage, both(stage), both(stage))
      stage.test.store.objects.delete(`${stage.newer}manifest.json.sig`)
    },
    signed,
  ),
  key(
    'the recipients are hidden, and one is missing',
    'recipients',
    'is not encrypted to',
    async (stage) => {
      await encryptedTo(stage, ['backup.pub.asc'], both(stage))
      // The key id of the first packet: tag, length in one byte, version, key id.
      plantObject(
        stage.test,
        stage.newer,
        'dump',
        Buffer.from(bytesOf(stage.test, `${stage.newer}dump.zst.pgp`)).fill(0, 3, 11),
      )
      await fitEvidence(stage.test, stage.newer, both(stage))
    },
    unchecked,
  ),
  key(
    'the signature is missing',
    'signature',
    'carries no signature',
    ({ test, newer }) => {
      test.store.objects.delete(`${newer}manifest.json.sig`)
    },
    signed,
  ),
  key(
    'the signature is missing, where nobody asks who signed',
    'objects',
    'manifest.json.sig',
    ({ test, newer }) => {
      test.store.objects.delete(`${newer}manifest.json.sig`)
    },
    unchecked,
  ),
  key(
    'the signature of another manifest',
    'signature',
    'is not valid',
    ({ test, newer, older }) =>
      replaceObject(test, `${newer}manifest.json.sig`, bytesOf(test, `${older}manifest.json.sig`)),
    signed,
  ),
  key(
    'a signature by a key that is not trusted',
    'signature',
    'is not valid',
    (stage) => signAs(stage, 'strange-signer', `${stage.newer}manifest.json`),
    signed,
  ),
  key(
    'the signature is none',
    'signature',
    'is not valid',
    ({ test, newer }) => replaceObject(test, `${newer}manifest.json.sig`, Buffer.from('signed')),
    signed,
  ),
  key(
    'the manifest was changed after it was signed',
    'signature',
    'is not valid',
    ({ test, newer }) => rewriteManifest(test, newer, (manifest) => ({ ...manifest, finishedAt: later })),
    signed,
  ),
  key(
    'the manifest has a space more than was signed',
    'signature',
    'is not valid',
    ({ test, newer }) =>
      replaceObject(test, `${newer}manifest.json`, Buffer.from(`${test.store.text(`${newer}manifest.json`)} `)),
    signed,
  ),
  key(
    'the private key at hand opens nothing: not the fault of the backup',
    'evidence',
    'no configured private key opens',
    ({ scene, test }) =>
      writeFileSync(join(test.folder, 'backup.key.asc'), readFileSync(scene.key('stranger.key.asc'))),
    { verdict: 'inconclusive' },
  ),
]
