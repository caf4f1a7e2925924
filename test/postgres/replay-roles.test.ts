import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type Client, connect } from '../../src/postgres/connect.ts'
import { dumpRoles } from '../../src/postgres/dump.ts'
import { type EmbeddedServer, startEmbeddedServer } from '../../src/postgres/embedded-server.ts'
import { findProgram } from '../../src/postgres/programs.ts'
import { dropRoles, replayRoles, splitStatements } from '../../src/postgres/replay-roles.ts'
import { openSpool, type Spool } from '../../src/streams/spool.ts'
import { codeOf, errorOf, signal } from './sandbox.ts'
import { major, openSpoolRoot, type SpoolRoot } from './spool-root.ts'

/** A server of its own: roles belong to a whole server. */
type Server = AsyncDisposable & {
  readonly client: Client
  readonly server: EmbeddedServer
  sql(text: string): Promise<Record<string, unknown>[]>
}

async function startServer(root: string): Promise<Server> {
  const spool: Spool = await openSpool(root, 0)
  const request = { folder: spool.folder, major, binDirs: [], bootstrapRole: 'postgres', runAs: 'nobody', jobs: 1 }
  const server = await startEmbeddedServer(request, systemClock, signal)
  const held = await connect(server.connection, signal)
  return {
    client: held.client,
    server,
    sql: async (text) => {
      const result = (await held.client.query(text)) as unknown as
        | { rows: Record<string, unknown>[] }[]
        | { rows: Record<string, unknown>[] }
      return (Array.isArray(result) ? result.at(-1) : result)?.rows ?? []
    },
    [Symbol.asyncDispose]: async () => {
      await held[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
      await spool[Symbol.asyncDispose]()
    },
  }
}

let root: SpoolRoot
let source: Server
let scratch: Server
beforeAll(async () => {
  root = await openSpoolRoot()
  ;[source, scratch] = await Promise.all([startServer(root.path), startServer(root.path)])
})
afterAll(async () => {
  await source[Symbol.asyncDispose]()
  await scratch[Symbol.asyncDispose]()
  await root[Symbol.asyncDispose]()
})

async function rolesScript(): Promise<string> {
  const program = await findProgram('pg_dumpall', major, [], signal)
  const chunks: Uint8Array[] = []
  const request = { connection: source.server.connection, program, withPasswords: true }
  for await (const chunk of dumpRoles(request, signal)) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

/** Everything that a server knows about its roles, without OIDs. */
async function rolesOf(server: Server): Promise<Record<string, unknown>[][]> {
  const queries = [
    `SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
            rolpassword, rolvaliduntil, shobj_description(oid, 'pg_authid') AS comment FROM pg_authid WHERE rolname !~ '^pg_'`,
    `SELECT roleid::regrole::text AS role, member::regrole::text AS member, admin_option FROM pg_auth_members WHERE roleid >= 16384`,
    `SELECT setrole::regrole::text AS role, setconfig FROM pg_db_role_setting WHERE setdatabase = 0`,
    `SELECT parname, (a).grantee::regrole::text AS grantee, (a).privilege_type AS right, (a).is_grantable FROM
       (SELECT parname, aclexplode(paracl) AS a FROM pg_parameter_acl) x WHERE (a).grantee >= 16384`,
  ]
  const answers: Record<string, unknown>[][] = []
  for (const query of queries) answers.push(await server.sql(`SELECT * FROM (${query}) x ORDER BY x::text`))
  return answers
}

const cleanUp = async (server: Server, ...kept: string[]): Promise<void> => {
  const rows = await server.sql("SELECT rolname FROM pg_authid WHERE oid >= 16384 AND rolname !~ '^pg_'")
  expect(
    await dropRoles(
      server.client,
      rows.map(({ rolname }) => String(rolname)),
    ),
  ).toEqual(kept)
}

describe('a script as pg_dumpall writes it', () => {
  it('names, comments, settings and memberships full of traps - all of it is there afterwards, exactly', async () => {
    await source.sql(`
      CREATE ROLE "we""ird" LOGIN PASSWORD 'x\\y''z' CONNECTION LIMIT 3;
      CREATE ROLE "semi;colon -- x" SUPERUSER REPLICATION; CREATE ROLE "new
line"; CREATE ROLE "\\! touch /tmp/x" VALID UNTIL '2030-01-01'; CREATE ROLE "$q$"; CREATE ROLE "/* x"; CREATE ROLE "é ☕"; CREATE ROLE "it's" BYPASSRLS;
      CREATE ROLE "Upper"; CREATE ROLE "all"; CREATE ROLE "current_user"; CREATE ROLE "user"; CREATE ROLE plain_1 CREATEDB CREATEROLE NOINHERIT; CREATE ROLE " ";
      COMMENT ON ROLE "\\! touch /tmp/x" IS E'a\\\\b''c; -- d\\n\\\\! touch /tmp/x\\n;\\nDROP ROLE postgres;';
      COMMENT ON ROLE "$q$" IS '$q$; DROP ROLE postgres; $q$ /* '; COMMENT ON ROLE "it's" IS '''';
      GRANT "we""ird" TO "semi;colon -- x" WITH ADMIN OPTION; GRANT "Upper" TO plain_1 WITH ADMIN OPTION; GRANT "all", "user" TO "current_user";
      GRANT pg_read_all_data TO "new
line";
      SET SESSION AUTHORIZATION plain_1; GRANT "Upper" TO "é ☕"; RESET SESSION AUTHORIZATION;
      ALTER ROLE "we""ird" SET search_path = 'a b', "$user", 'c"d'; ALTER ROLE "we""ird" SET application_name = E'back\\\\slash '' -- ; "';
      ALTER ROLE "all" SET work_mem = '8MB'; ALTER ROLE "all" SET "my.own" = '';
      GRANT ALL ON PARAMETER log_min_duration_statement TO "we""ird" WITH GRANT OPTION; GRANT SET ON PARAMETER log_statement TO "it's";
      GRANT ALTER SYSTEM ON PARAMETER work_mem TO plain_1; GRANT SET ON PARAMETER my.custom TO PUBLIC; REVOKE ALL ON PARAMETER log_statement FROM postgres;
      SET SESSION AUTHORIZATION "we""ird"; GRANT SET ON PARAMETER log_min_duration_statement TO "$q$"; RESET SESSION AUTHORIZATION`)
    const script = await rolesScript()
    const heard: string[] = []
    const replayed = await replayRoles(scratch.client, script, signal, (role) => heard.push(role))
    expect(replayed.created).toHaveLength(14)
    expect(heard).toEqual(replayed.created)
    expect(replayed.kept).toEqual(['postgres'])
    expect(await rolesOf(scratch)).toEqual(await rolesOf(source))
    // A second time: everything exists, nothing is touched.
    const again = await replayRoles(scratch.client, script, signal)
    expect(again).toEqual({
      created: [],
      kept: [...replayed.created, 'postgres'].sort(),
      grantorChanged: 0,
      refusedSettings: [],
      lacking: [],
      existing: expect.any(Set),
      keptPasswords: expect.any(Map),
    })
    expect([...replayed.existing].filter((name) => !name.startsWith('pg_'))).toEqual(['postgres'])
    expect([...again.existing]).toEqual(expect.arrayContaining([...replayed.created, 'postgres']))
    expect(await rolesOf(scratch)).toEqual(await rolesOf(source))
    await cleanUp(scratch)
    await cleanUp(source)
  })

  it('roles that exist - left exactly as they are, whatever the script says of them', async () => {
    await source.sql(`CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'theirs'; CREATE ROLE newcomer; GRANT keeper TO newcomer; CREATE ROLE other; GRANT other TO keeper;
      ALTER ROLE keeper SET work_mem = '1GB'; ALTER ROLE postgres SET work_mem = '1GB'; COMMENT ON ROLE keeper IS 'theirs'; GRANT SET ON PARAMETER log_statement TO keeper`)
    await scratch.sql(`CREATE ROLE keeper NOLOGIN PASSWORD 'ours'; COMMENT ON ROLE keeper IS 'ours'`)
    const [before] = await rolesOf(scratch)
    const replayed = await replayRoles(scratch.client, await rolesScript(), signal)
    expect(replayed).toMatchObject({ created: ['newcomer', 'other'], kept: ['keeper', 'postgres'] })
    const [after, members, settings, parameters] = await rolesOf(scratch)
    const old = (rows: Record<string, unknown>[] | undefined): unknown =>
      rows?.filter(({ rolname }) => rolname === 'keeper' || rolname === 'postgres')
    expect(old(after)).toEqual(old(before))
    expect(members).toEqual([{ role: 'keeper', member: 'newcomer', admin_option: false }])
    expect([settings, parameters]).toEqual([[], []])
    await cleanUp(scratch)
    await source.sql('ALTER ROLE postgres RESET ALL')
    await cleanUp(source)
  })

  it('a setting whose value is not possible here, such as a locale - refused by name, and all the rest is there', async () => {
    const script = `CREATE ROLE a;\nALTER ROLE a SET lc_numeric TO 'xx_XX';\nALTER ROLE a SET work_mem TO '8MB';\n`
    const replayed = await replayRoles(scratch.client, script, signal)
    expect(replayed).toMatchObject({
      created: ['a'],
      refusedSettings: [{ role: 'a', reason: expect.stringContaining('lc_numeric') }],
    })
    expect(await scratch.sql("SELECT rolconfig FROM pg_roles WHERE rolname = 'a'")).toEqual([
      { rolconfig: ['work_mem=8MB'] },
    ])
    await cleanUp(scratch)
  })

  it('a refused value that is a secret of several lines - the reason names the parameter alone', async () => {
    const script = `CREATE ROLE a;\nALTER ROLE a SET lc_messages TO 'sesame\nopen_sesame';\n`
    const { refusedSettings } = await replayRoles(scratch.client, script, signal)
    expect(refusedSettings).toEqual([{ role: 'a', reason: 'invalid value for parameter "lc_messages"' }])
    await cleanUp(scratch)
  })

  it('a role that the script does not create - what names it is returned with its error, the rest is there', async () => {
    const script = `CREATE ROLE a;\nGRANT a TO gone;\nGRANT gone TO a GRANTED BY postgres;\nALTER ROLE gone SET work_mem TO '8MB';\nCREATE ROLE b;`
    const { created, lacking } = await replayRoles(scratch.client, script, signal)
    expect(created).toEqual(['a', 'b'])
    expect(lacking.map(({ role, error }) => [role, error.code, error.message])).toEqual(
      ['gone', 'a', 'gone'].map((role) => [
        role,
        'ROLES_FAILED',
        expect.stringContaining('role "gone" does not exist'),
      ]),
    )
    await cleanUp(scratch)
  })

  it('a grantor that cannot be one here - the membership is there, and it is counted', async () => {
    const script = 'CREATE ROLE a;\nCREATE ROLE b;\nGRANT a TO b WITH ADMIN OPTION GRANTED BY "nobody ""here";\n'
    expect(await replayRoles(scratch.client, script, signal)).toMatchObject({ created: ['a', 'b'], grantorChanged: 1 })
    expect((await rolesOf(scratch))[1]).toEqual([{ role: 'a', member: 'b', admin_option: true }])
    await cleanUp(scratch)
  })

  it('aborted - the reason, and what was made until then was heard of', async () => {
    const controller = new AbortController()
    const heard: string[] = []
    const replaying = replayRoles(
      scratch.client,
      'CREATE ROLE a; CREATE ROLE b; CREATE ROLE c',
      controller.signal,
      (role) => {
        heard.push(role)
        if (role === 'b') controller.abort(new Error('stop'))
      },
    )
    expect(await errorOf(replaying)).toMatchObject({ message: 'stop' })
    expect(heard).toEqual(['a', 'b'])
    await cleanUp(scratch)
  })
})

describe('a script that somebody tampered with - ROLES_FAILED, and nothing of it happens', () => {
  it.each([
    'DROP ROLE postgres',
    'DROP TABLE t',
    'DO $$ BEGIN CREATE ROLE smuggled; END $$',
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/x'",
    'CREATE ROLE smuggled SUPERUSER',
    'CREATE USER smuggled',
    'ALTER ROLE ALL SET work_mem = 64',
    'ALTER ROLE all SET work_mem = 64',
    'ALTER ROLE CURRENT_USER WITH NOLOGIN',
    'ALTER ROLE current_user WITH NOLOGIN',
    'ALTER ROLE session_user WITH NOLOGIN',
    'ALTER ROLE Postgres WITH NOLOGIN',
    'ALTER ROLE POSTGRES WITH NOLOGIN',
    'ALTER ROLE U&"postgre\\0073" WITH NOLOGIN',
    'ALTER ROLE postgres RENAME TO smuggled',
    'ALTER USER postgres WITH NOLOGIN',
    'alter role postgres with nologin',
    'ALTER SYSTEM SET work_mem = 64',
    'GRANT pg_execute_server_program TO fine, postgres',
    'GRANT pg_execute_server_program TO "fine" , postgres',
    'GRANT pg_execute_server_program, fine TO fine',
    'GRANT pg_read_all_data TO public',
    'GRANT SELECT ON pg_authid TO fine',
    'GRANT ALL ON DATABASE postgres TO fine',
    'GRANT SET ON PARAMETER work_mem TO fine, postgres',
    'GRANT SET ON PARAMETER work_mem, log_statement TO fine',
    'REVOKE SET ON PARAMETER work_mem FROM fine, postgres',
    'SET ROLE postgres',
    'SET SESSION AUTHORIZATION DEFAULT',
    "SELECT pg_catalog.set_config('log_statement', 'all', false)",
    "COMMENT ON ROLE fine IS $q$'$q$; CREATE ROLE smuggled SUPERUSER; --'",
    "COMMENT ON ROLE fine IS /*'*/ 'x'; CREATE ROLE smuggled SUPERUSER; --'",
    "ALTER ROLE fine SET application_name TO $$'$$; CREATE ROLE smuggled SUPERUSER; --'",
    "ALTER ROLE fine WITH PASSWORD U&'\\0027' UESCAPE '!'; CREATE ROLE smuggled SUPERUSER",
    'ALTER ROLE postgres SET work_mem = 64; BEGIN; CREATE ROLE smuggled',
  ])('%s', async (statement) => {
    await scratch.sql('CREATE TABLE IF NOT EXISTS public.t ()')
    const before = await rolesOf(scratch)
    expect(
      await codeOf(replayRoles(scratch.client, `CREATE ROLE fine;\n${statement};\nCREATE ROLE after;`, signal)),
    ).toBe('ROLES_FAILED')
    const after = await rolesOf(scratch)
    const withoutFine = after.map((rows) => rows.filter(({ rolname }) => rolname !== 'fine'))
    expect(withoutFine).toEqual(before)
    expect(await scratch.sql("SELECT to_regclass('public.t')::text AS t")).toEqual([{ t: 'public.t' }])
    await cleanUp(scratch)
  })

  it('a role made by the bootstrap superuser alone - refused statements name themselves, passwords masked', async () => {
    for (const [statement, details] of [
      ["CREATE USER bob PASSWORD 'sesame'", "CREATE USER bob PASSWORD '…'"],
      ["CREATE USER bob ENCRYPTED PASSWORD E'ses\\'ame'", "CREATE USER bob ENCRYPTED PASSWORD '…'"],
      ["create user bob password  'ses''ame' login", "create user bob password  '…' login"],
      ["CREATE USER bob PASSWORD 'sesame", "CREATE USER bob PASSWORD '…'"],
    ])
      expect(await errorOf(replayRoles(scratch.client, statement ?? '', signal))).toMatchObject({
        code: 'ROLES_FAILED',
        details,
      })
  })

  it('a statement that the server refuses - ROLES_FAILED with its words, the password masked', async () => {
    const script = "CREATE ROLE bob; ALTER ROLE bob WITH NOSUCHTHING PASSWORD 'SCRAM-SHA-256$4096:sesame'"
    const error = (await errorOf(replayRoles(scratch.client, script, signal))) as Error
    expect(error).toMatchObject({ code: 'ROLES_FAILED', message: expect.stringMatching(/nosuchthing/i) })
    expect(JSON.stringify(error) + error.message).not.toContain('sesame')
    await cleanUp(scratch)
  })

  it('a login that may not create roles - SCRATCH_FAILED: it is not the backup that lacks', async () => {
    await scratch.sql('CREATE ROLE humble LOGIN')
    await using held = await connect({ ...scratch.server.connection, user: 'humble' }, signal)
    expect(await codeOf(replayRoles(held.client, 'CREATE ROLE bob', signal))).toBe('SCRATCH_FAILED')
    await held[Symbol.asyncDispose]()
    await cleanUp(scratch)
  })
})

describe('replayed by a login that creates roles and is no superuser', () => {
  it('names and passwords that look like attributes - those are kept, the attributes that it may not mention are left out', async () => {
    await scratch.sql('CREATE ROLE creator LOGIN CREATEROLE CREATEDB')
    await using held = await connect({ ...scratch.server.connection, user: 'creator' }, signal)
    await source.sql(`CREATE ROLE "a"" WITH NOSUPERUSER b" LOGIN CREATEDB CONNECTION LIMIT 2 PASSWORD 'x'; CREATE ROLE nosuperuser NOINHERIT;
      CREATE ROLE creator LOGIN CREATEROLE CREATEDB; COMMENT ON ROLE nosuperuser IS 'ALTER ROLE a WITH NOSUPERUSER'`)
    const script = await rolesScript()
    expect((await replayRoles(held.client, script, signal)).created).toHaveLength(2)
    expect(await rolesOf(scratch)).toEqual(await rolesOf(source))
    await held[Symbol.asyncDispose]()
    await cleanUp(scratch)
    await cleanUp(source)
  })

  it.each(['SUPERUSER', 'REPLICATION', 'BYPASSRLS'])(
    'a role that is to have %s - SCRATCH_FAILED',
    async (attribute) => {
      await scratch.sql('CREATE ROLE creator LOGIN CREATEROLE')
      await using held = await connect({ ...scratch.server.connection, user: 'creator' }, signal)
      const script = `CREATE ROLE bob; ALTER ROLE bob WITH ${attribute} LOGIN PASSWORD 'sesame'`
      expect(await errorOf(replayRoles(held.client, script, signal))).toMatchObject({
        code: 'SCRATCH_FAILED',
        details: `ALTER ROLE bob WITH ${attribute} LOGIN PASSWORD '…'`,
      })
      await held[Symbol.asyncDispose]()
      await cleanUp(scratch)
    },
  )
})

describe('dropping what a replay made', () => {
  it('members of one another, with rights and settings - all gone; one that owns something is told', async () => {
    await scratch.sql(`CREATE ROLE a; CREATE ROLE b; CREATE ROLE c; GRANT a TO b WITH ADMIN OPTION; GRANT b TO c; ALTER ROLE a SET work_mem = '8MB';
      GRANT SET ON PARAMETER log_statement TO c; GRANT CONNECT ON DATABASE postgres TO b; CREATE ROLE owner`)
    await scratch.sql('CREATE DATABASE owned OWNER owner')
    expect(await dropRoles(scratch.client, ['a', 'b', 'c', 'owner', 'never_there'])).toEqual(['owner'])
    await scratch.sql('DROP DATABASE owned')
    await cleanUp(scratch)
  })

  it('one that another database has come to need - told, and all its rights stay as they were; what depends on it alone goes', async () => {
    await scratch.sql(`CREATE ROLE app; CREATE ROLE reader; CREATE ROLE writer; GRANT app TO writer WITH ADMIN OPTION; GRANT reader TO app;
      GRANT SET ON PARAMETER log_statement TO app; GRANT USAGE ON SCHEMA public TO app`)
    await scratch.sql('CREATE DATABASE other')
    await scratch.sql('REVOKE CONNECT ON DATABASE other FROM PUBLIC; GRANT CONNECT ON DATABASE other TO app, reader')
    {
      await using held = await connect({ ...scratch.server.connection, database: 'other' }, signal)
      await held.client.query('CREATE TABLE public.t (); ALTER TABLE public.t OWNER TO app')
      await held.client.query('CREATE TABLE public.u (); GRANT SELECT ON public.u TO reader')
    }
    const rights = `SELECT d.datacl::text AS "database", n.nspacl::text AS "schema", (SELECT paracl::text FROM pg_parameter_acl WHERE parname = 'log_statement') AS parameter
      FROM pg_database d, pg_namespace n WHERE d.datname = 'other' AND n.nspname = 'public'`
    const before = await scratch.sql(rights)
    expect(await dropRoles(scratch.client, ['app', 'reader', 'writer'])).toEqual(['reader', 'app'])
    expect(await scratch.sql(rights)).toEqual(before)
    expect(await scratch.sql("SELECT pg_has_role('app', 'reader', 'MEMBER') AS is")).toEqual([{ is: true }])
    await scratch.sql('DROP DATABASE other')
    await cleanUp(scratch)
  })

  it('one for which somebody has made a table beside, where it is dropped from - told, and the table stays', async () => {
    await scratch.sql('CREATE ROLE app; CREATE TABLE public.mine (); ALTER TABLE public.mine OWNER TO app')
    expect(await dropRoles(scratch.client, ['app'])).toEqual(['app'])
    expect(await scratch.sql("SELECT to_regclass('public.mine')::text AS t")).toEqual([{ t: 'public.mine' }])
    await scratch.sql('DROP TABLE public.mine')
    await cleanUp(scratch)
  })

  it('by a login that made one and not the other - its own goes, the other is told', async () => {
    await scratch.sql(`CREATE ROLE maker LOGIN CREATEROLE; CREATE ROLE app; GRANT CONNECT ON DATABASE postgres TO app`)
    await using held = await connect({ ...scratch.server.connection, user: 'maker' }, signal)
    await held.client.query('CREATE ROLE made')
    expect(await dropRoles(held.client, ['made', 'app'])).toEqual(['app'])
    expect((await held.client.query('SELECT 1 AS a')).rows).toEqual([{ a: 1 }])
    await held[Symbol.asyncDispose]()
    await cleanUp(scratch)
  })

  it('the connection is gone - all of them are told', async () => {
    await scratch.sql('CREATE ROLE app')
    const held = await connect(scratch.server.connection, signal)
    held.lost.catch(() => {})
    await held[Symbol.asyncDispose]()
    expect(await dropRoles(held.client, ['app'])).toEqual(['app'])
    await cleanUp(scratch)
  })
})

describe('taking a script apart', () => {
  it('strings, names, comments and backslash lines', () => {
    expect(
      splitStatements(`-- a; comment
\\restrict abc;def
CREATE ROLE "a;b";ALTER ROLE "a""'b" SET x TO 'it''s; -- no'; -- 'quote
COMMENT ON ROLE x IS E'\\'; \\\\';
\\unrestrict abc
  ;; SELECT 1`),
    ).toEqual([
      'CREATE ROLE "a;b"',
      `ALTER ROLE "a""'b" SET x TO 'it''s; -- no'`,
      `COMMENT ON ROLE x IS E'\\'; \\\\'`,
      'SELECT 1',
    ])
  })

  it('any text at all - no crash, no endless work, and no statement is empty', () => {
    const text = fc.string({
      unit: fc.constantFrom("'", '"', ';', '-', '\\', '\n', 'e', 'E', ' ', 'a', '$', '/', '*', 'é'),
      maxLength: 200,
    })
    fc.assert(
      fc.property(text, (script) => {
        for (const statement of splitStatements(script)) expect(statement.trim()).toBe(statement)
        expect(splitStatements(script)).not.toContain('')
      }),
      { numRuns: 2000 },
    )
    const start = performance.now()
    for (const piece of ["'", '"', "E'", "''", '\\', '--', "e'\\"]) splitStatements(piece.repeat(50_000))
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  it('any statements joined - the same statements come out', () => {
    const inner = fc.string({ unit: fc.constantFrom('a', ';', '-', '\\', '\n', ' ', '$', '"', "'"), maxLength: 20 })
    const piece = fc.oneof(
      fc.constantFrom('ALTER', 'ROLE', '-', '/', '*', '$', 'x', 'E', '.', 'e1'),
      inner.map((text) => `'${text.replaceAll("'", "''")}'`),
      inner.map((text) => `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`),
      inner.map((text) => `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`),
      inner.map((text) => `"${text.replaceAll('"', '""')}"`),
    )
    const statement = fc.array(piece, { minLength: 1, maxLength: 6 }).map((pieces) => pieces.join(' '))
    fc.assert(
      fc.property(
        fc.array(statement, { maxLength: 6 }),
        fc.constantFrom(';', ';\n', ';\n\n-- note; it\n', ';\n\\x y;z\n'),
        (statements, glue) => {
          expect(splitStatements(statements.map((one) => one + glue).join(''))).toEqual(statements)
        },
      ),
      { numRuns: 1000 },
    )
  })
})
