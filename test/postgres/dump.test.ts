import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Connection, connect } from '../../src/postgres/connect.ts'
import { type DumpCompression, dumpDatabase, dumpRoles } from '../../src/postgres/dump.ts'
import { programEnvironment } from '../../src/postgres/program-environment.ts'
import { type FoundProgram, findProgram } from '../../src/postgres/programs.ts'
import { listArchive, readWholeArchive, restoreDump } from '../../src/postgres/restore-dump.ts'
import { holdSnapshot, type Snapshot } from '../../src/postgres/snapshot.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import {
  codeOf,
  connectionTo,
  contentsOf,
  dumpTo,
  errorOf,
  eventually,
  openSandbox,
  type Sandbox,
  signal,
} from './sandbox.ts'

let sandbox: Sandbox
let folder: string
let major: number
const role = `dumper_${Math.random().toString(36).slice(2)}`
const password = 'p:a\\s"s\'w o%r@d/:\\'

beforeAll(async () => {
  sandbox = await openSandbox(`CREATE TABLE t AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 2000) g;
    CREATE ROLE ${role} SUPERUSER LOGIN PASSWORD '${password.replaceAll("'", "''")}'`)
  const [row] = await sandbox.sql("SELECT current_setting('server_version_num')::int / 10000 AS major")
  major = Number(row?.['major'])
})
afterAll(async () => {
  await sandbox[Symbol.asyncDispose]()
  await query(testUrl(), `DROP ROLE ${role}`)
})
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-dump-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

const login = (over: Partial<Connection> = {}): Connection => ({
  ...sandbox.connection,
  user: role,
  password: () => password,
  ...over,
})
const none: DumpCompression = { method: 'none', level: 0 }

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function dumpIn(
  snapshot: Snapshot,
  over: { connection?: Connection; compression?: DumpCompression } = {},
): Promise<Buffer> {
  const program = await findProgram('pg_dump', major, [], signal)
  const request = {
    connection: login(),
    program,
    snapshotId: snapshot.id,
    compression: none,
    lockTimeoutMs: 2_000,
    ...over,
  }
  return await collect(dumpDatabase(request, signal))
}

