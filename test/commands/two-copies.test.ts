import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { targetName } from '../support/restoring.ts'
import { type CliFolder, cliFolder } from './cli.ts'

let crm: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  crm = await testDatabase('template1')
  await query(crm.url, 'CREATE TABLE contact (id int); INSERT INTO contact SELECT generate_series(1, 100)')
})
afterAll(async () => {
  await crm[Symbol.asyncDispose]()
})

/** Directories `near` and `far` with one backup in both. */
async function withBackup(ofFar: object = {}): Promise<{ folder: CliFolder; label: string }> {
  const folder = await cliFolder([crm.name])
  await folder.configure({
    store: [
      { name: 'near', url: `file://${folder.path}/near` },
      { name: 'far', url: `file://${folder.path}/far`, ...ofFar },
    ],
    servers: [{ name: 'main', url: testUrl(), databases: [crm.name], retention: { last: 5 } }],
  })
  expect(await folder.run(['init'])).toMatchObject({ code: 0, stderr: '' })
  const { code, document } = await folder.json(['backup'])
  expect(code).toBe(0)
  return { folder, label: String(document['runs']?.['0']?.['label']) }
}

const away = async (folder: CliFolder, name: string): Promise<void> =>
  await rename(join(folder.path, name), join(folder.path, `${name}-away`))

function dumpIn(folder: CliFolder, store: string): string {
  const names = readdirSync(join(folder.path, store), { recursive: true }).map(String)
  return join(folder.path, store, names.find((name) => name.endsWith('dump.zst.pgp')) ?? '')
}

describe('two copies of a backup', () => {
  it('verify - each by itself; a damaged one is named, and the worst verdict decides', async () => {
    const { folder, label } = await withBackup()
    await using _ = folder
    const whole = await folder.run(['verify', label])
    expect(whole.code).toBe(0)
    for (const store of ['near', 'far'])
      expect(whole.stdout).toContain(`PASSED  backup ${label} of main/${crm.name}, store ${store}`)
    const dump = dumpIn(folder, 'far')
    const bytes = readFileSync(dump)
    bytes[100] = (bytes[100] ?? 0) ^ 1
    await writeFile(dump, bytes)
    const { code, document } = await folder.json(['verify', label])
    expect(code).toBe(3)
    const copies = [...(document['copies'] ?? [])].map(({ store, verdict }) => [store, verdict])
    expect([document['verdict'], copies]).toEqual([
      'failed',
      [
        ['near', 'passed'],
        ['far', 'failed'],
      ],
    ])
    expect((await folder.run(['verify', label, '--from', 'near'])).code).toBe(0)
  })

  it.each([
    ['near', 'far'],
    ['far', 'near'],
  ])('store %s is gone - verify and restore --from %s need nothing of it', async (gone, from) => {
    const { folder, label } = await withBackup()
    await using _ = folder
    await using target = targetName(testUrl())
    await away(folder, gone)
    const verified = await folder.run(['verify', label, '--from', from])
    expect(verified).toMatchObject({ code: 0, stderr: '' })
    const restored = await folder.run(['restore', 'latest', '--from', from, '--to', target.url, '--create'])
    expect(restored).toMatchObject({ code: 0 })
    expect(restored.stderr).not.toContain('cannot be read')
    expect(await query(target.url, 'SELECT count(*)::int AS n FROM contact')).toEqual([{ n: 100 }])
    expect(existsSync(join(folder.path, gone))).toBe(false)
    expect(folder.leftovers()).toEqual([])
  })

  it('a store that is not required is gone - the backup says where it is not', async () => {
    const { folder } = await withBackup({ required: false })
    await using _ = folder
    await away(folder, 'far')
    const { code, stdout } = await folder.run(['backup'])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`main/${crm.name}.*not in far`))
  })
})

describe('a store that is not required and somebody else’s', () => {
  it('backups, status and list go on and say so; nothing is written to it, and sync fails', async () => {
    const { folder, label } = await withBackup({ required: false })
    await using _ = folder
    await rm(join(folder.path, 'far', 'backups'), { recursive: true })
    const marker = { format: 1, storeId: '11111111-1111-4111-8111-111111111111', createdAt: '2026-11-20T02:00:00Z' }
    await writeFile(join(folder.path, 'far', 'pgproof.json'), JSON.stringify(marker))
    const before = readdirSync(join(folder.path, 'far'), { recursive: true })
    const backedUp = await folder.run(['backup'])
    expect(backedUp.code).toBe(0)
    expect(backedUp.stdout).toContain('not in far')
    expect(backedUp.stderr).toContain('of another installation')
    for (const command of ['status', 'list']) {
      const { stdout, stderr } = await folder.run([command])
      expect(`${stdout}${stderr}`).toContain('of another installation')
      if (command === 'list') expect(stdout).toContain(label)
    }
    const synced = await folder.run(['sync'])
    expect(synced.code).not.toBe(0)
    expect(synced.stderr).toContain('of another installation')
    expect(readdirSync(join(folder.path, 'far'), { recursive: true })).toEqual(before)
  })
})
