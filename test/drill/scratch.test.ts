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

  it('a drill goes on there - LOCKED; after it the next one may', async () => {
    {
      await using _first = await open()
      expect(await errorOf(open())).toMatchObject({
        code: 'LOCKED',
        message: expect.stringContaining('the scratch server'),
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
    expect(await query(kept.url(), "SELECT rolname FROM pg_roles WHERE rolname IN ('clerk', 'keeper')")).toEqual([
      { rolname: 'clerk' },
    ])
    const msg = 'roles of a drill could not be dropped from the scratch server'
    expect(logged()).toMatchObject([{ level: 'warn', roles: ['clerk'], msg }])
    await query(kept.url(), 'DROP DATABASE mine')
    await query(kept.url(), 'DROP ROLE clerk')
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
