import { execFileSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { decodeEvidence, type Evidence, encodeEvidence } from '../../src/domain/evidence.ts'
import { decodeManifest, encodeManifest, type Manifest } from '../../src/domain/manifest.ts'
import { decryptBytes } from '../../src/encryption/decrypt.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { readPrivateKeys, readRecipients } from '../../src/encryption/keys.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import type { TestInstallation } from './installation.ts'
import { serverBinDir } from './postgres-server.ts'

/** Whom a forged object is encrypted to: files of public keys, in the installation's folder or by their full path. */
export type ForgedFor = readonly string[]

const owner: ForgedFor = ['backup.pub.asc']

/**
 * What somebody with the bucket and the public key can do: puts a dump of another database in the place of a backup's
 * own and makes every digest in the manifest fit. The evidence tells, which nobody can make fit without the private
 * key; `fitEvidence` does, so that a test comes to the rungs above.
 */
export async function forgeDump(
  test: TestInstallation,
  folder: string,
  url: string,
  { fitEvidence: isToFit = false, args = [] }: { readonly fitEvidence?: boolean; readonly args?: string[] } = {},
): Promise<void> {
  const program = join(serverBinDir(), 'pg_dump')
  const dump = execFileSync(program, ['-Fc', '-Z0', ...args, '-d', url], { maxBuffer: 1 << 30 })
  await replaceDump(test, folder, dump)
  if (isToFit) await fitEvidence(test, folder)
}

/** Encrypts these bytes as the backup's dump, whatever they are, and makes the manifest fit. */
export async function replaceDump(
  test: TestInstallation,
  folder: string,
  dump: Uint8Array,
  compressed: Uint8Array = zstdCompressSync(dump),
  recipients: ForgedFor = owner,
): Promise<void> {
  plantObject(test, folder, 'dump', await encrypt(test, compressed, recipients))
  rewriteManifest(test, folder, (manifest) => ({ ...manifest, dump: { ...manifest.dump, ...measureBytes(dump) } }))
}

/** The dump of a backup as `pg_dump` wrote it. */
export async function readDump(test: TestInstallation, folder: string): Promise<Buffer> {
  return zstdDecompressSync(await decryptObject(test, `${folder}dump.zst.pgp`))
}

/** Changes the script of a roles backup and makes the manifest fit, and the evidence, which takes the private key. */
export async function rewriteRoles(
  test: TestInstallation,
  folder: string,
  change: (script: string) => string,
  { recipients = owner, isToFit = true }: { readonly recipients?: ForgedFor; readonly isToFit?: boolean } = {},
): Promise<void> {
  const script = Buffer.from(change((await decryptObject(test, `${folder}roles.sql.pgp`)).toString('utf8')))
  plantObject(test, folder, 'dump', await encrypt(test, script, recipients))
  rewriteManifest(test, folder, (manifest) => ({ ...manifest, dump: { ...manifest.dump, ...measureBytes(script) } }))
  if (isToFit) await fitEvidence(test, folder, recipients)
}

/** Makes the evidence, of either kind, say what the manifest says now. */
export async function fitEvidence(
  test: TestInstallation,
  folder: string,
  recipients: ForgedFor = owner,
): Promise<void> {
  const manifest = readManifest(test, folder)
  const said: Record<string, unknown> = {
    ...manifest,
    object: manifest.objects.dump,
    recovery: manifest.objects.recovery,
    recipients: manifest.encryption.recipients,
    signer: manifest.encryption.signer,
  }
  const change = (evidence: { manifest: object }): object => {
    const bound = Object.keys(evidence.manifest).map((name) => [name, said[name]])
    return { ...evidence, manifest: Object.fromEntries(bound) as unknown }
  }
  const evidence = JSON.parse((await decryptObject(test, `${folder}evidence.json.pgp`)).toString()) as {
    manifest: object
  }
  await replaceEvidence(test, folder, JSON.stringify(change(evidence)), recipients)
}

/** What only the owner of the private key can do; the manifest is made to fit the object. */
export async function rewriteEvidence(
  test: TestInstallation,
  folder: string,
  change: (evidence: Evidence) => Evidence,
): Promise<void> {
  const key = `${folder}evidence.json.pgp`
  const evidence = change(decodeEvidence(await decryptObject(test, key), key))
  await replaceEvidence(test, folder, Buffer.from(encodeEvidence(evidence)).toString())
}

/** Encrypts this text as the evidence, whatever it is, and makes the manifest fit. */
export async function replaceEvidence(
  test: TestInstallation,
  folder: string,
  text: string,
  recipients: ForgedFor = owner,
): Promise<void> {
  plantObject(test, folder, 'evidence', await encrypt(test, Buffer.from(text), recipients))
}

export async function decryptObject(test: TestInstallation, key: string): Promise<Buffer> {
  const keys = await readPrivateKeys([join(test.folder, 'backup.key.asc')], undefined, new Date())
  return Buffer.from(await decryptBytes(bytesOf(test, key), keys, key))
}

export function bytesOf(test: TestInstallation, key: string): Buffer {
  const stored = test.store.objects.get(key)
  if (stored === undefined) throw new Error(`no object ${key}`)
  return stored.body
}

/** Puts these bytes in the place of one object of a backup and makes the manifest fit, but not the evidence. */
export function plantObject(
  test: TestInstallation,
  folder: string,
  name: 'dump' | 'evidence' | 'recovery',
  body: Uint8Array,
): void {
  const entry = readManifest(test, folder).objects[name]
  if (entry === null) throw new Error(`a backup without ${name}`)
  replaceObject(test, `${folder}${entry.name}`, body)
  rewriteManifest(test, folder, ({ objects, ...manifest }) => ({
    ...manifest,
    objects: { ...objects, [name]: { name: entry.name, ...measureBytes(body) } },
  }))
}

export function readManifest(test: TestInstallation, folder: string): Manifest {
  const key = `${folder}manifest.json`
  return decodeManifest(Buffer.from(test.store.text(key)), key)
}

export function rewriteManifest(
  test: TestInstallation,
  folder: string,
  change: (manifest: Manifest) => Manifest,
): void {
  replaceObject(test, `${folder}manifest.json`, encodeManifest(change(readManifest(test, folder))))
}

export function replaceObject(test: TestInstallation, key: string, body: Uint8Array): void {
  // A new time, as a store would give it, so that no cache takes it for the old one.
  test.store.objects.set(key, { body: Buffer.from(body), modifiedAt: new Date(Date.now() + 1000) })
}

async function encrypt(test: TestInstallation, bytes: Uint8Array, files: ForgedFor): Promise<Uint8Array> {
  const paths = files.map((file) => resolve(test.folder, file))
  return await encryptBytes(bytes, await readRecipients(paths, new Date()), new Date())
}