describe('dumping', () => {
  it('by a role whose password holds every special character of a password file - a whole archive', async () => {
    await using snapshot = await holdSnapshot(login(), { lockTimeoutMs: 2_000 }, signal)
    const dump = await dumpIn(snapshot)
    expect(dump.subarray(0, 5).toString()).toBe('PGDMP')
    expect(dump.length).toBeGreaterThan(70_000)
  })

  it('zstd and none leave the data alone, gzip compresses in the archive', async () => {
    await using snapshot = await holdSnapshot(login(), { lockTimeoutMs: 2_000 }, signal)
    const plain = await dumpIn(snapshot)
    expect((await dumpIn(snapshot, { compression: { method: 'zstd', level: 3 } })).length).toBe(plain.length)
    expect((await dumpIn(snapshot, { compression: { method: 'gzip', level: 6 } })).length).toBeLessThan(
      plain.length * 0.8,
    )
  })

  it.each(["host=127.0.0.2 dbname='x'", 'postgres://evil@127.0.0.2/x', 'a\'b\\c "é$(id)\nü', '-Fp'])(
    'a database named %j - stays a name, for dump, restore and roles',
    async (name) => {
      const quoted = `"${name.replaceAll('"', '""')}"`
      await query(testUrl(), `DROP DATABASE IF EXISTS ${quoted}`)
      await query(testUrl(), `CREATE DATABASE ${quoted}`)
      try {
        const connection = connectionTo(name)
        await sqlIn(connection, 'CREATE TABLE public.t AS SELECT 1 AS v')
        const file = join(folder, 'dump')
        {
          await using snapshot = await holdSnapshot(connection, { lockTimeoutMs: 2_000 }, signal)
          await dumpTo(file, connection, snapshot.id)
        }
        await sqlIn(connection, 'DROP TABLE public.t')
        const program = await findProgram('pg_restore', major, [], signal)
        await restoreDump({ connection, program, file, jobs: 1 }, signal)
        expect(await sqlIn(connection, 'SELECT v FROM public.t')).toEqual([{ v: 1 }])
        // pg_dumpall itself refuses line breaks in the names of databases it dumps, not in the one it connects to.
        const pgDumpall = await findProgram('pg_dumpall', major, [], signal)
        const roles = await collect(dumpRoles({ connection, program: pgDumpall, withPasswords: true }, signal))
        expect(roles.toString()).toContain('CREATE ROLE postgres;')
      } finally {
        await query(testUrl(), `DROP DATABASE ${quoted}`)
      }
    },
  )

  it('a snapshot that has ended - DUMP_FAILED with the words of pg_dump, no end of the stream', async () => {
    const snapshot = await holdSnapshot(login(), { lockTimeoutMs: 2_000 }, signal)
    await snapshot[Symbol.asyncDispose]()
    const error = await errorOf(dumpIn(snapshot))
    expect(error).toMatchObject({ code: 'DUMP_FAILED', details: expect.stringContaining('snapshot') })
  })

  it('the wrong password - DUMP_FAILED, and the password is in none of its texts', async () => {
    await using snapshot = await holdSnapshot(login(), { lockTimeoutMs: 2_000 }, signal)
    const error = (await errorOf(dumpIn(snapshot, { connection: login({ password: () => 'not-it-at-all' }) }))) as Error
    expect(error).toMatchObject({
      code: 'DUMP_FAILED',
      details: expect.stringContaining('password authentication failed'),
    })
    expect(`${JSON.stringify(error)} ${error.message} ${error.stack}`).not.toContain('not-it-at-all')
  })

  it('its session is ended in the middle - DUMP_FAILED, the archive has no end', async () => {
    await using large = await openSandbox(
      `CREATE TABLE t AS SELECT repeat(md5(g::text), 100) AS v FROM generate_series(1, 20000) g`,
    )
    await using snapshot = await holdSnapshot(large.connection, { lockTimeoutMs: 2_000 }, signal)
    const program = await findProgram('pg_dump', major, [], signal)
    const request = {
      connection: large.connection,
      program,
      snapshotId: snapshot.id,
      compression: none,
      lockTimeoutMs: 2_000,
    }
    const read = async (): Promise<void> => {
      let isCut = false
      for await (const _ of dumpDatabase(request, signal)) {
        if (isCut) continue
        isCut = true
        await large.sql(
          // Only here: other test files dump other databases of the same server.
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgproof pg_dump' AND datname = current_database()",
        )
      }
    }
    expect(await codeOf(read())).toBe('DUMP_FAILED')
  })

  it('roles, with and without their passwords', async () => {
    const program = await findProgram('pg_dumpall', major, [], signal)
    const dump = async (withPasswords: boolean): Promise<string> =>
      (await collect(dumpRoles({ connection: login(), program, withPasswords }, signal))).toString()
    expect(await dump(true)).toMatch(new RegExp(`ALTER ROLE ${role} WITH .* PASSWORD 'SCRAM-SHA-256`))
    expect(await dump(false)).not.toContain('PASSWORD')
  })
})

