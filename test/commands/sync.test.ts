import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { targetName } from '../support/restoring.ts'
import { type CliFolder, cliFolder } from './cli.ts'

let crm: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  crm = await testDatabase('template1')
  await query(crm.url, 'CREATE TABLE contact (id int); INSERT INTO contact SELECT generate_series(1, 1000)')
})
afterAll(async () => {
  await crm[Symbol.asyncDispose]()
})

const near = (path: string): string => join(path, 'store')
const far = (path: string): string => join(path, 'far')

/** Two directories as stores, `near` and `far`, both marked; `settings` over the usual ones. */
async function twoDirectories(ofFar: object = {}): Promise<CliFolder> {
  const folder = await cliFolder([crm.name])
  await rm(near(folder.path), { recursive: true })
  await configure(folder, ofFar)
  expect(await folder.run(['init'])).toMatchObject({ code: 0, stderr: '' })
  return folder
}

async function configure(folder: CliFolder, ofFar: object = {}, settings: object = {}): Promise<void> {
  await folder.configure({
    store: [
      { name: 'near', url: `file://${near(folder.path)}` },
      { name: 'far', url: `file://${far(folder.path)}`, ...ofFar },
    ],
    servers: [{ name: 'main', url: testUrl(), databases: [crm.name], retention: { last: 5 } }],
    ...settings,
  })
}

function filesIn(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort()
}

const backupsIn = (folder: string): string[] => filesIn(folder).filter((name) => name.endsWith('manifest.json'))
const contents = (folder: string): string[] =>
  filesIn(folder)
    .filter((name) => !name.startsWith('prunes/') && name !== 'pgproof.json')
    .map((name) => `${name} ${readFileSync(join(folder, name)).toString('base64')}`)
const idOf = (folder: string): string => JSON.parse(readFileSync(join(folder, 'pgproof.json'), 'utf8')).storeId

async function backUp(folder: CliFolder): Promise<string> {
  const { code, stdout, stderr } = await folder.run(['backup', '--json'])
  expect([code, stderr]).toEqual([0, ''])
  return String(JSON.parse(stdout).runs[0].label)
}

describe('two directories', () => {
  it('init - makes and marks both, with one id; again - says that they were marked', async () => {
    await using folder = await twoDirectories()
    expect(idOf(near(folder.path))).toBe(idOf(far(folder.path)))
    const { stdout } = await folder.run(['init'])
    expect(stdout.match(/was marked already/g)).toHaveLength(2)
  })

  it('backup, status and sync - both have it, status lists both, and there is nothing to sync', async () => {
    await using folder = await twoDirectories()
    await backUp(folder)
    expect(contents(far(folder.path))).toEqual(contents(near(folder.path)))
    const { stdout } = await folder.run(['status'])
    expect(stdout).toMatch(/^near {2}file:.*\/store {2}1 backup of .*, the newest \d+ s ago$/m)
    expect(stdout).toMatch(/^far {2}file:.*\/far {2}1 backup of .*, the newest \d+ s ago$/m)
    const synced = await folder.run(['sync'])
    expect([synced.code, synced.stdout]).toEqual([0, 'near: lacks nothing\n\nfar: lacks nothing\n'])
  })

  it('one of them lost its backups - status says so, a dry run names them, sync --to brings them, a restore works from it', async () => {
    await using folder = await twoDirectories()
    await using target = targetName(testUrl())
    const label = await backUp(folder)
    await rm(join(far(folder.path), 'backups'), { recursive: true })
    expect((await folder.run(['status'])).stdout).toContain('store far lacks 1 backup')
    const dry = await folder.run(['sync', '--dry-run'])
    expect(dry.code).toBe(0)
    expect(dry.stdout).toMatch(new RegExp(`far: lacks 1 backup and 0 drill reports\\n  ${label}  main/${crm.name}`))
    expect(dry.stdout).toContain('A dry run: nothing was copied.')
    expect(backupsIn(far(folder.path))).toEqual([])

    expect((await folder.run(['sync', '--to', 'near'])).stdout).toBe('near: lacks nothing\n')
    const { code, document } = await folder.json(['sync', '--to', 'far'])
    expect([code, document['stores']?.[0]?.['copied']]).toEqual([0, [label]])
    expect(contents(far(folder.path))).toEqual(contents(near(folder.path)))

    await rm(join(near(folder.path), 'backups'), { recursive: true })
    const restored = await folder.run(['restore', 'latest', '--from', 'far', '--to', target.url, '--create'])
    expect(restored).toMatchObject({ code: 0 })
    expect(await query(target.url, 'SELECT count(*)::int AS n FROM contact')).toEqual([{ n: 1000 }])
    const missing = await folder.run(['restore', 'latest', '--from', 'near', '--to', target.url, '--force'])
    expect(missing.code).not.toBe(0)
    expect(folder.leftovers()).toEqual([])
  })

  it('prune --in - only that one; then the other has more, and sync does not bring it back', async () => {
    await using folder = await twoDirectories()
    for (let night = 0; night < 3; night += 1) await backUp(folder)
    await configure(
      folder,
      {},
      { servers: [{ name: 'main', url: testUrl(), databases: [crm.name], retention: { last: 1 } }] },
    )
    const { code, stdout } = await folder.run(['prune', '--in', 'far'])
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('Removed 2 backups') })
    expect(stdout).toContain('in store far')
    expect(stdout).not.toContain('in store near')
    expect([backupsIn(near(folder.path)).length, backupsIn(far(folder.path)).length]).toEqual([3, 1])
    expect((await folder.run(['sync'])).stdout).toContain('far: lacks nothing')
    expect((await folder.run(['status'])).stdout).not.toContain('removed')
  })

  it.each([
    ['sync', '--to'],
    ['prune', '--in'],
  ])('%s %s with a name that is none - exit 2 names those that are', async (...args) => {
    await using folder = await twoDirectories()
    const { code, stderr } = await folder.run([...args, 'moon'])
    expect(code).toBe(2)
    expect(stderr).toContain('no store is named "moon"; there are near, far')
  })
})

