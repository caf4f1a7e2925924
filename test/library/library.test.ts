import { getEventListeners } from 'node:events'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { backup, drill, migrationAdapter, PgproofError, restore } from '../../src/index.ts'
import { type CliFolder, cliFolder } from '../commands/cli.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { standIn } from '../support/stand-ins.ts'

type Database = Awaited<ReturnType<typeof testDatabase>>
let shop: Database
let crm: Database

beforeAll(async () => {
  shop = await testDatabase('template1')
  crm = await testDatabase('template1')
  for (const { url } of [shop, crm])
    await query(url, 'CREATE TABLE contact (id int); INSERT INTO contact SELECT generate_series(1, 1000)')
})
afterAll(async () => {
  await crm[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

/** The folder of a configuration, and the options that name it. */
async function configured(settings: object = {}): Promise<{
  readonly folder: CliFolder
  readonly options: { readonly config: string; readonly cwd: string; readonly env: Record<string, string> }
}> {
  const folder = await cliFolder([shop.name, crm.name])
  await folder.configure(settings)
  return { folder, options: { config: 'pgproof.yaml', cwd: folder.path, env: {} } }
}

/** One bit near the end of the only dump. */
async function damageDump(folder: CliFolder): Promise<void> {
  const dump = folder.objects().find((file) => file.endsWith('dump.zst.pgp')) ?? ''
  const body = await readFile(dump)
  body[body.length - 100] = (body[body.length - 100] ?? 0) ^ 1
  await writeFile(dump, body)
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof PgproofError ? error.code : String(error)),
  )

const rows = async (url: string): Promise<unknown> =>
  (await query(url, 'SELECT count(*)::int AS n FROM contact'))[0]?.['n']

/** Dropped whatever the test does. */
function dropLater(name: string): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => void (await query(testUrl(), `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)),
  }
}

describe('the library', () => {
  it('backup, drill, restore - as the command line does them, seen by it, and nothing is left over', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    const roles = await backup('main', { ...options, roles: true })
    expect(roles.manifest.kind).toBe('roles')
    const made = await backup(`main/${shop.name}`, options)
    expect(made).toMatchObject({ pruned: [], pruneError: null, manifest: { label: made.label, database: shop.name } })
    expect(Date.now() - made.snapshotTime.getTime()).toBeLessThan(60_000)
    expect([made.bytes > 0, made.dumpBytes > 0]).toEqual([true, true])

    const drilled = await drill(undefined, options)
    expect(drilled).toMatchObject({ verdict: 'passed', error: null, report: { backup: { label: made.label } } })
    expect(drilled.tables?.tables).toMatchObject([{ name: 'contact', result: 'equal' }])

    const name = `${shop.name}_copy`
    await using _copy = dropLater(name)
    const phases: string[] = []
    const order = { backup: 'latest', from: `main/${shop.name}`, to: testUrl(name), create: true, verify: true }
    const restored = await restore({ ...order, onProgress: ({ phase }) => phases.push(phase) }, options)
    expect(restored).toMatchObject({ outcome: 'created', backup: { label: made.label }, target: { database: name } })
    expect(await rows(testUrl(name))).toBe(1000)
    expect(phases).toContain('restore')
    expect(await codeOf(restore(order, options))).toBe('TARGET_EXISTS')
    const asOf = { ...order, backup: made.snapshotTime, create: false, force: true }
    const again = await restore(asOf, options)
    await using _aside = dropLater(`"${again.aside}"`)
    expect(again).toMatchObject({ outcome: 'replaced', backup: { label: made.label } })
    const tooEarly = { ...asOf, backup: new Date(made.snapshotTime.getTime() - 1000) }
    expect(await codeOf(restore(tooEarly, options))).toBe('NO_BACKUP_BEFORE')
    expect((await folder.json(['list', '--drills'])).document['drills']).toMatchObject([
      { label: drilled.report.label },
    ])
    expect(folder.leftovers()).toEqual([])
  })

  it('a backup that was damaged in the store - the verdict is returned, with its reason, and not thrown', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    const { label } = await backup(`main/${crm.name}`, options)
    await damageDump(folder)
    const { verdict, error } = await drill(`main/${crm.name}`, { ...options, backup: label })
    expect([verdict, error?.code]).toEqual(['failed', 'OBJECT_MISMATCH'])
  })

  it('a restore of a damaged backup - thrown as it is, with nothing made', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    const { label } = await backup(`main/${crm.name}`, options)
    await damageDump(folder)
    const name = `${crm.name}_copy`
    await using _copy = dropLater(name)
    expect(await codeOf(restore({ backup: label, to: testUrl(name), create: true }, options))).toBe('OBJECT_MISMATCH')
    expect(await query(testUrl(), 'SELECT FROM pg_database WHERE datname = $1', [name])).toEqual([])
  })

  it('a restore that is compared and is not what was backed up - thrown, with where it is kept', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    const { label } = await backup(`main/${crm.name}`, options)
    // A row goes once the rows are there; the stages after that find none that does.
    const remove = `"$(dirname "$REAL")/psql" -qc 'DELETE FROM contact WHERE id = 7' >/dev/null 2>&1`
    const program = `"$REAL" "$@" || exit\ncase "$*" in *--list*) ;; *) ${remove} ;; esac\nexit 0`
    await folder.configure({ postgres: { binDirs: [standIn(folder.path, 'pg_restore', program)] } })
    const name = `${crm.name}_copy`
    const order = { backup: label, to: testUrl(name), create: true, verify: true }
    const error: unknown = await restore(order, options).catch((thrown) => thrown)
    expect(error).toMatchObject({ code: 'RESTORED_DIFFERS', message: expect.stringContaining('contact') })
    const [, kept = ''] = /database "([^"]+)"/.exec((error as PgproofError).hint) ?? []
    await using _kept = dropLater(`"${kept}"`)
    expect(await rows(testUrl(kept))).toBe(999)
    expect(await query(testUrl(), 'SELECT FROM pg_database WHERE datname = $1', [name])).toEqual([])
  })

  it('a configuration that is worth a warning - in the log of the caller', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    await chmod(join(folder.path, 'key.asc'), 0o644)
    const lines: string[] = []
    await backup(`main/${crm.name}`, { ...options, log: (line) => lines.push(line) })
    const warnings = lines.map((line) => JSON.parse(line) as { level: string; msg: string })
    expect(warnings[0]).toMatchObject({ level: 'warn', msg: expect.stringContaining('other users may read') })
  })

  it('two databases at once - both backed up; one database twice at once - one of them is LOCKED', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    const made = await Promise.all([backup(`main/${shop.name}`, options), backup(`main/${crm.name}`, options)])
    expect(made.map(({ manifest }) => manifest.database)).toEqual([shop.name, crm.name])
    await query(shop.url, 'CREATE TABLE slow AS SELECT generate_series(1, 200000) AS id')
    const twice = [1, 2].map(() => codeOf(backup(`main/${shop.name}`, options)))
    expect((await Promise.all(twice)).sort()).toEqual(['LOCKED', 'none'])
    await query(shop.url, 'DROP TABLE slow')
  })

  it('one backup restored twice at once - one of them is LOCKED, the other whole', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    const { label } = await backup(`main/${shop.name}`, options)
    const names = ['one', 'two'].map((part) => `${shop.name}_${part}`)
    await using _one = dropLater(names[0] ?? '')
    await using _two = dropLater(names[1] ?? '')
    const orders = names.map((name) => restore({ backup: label, to: testUrl(name), create: true }, options))
    expect((await Promise.all(orders.map(codeOf))).sort()).toEqual(['LOCKED', 'none'])
    expect(folder.leftovers()).toEqual([])
  })

  it('functions of the caller that throw - the work goes on', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    const unhandled: unknown[] = []
    const note = (error: unknown): void => void unhandled.push(error)
    process.on('unhandledRejection', note)
    process.on('uncaughtExceptionMonitor', note)
    try {
      const thrower = (): never => {
        throw new Error('the caller broke')
      }
      expect(await codeOf(backup(`main/${shop.name}`, { ...options, log: thrower }))).toBe('none')
      const name = `${shop.name}_thrown`
      await using _copy = dropLater(name)
      const order = {
        backup: 'latest',
        from: `main/${shop.name}`,
        to: testUrl(name),
        create: true,
        onProgress: thrower,
      }
      expect(await codeOf(restore(order, options))).toBe('none')
      expect(unhandled).toEqual([])
    } finally {
      process.off('unhandledRejection', note)
      process.off('uncaughtExceptionMonitor', note)
    }
  })

  it('what cannot be done - a PgproofError with its code, and the log in the hands of the caller', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    expect(await codeOf(backup('main', options))).toBe('USAGE_INVALID')
    expect(await codeOf(backup('nowhere/shop', options))).toBe('SERVER_UNKNOWN')
    expect(await codeOf(backup('main/template1', options))).toBe('DATABASE_NOT_CONFIGURED')
    expect(await codeOf(drill(undefined, options))).toBe('NO_BACKUP')
    expect(await codeOf(backup('main/shop', { ...options, config: 'absent.yaml' }))).toBe('CONFIG_UNREADABLE')
    const order = { backup: 'latest', to: 'postgres://u@h/d', create: true, force: true }
    expect(await codeOf(restore(order, options))).toBe('USAGE_INVALID')
    expect(await codeOf(restore({ backup: new Date('x'), to: testUrl() }, options))).toBe('USAGE_INVALID')
    const lines: string[] = []
    await backup(`main/${crm.name}`, { ...options, log: (line) => lines.push(line) })
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toContain('run finished')
  })

  it('a signal that has fired, or fires on the way - CANCELLED, and no backup', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    expect(await codeOf(backup(`main/${crm.name}`, { ...options, signal: AbortSignal.abort() }))).toBe('CANCELLED')
    const controller = new AbortController()
    const log = (line: string): void => {
      if (line.includes('run started')) controller.abort()
    }
    expect(await codeOf(backup(`main/${crm.name}`, { ...options, log, signal: controller.signal }))).toBe('CANCELLED')
    expect((await folder.json(['list'])).document['backups']).toEqual([])
    expect(folder.leftovers()).toEqual([])
  })
})

describe('a signal with a reason of its own', () => {
  it('that of a timeout - CANCELLED, and the reason is the cause; the log does not speak of a bug', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    const lines: string[] = []
    const signal = AbortSignal.timeout(1000)
    await folder.configure({ postgres: { binDirs: [standIn(folder.path, 'pg_dump', 'exec sleep 618')] } })
    const thrown: unknown = await backup(`main/${crm.name}`, {
      ...options,
      signal,
      log: (line) => lines.push(line),
    }).catch((error) => error)
    expect(thrown).toMatchObject({ code: 'CANCELLED', cause: { name: 'TimeoutError' } })
    expect(lines.join('\n')).not.toContain('INTERNAL')
    expect((await folder.json(['list'])).document['backups']).toEqual([])
    expect(folder.leftovers()).toEqual([])
  })

  it.each([new Error('the user left'), 'enough', undefined])(
    '%s - CANCELLED, before and on the way',
    async (reason) => {
      const { folder, options } = await configured()
      await using _folder = folder
      expect(await codeOf(backup(`main/${crm.name}`, { ...options, signal: AbortSignal.abort(reason) }))).toBe(
        'CANCELLED',
      )
      const controller = new AbortController()
      const log = (line: string): void => {
        if (line.includes('run started')) controller.abort(reason)
      }
      expect(await codeOf(backup(`main/${crm.name}`, { ...options, log, signal: controller.signal }))).toBe('CANCELLED')
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    },
  )

  it('a signal for many calls - none of them leaves a listener on it', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    const { signal } = new AbortController()
    expect(await codeOf(backup(`main/${crm.name}`, { ...options, signal }))).toBe('none')
    expect(await codeOf(backup('nowhere/shop', { ...options, signal }))).toBe('SERVER_UNKNOWN')
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('a drill is cancelled by an error - CANCELLED, and its report says inconclusive', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    await backup(`main/${crm.name}`, options)
    const controller = new AbortController()
    const log = (line: string): void => {
      if (line.includes('run started')) controller.abort(new Error('the user left'))
    }
    expect(await codeOf(drill(`main/${crm.name}`, { ...options, log, signal: controller.signal }))).toBe('CANCELLED')
    expect((await folder.json(['list', '--drills'])).document['drills']).toMatchObject([
      { verdict: 'inconclusive', reason: { code: 'CANCELLED' } },
    ])
  })
})

describe('the adapter for migrations', () => {
  it('a migration that broke half-way - the database is back as it was, the broken one beside it', async () => {
    const { folder, options } = await configured()
    await using _folder = folder
    await using broken = await testDatabase('template1')
    await query(broken.url, 'CREATE TABLE contact (id int); INSERT INTO contact VALUES (1), (2)')
    await folder.configure({ servers: [{ name: 'main', url: testUrl(), databases: [broken.name] }] })
    const adapter = migrationAdapter({ ...options, database: `main/${broken.name}`, verify: true })
    const label = await adapter.backup()
    await query(broken.url, 'DELETE FROM contact; ALTER TABLE contact ADD half int')
    await adapter.restore(label)
    expect(await rows(broken.url)).toBe(2)
    const beside = await query(testUrl(), 'SELECT datname FROM pg_database WHERE datname LIKE $1 AND datname <> $2', [
      `${broken.name}%`,
      broken.name,
    ])
    expect(beside).toHaveLength(1)
    await using _beside = dropLater(`"${String(beside[0]?.['datname'])}"`)
    expect(await rows(testUrl(String(beside[0]?.['datname'])))).toBe(0)
  })

  it('without a private key - refused before the migration starts; something that is no label - refused', async () => {
    const { folder, options } = await configured({ encryption: { recipients: ['pub.asc'] } })
    await using _folder = folder
    const adapter = migrationAdapter({ ...options, database: `main/${crm.name}` })
    expect(await codeOf(adapter.backup())).toBe('KEY_NEEDED')
    expect((await folder.json(['list'])).document['backups']).toEqual([])
    expect(await codeOf(adapter.restore('yesterday'))).toBe('USAGE_INVALID')
    expect(await codeOf(migrationAdapter({ ...options, database: 'main' }).backup())).toBe('USAGE_INVALID')
    expect(folder.objects().map((file) => file.slice(join(folder.path, 'store').length))).toEqual(['/pgproof.json'])
  })
})
