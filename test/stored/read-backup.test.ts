import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { storeEncrypted } from '../../src/backup/store-encrypted.ts'
import { Catalog } from '../../src/catalog/catalog.ts'
import { encodeManifest } from '../../src/domain/manifest.ts'
import { encryptBytes } from '../../src/encryption/encrypt.ts'
import type { WriteOptions } from '../../src/storage/object-store.ts'
import { readManifest } from '../../src/stored/read-backup.ts'
import { readRolesScript } from '../../src/stored/read-roles.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import { clock, manifestAt, rolesManifestAt, signal, storeBackup } from '../catalog/stored.ts'
import { failureOf, type KeyFolder, type MadeKeys, now, openKeyFolder } from '../encryption/made-keys.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { storeSetOf } from '../support/store-sets.ts'

let keys: KeyFolder
let backup: MadeKeys
beforeAll(async () => {
  keys = await openKeyFolder()
  backup = await keys.make('backup')
})
afterAll(async () => keys[Symbol.asyncDispose]())

describe('what is read of a backup', () => {
  it('the manifest of another one in its place since the store was listed - STORE_FORMAT_INVALID', async () => {
    const store = new MemoryStore()
    const manifest = manifestAt('2026-11-19T02:00:00Z')
    const folder = await storeBackup(store, manifest)
    const catalog = new Catalog({ clock })
    await catalog.refresh(storeSetOf(store), signal)
    const [known] = catalog.backups({ kind: 'database' })
    if (known === undefined) throw new Error('no backup')
    const other = Buffer.from(encodeManifest({ ...manifest, database: 'other' }))
    await store.put(`${folder}manifest.json`, other, { signal })
    expect(await failureOf(readManifest(known, store, signal))).toMatchObject({
      code: 'STORE_FORMAT_INVALID',
      message: expect.stringContaining('it describes a backup of another place'),
    })
  })

  it('roles other than those of the manifest, soundly encrypted - OBJECT_MISMATCH, none of them is handed out', async () => {
    const store = new MemoryStore()
    const script = 'CREATE ROLE clerk;\n'
    const encrypted = await encryptBytes(Buffer.from('CREATE ROLE intruder SUPERUSER;\n'), backup.recipients, now)
    const plain = rolesManifestAt('2026-11-19T01:00:00Z')
    const { sha256 } = measureBytes(encrypted)
    const dump = { ...plain.objects.dump, bytes: encrypted.length, sha256 }
    const manifest = {
      ...plain,
      dump: { ...plain.dump, sha256: measureBytes(Buffer.from(script)).sha256 },
      objects: { ...plain.objects, dump },
    }
    const folder = `roles/main/${manifest.label}/`
    await store.put(`${folder}${dump.name}`, encrypted, { signal })
    const read = { manifest, sha256: '', folder }
    expect(await failureOf(readRolesScript(read, backup.privateKeys, store, signal))).toMatchObject({
      code: 'OBJECT_MISMATCH',
      message: expect.stringContaining('the roles inside are not those of the manifest'),
    })
  })
})

it('a store that says that it holds less than it was sent - OBJECT_MISMATCH with both figures', async () => {
  class Short extends MemoryStore {
    override async write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions) {
      const { bytes } = await super.write(key, source, options)
      return { bytes: bytes - 1 }
    }
  }
  async function* source(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(1000)
  }
  const target = { folder: 'backups/main/app/x/', name: 'dump.zst.pgp', recipients: backup.recipients, zstdLevel: 3 }
  const parts = { store: new Short(), clock: { ...clock, now: () => now } }
  expect(await failureOf(storeEncrypted(source, target, parts, signal))).toMatchObject({
    code: 'OBJECT_MISMATCH',
    message: expect.stringMatching(/(\d+) bytes sent, \d+ bytes stored/),
  })
})
