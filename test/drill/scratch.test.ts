import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openForSeveral } from '../../src/drill/opened-scratch.ts'
import { assertTakes, openScratchServer, type ScratchSettings } from '../../src/drill/scratch.ts'
import { createLog } from '../../src/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { openSpool } from '../../src/streams/spool.ts'
import { errorOf, signal } from '../postgres/sandbox.ts'
import { major, openSpoolRoot } from '../postgres/spool-root.ts'
import { query, serverBinDir, startPostgres, type TestServer } from '../support/postgres-server.ts'

const source = { major, systemIdentifier: '7300000000000000001' }
const lines: string[] = []
const parts = { clock: systemClock, log: createLog({ level: 'warn', format: 'json' }, (line) => lines.push(line)) }
const logged = (): unknown[] => lines.map((line) => JSON.parse(line) as unknown)
beforeEach(() => {
  lines.length = 0
})

describe('a server that is kept for drills', () => {
  let kept: TestServer
  beforeAll(async () => {
    kept = await startPostgres()
  })
  afterAll(() => kept?.stop())

  const open = () => {
    const settings: ScratchSettings = { kind: 'server', connection: parseConnectionUrl('scratch', kept.url()) }
    return openScratchServer(settings, source, 'postgres', '/nonexistent', parts, signal)
  }

  const roles = async (): Promise<string[]> => {
    const rows = await query(kept.url(), "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1")
    return rows.map(({ rolname }) => String(rolname))
  }
  const sessions = () => query(kept.url(), "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgproof drill'")

  it('a drill goes on there - LOCKED; after it the next one may', async () => {
    {
      await using _first = await open()
      expect(await errorOf(open())).toMatchObject({
        code: 'LOCKED',
        message: expect.stringContaining('the scratch server'),
        details: expect.stringMatching(/^held by process \d+ from /),
      })
    }
    await using _next = await open()
  })

  it('somebody has made a database for a role of the drill - the role stays, and the log names it', async () => {
    {
      await using server = await open()
      await server.replayRoles('CREATE ROLE clerk;\nCREATE ROLE keeper;\n', signal)
      await query(kept.url(), 'CREATE DATABASE mine OWNER clerk')
    }
    expect(await roles()).toEqual(['clerk', 'pgproof_scratch_roles', 'postgres'])
    expect(logged()).toMatchObject([
      { level: 'warn', roles: ['clerk'], msg: expect.stringContaining('not be dropped') },
    ])
    await query(kept.url(), 'DROP DATABASE mine')
    await using _next = await open()
    expect(await roles()).toEqual(['postgres'])
  })

  it('a drill there was killed - the next one drops the roles that it had created, and no other', async () => {
    await query(kept.url(), 'CREATE ROLE mine')
    await using killed = await open()
    await killed.replayRoles(
      'CREATE ROLE clerk;\nCREATE ROLE mine;\nCREATE ROLE keeper;\nGRANT keeper TO clerk;\n',
      signal,
    )
    await query(
      kept.url(),
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgproof drill'",
    )
    await expect.poll(sessions).toEqual([])
    expect(await roles()).toEqual(['clerk', 'keeper', 'mine', 'pgproof_scratch_roles', 'postgres'])
    {
      await using _next = await open()
      expect(await roles()).toEqual(['mine', 'postgres'])
    }
    const msg = 'removed roles that an interrupted drill had left'
    expect(logged()).toMatchObject([{ level: 'warn', roles: ['clerk', 'keeper'], msg }])
    await query(kept.url(), 'DROP ROLE mine')
  })

  it('no connection is to be had when a drill ends - the lock goes all the same, and the next drill drops its roles', async () => {
    await query(kept.url(), "CREATE ROLE runner LOGIN CREATEROLE CREATEDB PASSWORD 'x'")
    const connection = { ...parseConnectionUrl('scratch', kept.url()), user: 'runner', password: () => 'x' }
    const settings: ScratchSettings = { kind: 'server', connection }
    const openAsRunner = () => openScratchServer(settings, source, 'postgres', '/nonexistent', parts, signal)
    {
      await using server = await openAsRunner()
      await server.replayRoles('CREATE ROLE clerk;\n', signal)
      await query(kept.url(), 'ALTER ROLE runner CONNECTION LIMIT 0')
    }
    await expect.poll(sessions).toEqual([])
    expect(await roles()).toEqual(['clerk', 'pgproof_scratch_roles', 'postgres', 'runner'])
    expect(logged()).toMatchObject([{ level: 'warn', reason: expect.stringContaining('too many connections') }])
    await query(kept.url(), 'ALTER ROLE runner CONNECTION LIMIT -1')
    {
      await using _next = await openAsRunner()
      expect(await roles()).toEqual(['postgres', 'runner'])
    }
    await query(kept.url(), 'DROP ROLE runner')
  })

  it('a login that may create no roles, and needs none - replayed without any', async () => {
    await query(kept.url(), "CREATE ROLE humble LOGIN PASSWORD 'x'")
    const connection = { ...parseConnectionUrl('scratch', kept.url()), user: 'humble', password: () => 'x' }
    {
      await using server = await openScratchServer(
        { kind: 'server', connection },
        source,
        'postgres',
        '/nonexistent',
        parts,
        signal,
      )
      const replayed = await server.replayRoles('CREATE ROLE humble;\n', signal)
      expect([replayed.created, replayed.kept]).toEqual([[], ['humble']])
      expect(await errorOf(server.replayRoles('CREATE ROLE clerk;\n', signal))).toMatchObject({
        code: 'SCRATCH_FAILED',
      })
    }
    await query(kept.url(), 'DROP ROLE humble')
  })

  it('somebody else has a role of the name that drills need - SCRATCH_FAILED, and it stays', async () => {
    await query(kept.url(), 'CREATE ROLE pgproof_scratch_roles')
    {
      await using server = await open()
      const error = await errorOf(server.replayRoles('CREATE ROLE clerk;\n', signal))
      expect(error).toMatchObject({ code: 'SCRATCH_FAILED', message: expect.stringContaining('pgproof_scratch_roles') })
    }
    expect(await roles()).toEqual(['pgproof_scratch_roles', 'postgres'])
    await query(kept.url(), 'DROP ROLE pgproof_scratch_roles')
  })

  it('of an older major than the backup - SCRATCH_FAILED with both', async () => {
    const run = async (): Promise<void> => assertTakes({ major: 15, systemIdentifier: '1' }, { ...source, major: 17 })
    expect(await errorOf(run())).toMatchObject({
      code: 'SCRATCH_FAILED',
      message: expect.stringContaining('it runs PostgreSQL 15, the backup comes from 17'),
    })
  })
})