it('one store - there is nothing to sync, which is said; exit 0', async () => {
  await using folder = await cliFolder([crm.name])
  expect(await folder.run(['sync'])).toMatchObject({ code: 0, stdout: 'There is one store only; nothing to sync.\n' })
})

describe('a store that is not as it should be', () => {
  it('marked by another installation - STORE_FOREIGN with exit 11, and nothing is written to it', async () => {
    await using folder = await twoDirectories()
    const marker = { format: 1, storeId: '11111111-1111-4111-8111-111111111111', createdAt: '2026-11-20T02:00:00Z' }
    await writeFile(join(far(folder.path), 'pgproof.json'), JSON.stringify(marker))
    for (const command of ['backup', 'sync', 'status', 'prune', 'init']) {
      const { code, stderr } = await folder.run([command])
      expect([command, code]).toEqual([command, 11])
      expect(stderr).toContain('store "far"')
      expect(stderr).toContain('of another installation')
    }
    expect([filesIn(far(folder.path)), backupsIn(near(folder.path))]).toEqual([['pgproof.json'], []])
  })

  it.each([true, false])(
    'a directory is gone, required: %s - a backup fails or goes on without, and nothing is made in its place',
    async (required) => {
      await using folder = await twoDirectories({ required })
      const first = await backUp(folder)
      await rename(far(folder.path), `${far(folder.path)}-away`)
      const { code, stderr } = await folder.run(['backup'])
      expect(code).toBe(required ? 11 : 0)
      expect(stderr).toContain('far')
      expect(existsSync(far(folder.path))).toBe(false)
      const synced = await folder.run(['sync'])
      expect(synced.code).not.toBe(0)
      expect(synced.stderr).toContain('far')
      const status = await folder.run(['status'])
      expect([status.code, status.stdout.includes('store far cannot be read')]).toEqual([0, true])
      expect(status.stdout).not.toContain('removed')
      const listed = await folder.run(['list'])
      expect([listed.stdout.includes(first), listed.stderr.includes('far')]).toEqual([true, true])
      await rename(`${far(folder.path)}-away`, far(folder.path))
      expect((await folder.run(['sync'])).code).toBe(0)
      expect(contents(far(folder.path))).toEqual(contents(near(folder.path)))
    },
  )

  it.each([true, false])(
    'unmounted: an empty directory in its place, required: %s - it is not filled',
    async (required) => {
      await using folder = await twoDirectories({ required })
      await backUp(folder)
      await rename(far(folder.path), `${far(folder.path)}-away`)
      await mkdir(far(folder.path))
      for (const command of ['backup', 'sync', 'prune']) {
        const { code, stderr } = await folder.run([command])
        if (required || command === 'sync') expect([command, code]).not.toEqual([command, 0])
        else expect([command, code]).toEqual([command, 0])
        expect(stderr).toContain('far')
      }
      expect(filesIn(far(folder.path))).toEqual([])
    },
  )

  it('its copy of the dump was cut short - sync makes it whole again', async () => {
    await using folder = await twoDirectories()
    await backUp(folder)
    const dump = filesIn(far(folder.path)).find((name) => name.endsWith('dump.zst.pgp')) ?? ''
    await truncate(join(far(folder.path), dump), 100)
    expect((await folder.run(['status'])).stdout).toContain('store far lacks 1 backup')
    expect((await folder.run(['sync'])).code).toBe(0)
    expect(contents(far(folder.path))).toEqual(contents(near(folder.path)))
  })

  it('the source is damaged - exit 3 with what and why, and no such backup in the other', async () => {
    await using folder = await twoDirectories()
    const label = await backUp(folder)
    await rm(join(far(folder.path), 'backups'), { recursive: true })
    const dump = join(near(folder.path), filesIn(near(folder.path)).find((name) => name.endsWith('dump.zst.pgp')) ?? '')
    const bytes = readFileSync(dump)
    bytes[100] = (bytes[100] ?? 0) ^ 1
    await writeFile(dump, bytes)
    const { code, stderr } = await folder.run(['sync'])
    expect(code).toBe(3)
    expect(stderr).toMatch(new RegExp(`${label} to store far: .*SHA-256`))
    expect(backupsIn(far(folder.path))).toEqual([])
  })
})
