import { createHash } from 'node:crypto'
import { mkdir, rename, symlink, unlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Manifest } from '../../src/domain/manifest.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { manifestAt, storeBackup } from '../catalog/stored.ts'
import { testUrl } from '../support/installation.ts'
import { markStore } from '../support/mark-store.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { type CliFolder, cliFolder } from './cli.ts'

// Stores with a history that was made up, for commands that only look at it: no backup is made and none is restored.

const storeId = '5b1c3c1e-6d0c-4a53-9a3b-0c8f3f3c1a11'

/** Backups of main/app, one for each of the last `count` hours, newest first. */
function hourly(count: number): Manifest[] {
  const newest = Math.floor(Date.now() / 3_600_000) * 3_600_000
  return Array.from({ length: count }, (_, index) =>
    manifestAt(new Date(newest - index * 3_600_000).toISOString(), { storeId }),
  )
}

async function fill(folder: string, manifests: readonly Manifest[]): Promise<void> {
  const store = new MemoryStore()
  for (const manifest of manifests) await storeBackup(store, manifest)
  await mkdir(folder, { recursive: true })
  markStore(folder, storeId)
  for (const [key, { body }] of store.objects) {
    await mkdir(dirname(join(folder, key)), { recursive: true })
    await writeFile(join(folder, key), body)
  }
}

/** One store with these backups; `settings` over the usual ones. */
async function oneStore(manifests: readonly Manifest[], settings: object): Promise<CliFolder> {
  const folder = await cliFolder(['app'], settings)
  await fill(join(folder.path, 'store'), manifests)
  return folder
}

/** As the objects of `storeBackup` are: nothing but zeros. */
function withRealDigests(manifest: Manifest): Manifest {
  const digested = <T extends { readonly bytes: number }>(object: T): T => ({
    ...object,
    sha256: createHash('sha256').update(Buffer.alloc(object.bytes)).digest('hex'),
  })
  const { dump, evidence, recovery } = manifest.objects
  const objects = { dump: digested(dump), evidence: evidence && digested(evidence), recovery: digested(recovery) }
  return { ...manifest, objects }
}

const servers = (retention: object) => [{ name: 'main', url: testUrl(), databases: ['app'], retention }]
const manifestOf = (folder: CliFolder, manifest: Manifest): string =>
  join(folder.path, 'store', backupFolder(manifest), 'manifest.json')

describe('a prune that would hold back', () => {
  it('so many in one go - status says it, the dry run says what a real one would, the real one refuses, --force goes on', async () => {
    const [, ...rest] = hourly(8)
    await using folder = await oneStore(hourly(8), { servers: servers({ last: 1 }), prune: { largestShare: '50%' } })
    const what = 'it would remove 7 of 8 backups (87.5 %) in store "store", more than 50 %'
    expect((await folder.run(['status'])).stdout).toContain(`${what} (\`pgproof prune --dry-run\`)`)
    const dry = await folder.run(['prune', '--dry-run'])
    expect(dry.code).toBe(0)
    expect(dry.stdout).toContain(`A dry run: nothing was removed. A real one: `)
    expect(dry.stdout).toContain(`${what}; --force goes on.`)
    expect((await folder.json(['prune', '--dry-run'])).document['heldBack']).toContain(what)
    const real = await folder.run(['prune'])
    expect(real.code).not.toBe(0)
    expect(real.stderr).toContain(what)
    expect(folder.objects().filter((name) => name.endsWith('manifest.json'))).toHaveLength(8)
    const forced = await folder.run(['prune', '--force'])
    expect([forced.code, forced.stdout.includes(`Removed ${rest.length} backups`)]).toEqual([0, true])
  })

  it('a manifest that nobody can read - status says which, and that prunes hold back', async () => {
    const manifests = hourly(3)
    await using folder = await oneStore(manifests, { servers: servers({ last: 1 }) })
    const [, , oldest] = manifests
    await writeFile(manifestOf(folder, oldest as Manifest), 'not a manifest')
    const { stdout } = await folder.run(['status'])
    const key = `${backupFolder(oldest as Manifest)}manifest.json`
    expect(stdout).toContain(`main/app: prunes hold back in store store: ${key} cannot be read`)
    const pruned = await folder.run(['prune'])
    expect(pruned.code).toBe(0)
    expect(pruned.stdout).toContain('Some stay only because this prune holds back')
  })
})