describe('an embedded server', () => {
  it('cannot be shut off from this machine - it starts all the same, and the log says so', async () => {
    await using root = await openSpoolRoot()
    await using spool = await openSpool(root.path, 0)
    const path = process.env['PATH'] ?? ''
    process.env['PATH'] = '/nonexistent'
    try {
      const settings: ScratchSettings = { kind: 'embedded', runAs: 'nobody', binDirs: [], jobs: 1 }
      await using server = await openScratchServer(settings, source, 'postgres', spool.folder, parts, signal)
      expect(server.reach).toEqual({ network: 'machine', notIsolated: ['network', 'files', 'processes'] })
    } finally {
      process.env['PATH'] = path
    }
    expect(logged()).toMatchObject([
      { level: 'warn', notIsolated: ['network', 'files', 'processes'], msg: expect.stringContaining('in full') },
    ])
  })

  it('the package of pg_cron is missing - EXTENSION_MISSING names it; for several drills it starts without', async () => {
    await using root = await openSpoolRoot()
    await using spool = await openSpool(root.path, 0)
    const real = join(serverBinDir(), 'postgres')
    const says = 'FATAL:  could not access file "pg_cron": No such file or directory'
    const script = `#!/bin/sh\ncase "$1" in -D) grep -q pg_cron "$2/postgresql.conf" && { echo '${says}' >&2; exit 1; };; esac\nexec '${real}' "$@"\n`
    // Alone in its folder: initdb would take it for its own.
    const binDirs = [join(root.path, 'bin')]
    mkdirSync(join(root.path, 'bin'))
    writeFileSync(join(root.path, 'bin', 'postgres'), script, { mode: 0o755 })
    const settings = { kind: 'embedded', runAs: 'nobody', binDirs, jobs: 1, cronDatabase: 'cron' } as const
    const alone = openScratchServer(settings, source, 'postgres', spool.folder, parts, signal)
    expect(await errorOf(alone)).toMatchObject({
      code: 'EXTENSION_MISSING',
      message: expect.stringContaining('pg_cron'),
      hint: expect.stringContaining(`postgresql-${major}-cron`),
    })
    await using several = await openForSeveral(settings, source, 'postgres', spool.folder, parts, signal)
    expect(several.kind).toBe('embedded')
  })
})
