import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  foreignKeysIn,
  readDefinitions,
  splitStatements,
  writeUseList,
} from '../../src/postgres/archive-definitions.ts'
import { findProgram } from '../../src/postgres/programs.ts'
import { listArchive } from '../../src/postgres/restore-dump.ts'
import { holdSnapshot } from '../../src/postgres/snapshot.ts'
import { dumpTo, errorOf, openSandbox, signal } from './sandbox.ts'
import { major } from './spool-root.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-definitions-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

describe('statements of a dump', () => {
  it('semicolons in strings, names, comments, brackets and bodies - cut at none of them', () => {
    const script = `-- a; b
SET x = 1;
COMMENT ON TABLE t IS 'it''s; --here';
CREATE RULE r AS ON DELETE TO public."a;b" DO ( DELETE FROM x; DELETE FROM y; );
CREATE FUNCTION f() AS $body$ a; $$ b; $body$;
SELECT 1 - 2 -- the end; of it
;`
    expect(splitStatements(script)).toEqual([
      'SET x = 1',
      "COMMENT ON TABLE t IS 'it''s; --here'",
      'CREATE RULE r AS ON DELETE TO public."a;b" DO ( DELETE FROM x; DELETE FROM y; )',
      'CREATE FUNCTION f() AS $body$ a; $$ b; $body$',
      'SELECT 1 - 2',
    ])
  })

  it('foreign keys - both tables and the name, as SQL writes them; nothing else', () => {
    const key =
      'ALTER TABLE ONLY public."REFERENCES x.y("\n    ADD CONSTRAINT "k FOREIGN KEY" FOREIGN KEY (a, "b)") REFERENCES "S"."t.u"(c, d) ON DELETE CASCADE'
    expect(foreignKeysIn([key, 'ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (a)'])).toEqual([
      { table: 'public."REFERENCES x.y("', name: '"k FOREIGN KEY"', references: '"S"."t.u"', statement: key },
    ])
  })
})

describe('definitions of an archive', () => {
  it('in an encoding that Node does not know - read as UTF-8, rather than not at all', async () => {
    await using sandbox = await openSandbox("CREATE TABLE t (); COMMENT ON TABLE t IS 'süß'")
    const file = join(folder, 'dump')
    await using snapshot = await holdSnapshot(sandbox.connection, { lockTimeoutMs: 5_000 }, signal)
    await dumpTo(file, sandbox.connection, snapshot.id)
    const program = await findProgram('pg_restore', major, [], signal)
    const lines = (await listArchive(program, file, signal)).filter((line) => / COMMENT public TABLE t /.test(line))
    const statements = await readDefinitions({ program, file }, lines, 'MULE_INTERNAL', signal)
    expect(statements).toEqual(["COMMENT ON TABLE public.t IS 'süß'"])
  })

  it('what is in the spool is no archive - RESTORE_FAILED; a cancel meanwhile is none', async () => {
    const program = await findProgram('pg_restore', major, [], signal)
    const file = join(folder, 'dump')
    await writeFile(file, 'no archive')
    const failure = errorOf(readDefinitions({ program, file }, ['1; 0 0 TABLE public t postgres'], 'UTF8', signal))
    expect(await failure).toMatchObject({ code: 'RESTORE_FAILED' })
    const reason = new Error('stop')
    expect(await errorOf(listArchive(program, file, AbortSignal.abort(reason)))).toBe(reason)
  })

  it('the spool is full when the list of entries is written - SPOOL_FULL', async () => {
    expect(await errorOf(writeUseList('/dev/full', ['1; 0 0 TABLE public t postgres']))).toMatchObject({
      code: 'SPOOL_FULL',
      message: expect.stringContaining('no space left on device'),
    })
  })
})