describe('a backup that is not to be had', () => {
  it('a younger one lacks its dump - restore says at the beginning that it is passed over', async () => {
    const [newest] = hourly(2)
    await using folder = await oneStore(hourly(2), { servers: servers({ last: 5 }) })
    await unlink(join(folder.path, 'store', backupFolder(newest as Manifest), 'dump.zst.pgp'))
    const to = new URL('/none_such', testUrl()).href
    const { stderr } = await folder.run(['restore', 'latest', '--to', to])
    const passedOver = stderr.indexOf(`passed over ${newest?.label}: dump.zst.pgp is missing`)
    expect(passedOver).toBeGreaterThan(-1)
    expect(passedOver).toBeLessThan(stderr.indexOf('error: '))
  })

  it.each([
    [1, 'It holds one whose manifest cannot be read'],
    [2, 'It holds 2 whose manifests cannot be read'],
  ])('all manifests are unreadable (%i) - the hint says so, and where to read on', async (count, hint) => {
    const manifests = hourly(count)
    await using folder = await oneStore(manifests, { servers: servers({ last: 5 }) })
    for (const manifest of manifests) await writeFile(manifestOf(folder, manifest), '{')
    const { code, stderr } = await folder.run(['restore', 'latest', '--to', new URL('/none_such', testUrl()).href])
    expect(code).not.toBe(0)
    expect(stderr).toContain(hint)
    expect(stderr).toContain('docs/recovery.md restores without manifests')
  })
})

describe('one directory under two names', () => {
  it.each([
    ['a link', 'far', 'stores "near" and "far" are one and the same directory'],
    ['a slash at the end', 'store/', 'store.1.url: is where store.0 is as well'],
  ])('%s - exit 2 says that both are one, before anything is written', async (_how, second, said) => {
    await using folder = await oneStore([], { servers: servers({ last: 5 }) })
    await symlink(join(folder.path, 'store'), join(folder.path, 'far'))
    const urls = ['store', second].map((name) => `file://${folder.path}/${name}`)
    await folder.configure({
      store: urls.map((url, index) => ({ name: index === 0 ? 'near' : 'far', url })),
      servers: servers({ last: 5 }),
    })
    for (const command of ['status', 'backup']) {
      const { code, stderr } = await folder.run([command])
      expect([command, code]).toEqual([command, 2])
      expect(stderr).toContain(said)
    }
    expect(folder.objects()).toEqual([expect.stringContaining('pgproof.json')])
  })
})

describe('a sync that is not complete', () => {
  it('one backup is damaged where it is - the other is copied and named on stdout, the error says what was not', async () => {
    const [newest, older] = hourly(2)
    await using folder = await oneStore([newest as Manifest], { servers: servers({ last: 5 }) })
    const stores = ['near', 'far'].map((name) => ({ name, url: `file://${folder.path}/${name}` }))
    await rename(join(folder.path, 'store'), join(folder.path, 'unused'))
    await mkdir(join(folder.path, 'store'))
    await folder.configure({ store: stores, servers: servers({ last: 5 }) })
    await fill(
      join(folder.path, 'near'),
      [newest, older].map((one) => withRealDigests(one as Manifest)),
    )
    await fill(join(folder.path, 'far'), [])
    await writeFile(join(folder.path, 'near', backupFolder(older as Manifest), 'dump.zst.pgp'), Buffer.alloc(40, 1))
    const { code, stdout, stderr } = await folder.run(['sync'])
    expect(code).toBe(3)
    expect(stdout).toContain('far: 1 backup copied')
    expect(stderr).toContain(`${older?.label} to store far`)
    const { document } = await folder.json(['sync'])
    expect(document['stores']?.['1']?.['copied']).toEqual([])
  })
})
