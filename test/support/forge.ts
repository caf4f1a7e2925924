import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { decodeManifest, encodeManifest, type Manifest } from '../../src/domain/manifest.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import { readRecipients } from '../../src/encryption/keys.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import type { TestInstallation } from './installation.ts'
import { serverBinDir } from './postgres-server.ts'

/**
 * What somebody with the bucket and the public key can do: puts a dump of another database in the place of a backup's
 * own and makes every digest in the manifest fit. Only the evidence, or a signature, can tell.
 */
export async function forgeDump(test: TestInstallation, folder: string, url: string): Promise<void> {
  const dump = execFileSync(join(serverBinDir(), 'pg_dump'), ['-Fc', '-Z0', '-d', url], { maxBuffer: 1 << 30 })
  const recipients = await readRecipients([join(test.folder, 'backup.pub.asc')], new Date())
  const encrypted = await encryptBytes(zstdCompressSync(dump), recipients, new Date())
  replaceObject(test, `${folder}dump.zst.pgp`, encrypted)
  rewriteManifest(test, folder, (manifest) => ({
    ...manifest,
    dump: { ...manifest.dump, ...measureBytes(dump) },
    objects: { ...manifest.objects, dump: { name: 'dump.zst.pgp', ...measureBytes(encrypted) } },
  }))
}

export function rewriteManifest(
  test: TestInstallation,
  folder: string,
  change: (manifest: Manifest) => Manifest,
): void {
  const key = `${folder}manifest.json`
  const manifest = decodeManifest(Buffer.from(test.store.text(key)), key)
  replaceObject(test, key, encodeManifest(change(manifest)))
}

export function replaceObject(test: TestInstallation, key: string, body: Uint8Array): void {
  // A new time, as a store would give it, so that no cache takes it for the old one.
  test.store.objects.set(key, { body: Buffer.from(body), modifiedAt: new Date(Date.now() + 1000) })
}