describe('the password', () => {
  it('is in no argument and no environment of a program, but in a private file that is gone afterwards', async () => {
    const slow = await standIn('pg_dump', `echo "$$" >&2; echo PGDMP; sleep 30`)
    const controller = new AbortController()
    const request = { connection: login(), program: slow, snapshotId: 'x', compression: none, lockTimeoutMs: 1 }
    const running = errorOf(collect(dumpDatabase(request, controller.signal)))
    const pids = (): string[] =>
      readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && textOf(`/proc/${pid}/cmdline`).includes(slow.path))
    await eventually(pids).toHaveLength(1)
    const [pid = ''] = pids()
    const environment = textOf(`/proc/${pid}/environ`)
    const passFile = /PGPASSFILE=([^\0]+)/.exec(environment)?.[1] ?? ''
    for (const text of [environment, textOf(`/proc/${pid}/cmdline`)]) expect(text).not.toContain('p:a')
    expect(environment).not.toMatch(/PGPASSWORD|AWS_|PGPROOF_/)
    expect(statSync(passFile).mode & 0o777).toBe(0o600)
    expect(readFileSync(passFile, 'utf8')).toBe('*:*:*:*:p\\:a\\\\s"s\'w o%r@d/\\:\\\\\n')
    controller.abort(new Error('stop'))
    expect(await running).toMatchObject({ message: 'stop' })
    expect(existsSync(passFile)).toBe(false)
    expect(existsSync(join(passFile, '..'))).toBe(false)
  })

  it('from the environment where none is configured - by a file as well', async () => {
    const saved = process.env['PGPASSWORD']
    process.env['PGPASSWORD'] = 'from:outside'
    try {
      await using environment = await programEnvironment(login({ password: undefined }), 'x')
      expect(JSON.stringify(environment.env)).not.toContain('outside')
      expect(readFileSync(environment.env['PGPASSFILE'] ?? '', 'utf8')).toBe('*:*:*:*:from\\:outside\n')
    } finally {
      if (saved === undefined) delete process.env['PGPASSWORD']
      else process.env['PGPASSWORD'] = saved
    }
  })

  it('none at all - no complaint of libpq about its password file', async () => {
    await using snapshot = await holdSnapshot(sandbox.connection, { lockTimeoutMs: 2_000 }, signal)
    await snapshot.client.query('SELECT 1')
    const noisy = await standIn(
      'pg_dump',
      `exec "${(await findProgram('pg_dump', major, [], signal)).path}" "$@" -t nothing_like_it`,
    )
    const request = {
      connection: sandbox.connection,
      program: noisy,
      snapshotId: snapshot.id,
      compression: none,
      lockTimeoutMs: 1_000,
    }
    const error = (await errorOf(collect(dumpDatabase(request, signal)))) as { details: string }
    expect(error.details.trim()).toBe('pg_dump: error: no matching tables were found')
  })
})

