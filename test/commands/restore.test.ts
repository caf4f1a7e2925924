import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { unfinishedMark } from '../../src/postgres/facts.ts'
import { stagingName } from '../../src/postgres/staging-database.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { descendantsOf, isRunning } from '../support/processes.ts'
import { databasesOf, targetName } from '../support/restoring.ts'
import { standIn } from '../support/stand-ins.ts'
import { type CliFolder, cliFolder, waitFor } from './cli.ts'

let source: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder
let label: string
beforeAll(async () => {
  source = await testDatabase()
  folder = await cliFolder([source.name])
  await folder.run(['backup', '--roles'])
  const { document } = await folder.json(['backup'])
  label = String(document['runs']?.[0]?.['label'])
  await folder.run(['drill'])
})
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
  await source[Symbol.asyncDispose]()
})

const rowsOf = (url: string): Promise<unknown> =>
  query(url, 'SELECT (SELECT count(*) FROM shop.customer) AS customers, (SELECT count(*) FROM shop.event) AS events')

describe('pgproof restore', () => {
  it('into a new database - the page says what is where, of which instant, and what to do next', async () => {
    await using target = targetName(testUrl())
    const { code, stdout, stderr } = await folder.run(['restore', 'latest', '--to', target.url, '--create', '--verify'])
    expect(stderr).toMatch(
      /^Restoring main\/\S+ as of .* \(backup \S+, .*\) into r_\S+ on .*; a whole restore took about [\d.]+ s in drills\.\n/,
    )
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^RESTORED {2}main/${source.name} as of \\S+ \\S+ UTC into ${target.name} on `))
    expect(stdout).toContain(`Backup ${label}: 12 tables with `)
    expect(stdout).toMatch(/Compared with what the database held: 12 tables and \d+ objects of the structure, /)
    expect(stdout).toContain('What to do next\n')
    expect(await rowsOf(target.url)).toEqual(await rowsOf(source.url))
    expect(folder.leftovers()).toEqual([])
  })

  it('--json - one document; the same command again - TARGET_EXISTS, exit 12', async () => {
    await using target = targetName(testUrl())
    const args = ['restore', label, `main/${source.name}`, '--to', target.url, '--create']
    const { code, document } = await folder.json(args)
    expect(code).toBe(0)
    expect(document['restore']).toMatchObject({ backup: { label }, outcome: 'created', aside: null, tables: null })
    const again = await folder.json(args)
    expect(again.code).toBe(12)
    expect(again.document['error']).toMatchObject({ code: 'TARGET_EXISTS' })
  })

  it('a new host: the store, a key, nothing else - listed and restored without a configuration', async () => {
    await using target = targetName(testUrl())
    const bare = mkdtempSync(join(tmpdir(), 'bare-host-'))
    const store = ['--store', join(folder.path, 'store')]
    const options = { config: null, cwd: bare, env: { HOME: bare, PGPROOF_DRILL__SPOOL: join(bare, 'spool') } }
    const listed = await folder.run(['list', ...store], options)
    expect(listed.stdout).toContain(label)
    const key = ['--key', join(folder.path, 'key.asc')]
    const restored = await folder.run(['restore', 'latest', '--to', target.url, '--create', ...store, ...key], options)
    expect(restored).toMatchObject({ code: 0 })
    expect(await rowsOf(target.url)).toEqual(await rowsOf(source.url))
    rmSync(bare, { recursive: true })
  })

  it.each([
    [['restore', '--to', 'postgres://u@localhost/x'], 'say which backup'],
    [['restore', 'latest', '--at', '2026-01-01', '--to', 'postgres://u@localhost/x'], '--at chooses'],
    [['restore', 'latest', '--to', 'localhost/x'], '--to is not the URL of a database'],
    [['restore', 'latest', '--to', 'postgres://u@localhost'], 'names no database'],
    [['restore', '--at', 'yesterday', '--to', 'postgres://u@localhost/x'], '"yesterday" is no time'],
    [['restore', '--at', '2999-01-01 00:00', '--to', 'postgres://u@localhost/x'], 'it lies in the future'],
    [['restore', 'latest'], '--to'],
    [
      ['restore', 'latest', 'main/a', '--database', 'b', '--to', 'postgres://u@localhost/x'],
      'main/a names the database',
    ],
    [['restore', 'latest', '--to', 'postgres://u@localhost/x', '-j', '0'], '1 to 64 jobs'],
    [['restore', 'latest', '--to', 'postgres://u@localhost/postgres', '--force'], 'postgres'],
  ])('%j - exit 2 and why', async (args, reason) => {
    const { code, stderr } = await folder.run(args)
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(reason) })
  })

  it('the wrong password for --to - AUTHENTICATION_FAILED or refused, the password nowhere', async () => {
    const url = new URL(testUrl('anything'))
    url.username = 'nobody_known'
    url.password = 'hunter2-secret'
    const { code, stdout, stderr } = await folder.run(['restore', 'latest', '--to', url.href, '--create'])
    expect(code).toBe(12)
    expect(stdout + stderr).not.toContain('hunter2-secret')
    expect(stderr).toContain('PGPASSWORD')
  })
})

describe('pgproof restore of single tables', () => {
  it('into a new database - which tables, their rows, and no rows of any other', async () => {
    await using target = targetName(testUrl())
    const args = ['restore', 'latest', '--table', 'shop.customer', '--to', target.url, '--create']
    const { code, stdout, stderr } = await folder.run(args)
    expect(code).toBe(0)
    expect(stderr).toMatch(/^Restoring tables of main\/\S+ as of /)
    const [{ count }] = (await query(source.url, 'SELECT count(*)::int FROM shop.customer')) as [{ count: number }]
    const rows = count.toLocaleString('en-US')
    expect(stdout).toContain(`RESTORED  1 table with ${rows} rows of backup ${label}`)
    expect(stdout).toContain(`They are in database ${target.name}, which is new, on `)
    expect(await query(target.url, 'SELECT count(*)::int FROM shop.customer')).toEqual([{ count }])
    expect(await query(target.url, 'SELECT count(*)::int FROM shop.event')).toEqual([{ count: 0 }])
    expect(folder.leftovers()).toEqual([])
  })

  it('a whole schema into a new database - every table of it, with its rows', async () => {
    await using target = targetName(testUrl())
    const { code, stdout } = await folder.run(['restore', 'latest', '--schema', 'shop', '--to', target.url, '--create'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^RESTORED {2}12 tables with /)
    expect(await rowsOf(target.url)).toEqual(await rowsOf(source.url))
  })
})

describe('a database called postgres', () => {
  it('is not replaced, exit 2; tables come back beside its own, and what an interrupted restore of them left is removed', async () => {
    const schema = `copy_${label.toLowerCase().replaceAll('-', '_')}`
    const to = ['--to', testUrl('postgres')]
    for (const flags of [[], ['--force'], ['--create'], ['--table', 'shop.product', '--create']])
      expect(await folder.run(['restore', 'latest', ...to, ...flags])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('"postgres" belongs to the server itself'),
      })
    try {
      const args = ['restore', 'latest', '--table', 'shop.product', '--into-schema', schema, ...to]
      const { code, stdout } = await folder.run(args)
      expect(stdout).toContain(`They are in schema ${schema} of database postgres`)
      expect(code).toBe(0)
      const rows = (url: string, name: string) => query(url, `SELECT * FROM ${name} AS t ORDER BY t::text`)
      expect(await rows(testUrl('postgres'), `${schema}.product`)).toEqual(await rows(source.url, 'shop.product'))
    } finally {
      await query(testUrl('postgres'), `DROP SCHEMA IF EXISTS ${schema} CASCADE`)
    }
    const name = stagingName(label, 'postgres tables')
    const mark = `${unfinishedMark}${JSON.stringify({ name, label, into: 'postgres', since: '2026-11-20T02:00:00Z' })}`
    await query(testUrl(), `CREATE DATABASE "${name}"`)
    await query(testUrl(), `COMMENT ON DATABASE "${name}" IS '${mark}'`)
    const discarded = await folder.run(['restore', '--discard', ...to])
    expect(discarded).toMatchObject({ code: 0, stdout: expect.stringContaining(`removed database "${name}"`) })
    expect(await databasesOf(testUrl(), name)).toEqual([])
  })
})

describe('downloads that no restore went on with', () => {
  it('of three weeks ago - removed by the next restore, which says so; that of yesterday stays', async () => {
    await using target = targetName(testUrl())
    const downloads = join(folder.path, 'spool', 'downloads')
    mkdirSync(downloads, { recursive: true })
    for (const [name, days] of [
      ['old.part', 21],
      ['recent.part', 1],
    ] as const) {
      writeFileSync(join(downloads, name), 'x')
      const time = new Date(Date.now() - days * 86_400_000)
      utimesSync(join(downloads, name), time, time)
    }
    const env = { PGPROOF_DRILL__SPOOL: join(folder.path, 'spool') }
    const { code, stderr } = await folder.run(['restore', 'latest', '--to', target.url, '--create'], { env })
    expect(code).toBe(0)
    expect(stderr).toContain('removed downloads that no restore went on with (downloads: 1)')
    expect(readdirSync(downloads)).toEqual(['recent.part'])
    rmSync(downloads, { recursive: true })
  })
})

describe('a restore that was killed', () => {
  it('is recognised: --discard removes it, and the same command again goes on with what was downloaded', async () => {
    await using target = targetName(testUrl())
    const binDirs = standIn(
      folder.path,
      'pg_restore',
      `case "$*" in *--section=post-data*) touch ${folder.path}/stuck; sleep 600;; esac; exec "$REAL" "$@"`,
    )
    const args = ['restore', 'latest', '--to', target.url, '--create']
    const kill = async (): Promise<void> => {
      rmSync(join(folder.path, 'stuck'), { force: true })
      const { child, result } = folder.start(args, { env: { PGPROOF_POSTGRES__BIN_DIRS: binDirs } })
      await waitFor('the second stage', () => existsSync(join(folder.path, 'stuck')))
      const started = descendantsOf(child.pid ?? 0)
      child.kill('SIGKILL')
      await result
      for (const pid of started) if (isRunning(pid)) process.kill(pid, 'SIGKILL')
      await waitFor('its sessions to end', () => started.every((pid) => !isRunning(pid)))
    }
    await kill()
    const [left] = await databasesOf(testUrl(), target.name)
    expect(left).not.toBe(target.name)

    const discarded = await folder.run(['restore', '--discard', '--to', target.url])
    expect(discarded.stdout).toContain(`removed database "${left}"`)
    expect(discarded.stdout).toContain('unfinished download')
    expect(await databasesOf(testUrl(), target.name)).toEqual([])

    await kill()
    const again = await folder.run(args)
    expect(again).toMatchObject({ code: 0 })
    expect(again.stdout).toContain('which an interrupted restore had left, and began anew')
    expect(await databasesOf(testUrl(), target.name)).toEqual([target.name])
    expect(await rowsOf(target.url)).toEqual(await rowsOf(source.url))
    await folder.run(['drill'])
    expect(folder.leftovers()).toEqual([])
  })

  it('Ctrl-C in the middle - exit 130, nothing left at the target', async () => {
    await using target = targetName(testUrl())
    const binDirs = standIn(
      folder.path,
      'pg_restore',
      `case "$*" in *--section=post-data*) touch ${folder.path}/stuck; sleep 600;; esac; exec "$REAL" "$@"`,
    )
    rmSync(join(folder.path, 'stuck'), { force: true })
    const args = ['restore', 'latest', '--to', target.url, '--create']
    const { child, result } = folder.start(args, { env: { PGPROOF_POSTGRES__BIN_DIRS: binDirs } })
    await waitFor('the second stage', () => existsSync(join(folder.path, 'stuck')))
    child.kill('SIGINT')
    expect(await result).toMatchObject({ code: 130 })
    expect(await databasesOf(testUrl(), target.name)).toEqual([])
    await folder.run(['restore', '--discard', '--to', target.url])
    expect(folder.leftovers()).toEqual([])
  })
})

describe('somebody at a terminal', () => {
  const onTerminal = async (
    typed: string,
    to: string,
    question = 'Type the name of the database',
  ): Promise<{ shown: string; code: number | null }> => {
    const args = ['src/main.ts', '--config', `${folder.path}/pgproof.yaml`, 'restore', 'latest', '--to', to]
    const command = [process.execPath, ...args].join(' ')
    const child = spawn('script', ['-qefc', `stty cols 200; exec ${command}`, '/dev/null'], {
      env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm', HOME: folder.path, NO_COLOR: '1' },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    let shown = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text
    })
    const ended = once(child, 'close')
    await waitFor('the question', () => shown.includes(question))
    child.stdin.write(`${typed}\n`)
    const [code] = await ended
    return { shown, code: code as number | null }
  }

  it('another name is typed - CONFIRMATION_REFUSED, nothing changed; its name is typed - renamed aside', async () => {
    await using target = targetName(testUrl())
    await query(testUrl(), `CREATE DATABASE ${target.name}`)
    await query(target.url, 'CREATE TABLE precious (v int); INSERT INTO precious VALUES (1)')
    const refused = await onTerminal('yes', target.url)
    expect(refused).toMatchObject({ code: 2, shown: expect.stringContaining('not confirmed') })
    expect(await databasesOf(testUrl(), target.name)).toEqual([target.name])
    const confirmed = await onTerminal(target.name, target.url)
    expect(confirmed).toMatchObject({ code: 0, shown: expect.stringContaining('It is now called') })
    expect(await rowsOf(target.url)).toEqual(await rowsOf(source.url))
    const aside = (await databasesOf(testUrl(), target.name)).find((name) => name !== target.name) ?? ''
    expect(await query(testUrl(aside), 'SELECT v FROM precious')).toEqual([{ v: 1 }])
  })

  it('a password that is nowhere - asked for, not shown, and enough', async () => {
    await using target = targetName(testUrl())
    const role = `asked_${target.name}`
    await query(testUrl(), `CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'not-shown'`)
    await query(testUrl(), `CREATE DATABASE ${target.name}`)
    const login = new URL(target.url)
    login.username = role
    login.password = ''
    const { code, shown } = await onTerminal('not-shown', login.href, `Password of ${role} on `)
    expect({ code, shown }).toEqual({ code: 0, shown: expect.stringContaining('RESTORED') })
    expect(shown).not.toContain('not-shown')
    await query(testUrl(), `DROP DATABASE ${target.name}`)
    await query(testUrl(), `DROP ROLE ${role}`)
  })

  it('no terminal - TARGET_NOT_EMPTY, exit 12', async () => {
    const { code, stderr } = await folder.run(['restore', 'latest', '--to', source.url])
    expect({ code, stderr }).toEqual({ code: 12, stderr: expect.stringContaining('is not empty: it holds') })
  })
})