describe('restoring', () => {
  /** An archive of one table, or of what `setUp` makes. */
  async function archiveOf(setUp: string, tearDown = 'SELECT 1'): Promise<string> {
    await using source = await openSandbox(setUp)
    await using snapshot = await holdSnapshot(source.connection, { lockTimeoutMs: 2_000 }, signal)
    const file = join(folder, 'dump')
    await dumpTo(file, source.connection, snapshot.id)
    await snapshot[Symbol.asyncDispose]()
    await source.sql(tearDown)
    return file
  }
  const restore = async (file: string, into: Sandbox): Promise<void> => {
    const program = await findProgram('pg_restore', major, [], signal)
    await restoreDump({ connection: into.connection, program, file, jobs: 2 }, signal)
  }

  it('owners and grants come along; publications and subscriptions do not', async () => {
    const file = await archiveOf(
      `CREATE TABLE t (v int); ALTER TABLE t OWNER TO ${role}; GRANT SELECT ON t TO shop_reader; CREATE PUBLICATION p FOR ALL TABLES;
      CREATE SUBSCRIPTION s CONNECTION 'host=/nonexistent dbname=x password=sesame' PUBLICATION p WITH (connect = false, slot_name = NONE)`,
      'DROP SUBSCRIPTION s',
    )
    await using copy = await openSandbox()
    await restore(file, copy)
    expect(
      await copy.sql(
        "SELECT tableowner, relacl::text FROM pg_tables JOIN pg_class ON relname = tablename WHERE tablename = 't'",
      ),
    ).toEqual([{ tableowner: role, relacl: `{${role}=arwdDxt/${role},shop_reader=r/${role}}` }])
    expect(
      await copy.sql(
        'SELECT pubname FROM pg_publication UNION ALL SELECT subname FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())',
      ),
    ).toEqual([])
  })

  it('a role that is not there - ROLES_MISSING that names it', async () => {
    await query(testUrl(), 'CREATE ROLE "gone ""soon"')
    const file = await archiveOf('CREATE TABLE t (v int); ALTER TABLE t OWNER TO "gone ""soon"')
    await query(testUrl(), 'DROP ROLE "gone ""soon"')
    await using copy = await openSandbox()
    expect(await errorOf(restore(file, copy))).toMatchObject({
      code: 'ROLES_MISSING',
      message: expect.stringContaining('gone'),
    })
  })

  it('the target is not empty - RESTORE_FAILED with the words of pg_restore', async () => {
    const file = await archiveOf('CREATE TABLE t (v int)')
    await using copy = await openSandbox('CREATE TABLE t (v int)')
    const error = await errorOf(restore(file, copy))
    expect(error).toMatchObject({ code: 'RESTORE_FAILED', details: expect.stringContaining('already exists') })
  })

  it('a row that breaks a constraint - RESTORE_FAILED', async () => {
    const file = await archiveOf(`CREATE FUNCTION here() RETURNS name LANGUAGE sql AS 'SELECT current_database()';
      CREATE TABLE t (v name); INSERT INTO t SELECT here(); ALTER TABLE t ADD CHECK (v = public.here())`)
    await using copy = await openSandbox()
    expect(await codeOf(restore(file, copy))).toBe('RESTORE_FAILED')
  })

  it('damaged or cut short - RESTORE_FAILED, by reading alone and by restoring', async () => {
    const file = await archiveOf('CREATE TABLE t AS SELECT md5(g::text) AS v FROM generate_series(1, 3000) g')
    const whole = readFileSync(file)
    const program = await findProgram('pg_restore', major, [], signal)
    expect((await listArchive(program, file, signal)).some((line) => / TABLE DATA public t /.test(line))).toBe(true)
    await readWholeArchive(program, file, signal)
    const damaged = Buffer.from(whole)
    damaged.fill(0xff, 8, 40)
    for (const [name, bytes] of [
      ['cut', whole.subarray(0, whole.length - 5000)],
      ['half', whole.subarray(0, whole.length / 2)],
      ['head', damaged],
      ['empty', Buffer.alloc(0)],
      ['text', Buffer.from('-- SQL')],
    ] as const) {
      await writeFile(join(folder, name), bytes)
      expect(await codeOf(readWholeArchive(program, join(folder, name), signal)), name).toBe('RESTORE_FAILED')
      await using copy = await openSandbox()
      expect(await codeOf(restore(join(folder, name), copy)), name).toBe('RESTORE_FAILED')
    }
  })

  it('aborted - the reason, workers and sessions are gone', async () => {
    const file = await archiveOf(
      'CREATE TABLE t (v int); CREATE TABLE u (v int); INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)',
    )
    await using copy = await openSandbox()
    // A lock on a catalog makes any CREATE TABLE wait.
    await copy.sql('BEGIN; LOCK TABLE pg_depend')
    const controller = new AbortController()
    const program = await findProgram('pg_restore', major, [], signal)
    const running = errorOf(restoreDump({ connection: copy.connection, program, file, jobs: 2 }, controller.signal))
    await eventually(() => sessions(copy.database)).toBeGreaterThan(0)
    const start = performance.now()
    controller.abort(new Error('stop'))
    expect(await running).toMatchObject({ message: 'stop' })
    expect(performance.now() - start).toBeLessThan(8_000)
    await copy.sql('ROLLBACK')
    await eventually(() => sessions(copy.database)).toBe(0)
  })

  it('the same archive twice - the same contents', async () => {
    const file = await archiveOf(
      "CREATE TABLE t AS SELECT g, md5(g::text) AS v FROM generate_series(1, 500) g; SELECT lo_from_bytea(0, 'x')",
    )
    await using one = await openSandbox()
    await using other = await openSandbox()
    await restore(file, one)
    await restore(file, other)
    expect(await contentsOf(one.client)).toEqual(await contentsOf(other.client))
    expect(createHash('sha256').update(readFileSync(file)).digest('hex')).toHaveLength(64)
  })
})

async function sqlIn(connection: Connection, text: string): Promise<unknown[]> {
  await using held = await connect(connection, signal)
  return (await held.client.query(text)).rows
}

/** A program of the server's own major that does what a script says. */
async function standIn(name: string, script: string): Promise<FoundProgram> {
  const path = join(folder, 'stand-ins', name)
  await mkdir(join(folder, 'stand-ins'), { recursive: true })
  await writeFile(path, `#!/bin/sh\n${script}\n`)
  await chmod(path, 0o755)
  return { path, version: `${major}.0` }
}

async function sessions(database: string): Promise<number> {
  const rows = await query(
    testUrl(),
    `SELECT FROM pg_stat_activity WHERE datname = '${database}' AND application_name = 'pgproof pg_restore'`,
  )
  return rows.length
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
