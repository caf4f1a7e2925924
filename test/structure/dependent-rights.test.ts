import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compareStructure, type StructureObject } from '../../src/domain/structure.ts'
import { readStructure } from '../../src/structure/read-structure.ts'
import { dumpAndRestore, openSandbox, type Sandbox } from '../postgres/sandbox.ts'
import { major } from '../postgres/spool-root.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'

const role = 'pgproof_dependent'
const structureOf = async ({ client }: Sandbox): Promise<StructureObject[]> => await readStructure(client, major)

beforeAll(async () => {
  await query(testUrl(), `CREATE ROLE ${role}`)
})
afterAll(async () => {
  await query(testUrl(), `DROP ROLE IF EXISTS ${role}`)
})

/** PostgreSQL 17 refuses it. */
const before17 = (statement: string): string =>
  `DO $$ BEGIN IF current_setting('server_version_num')::int < 170000 THEN ${statement}; END IF; END $$`

const objects = 'CREATE TABLE t (a int); CREATE TYPE span AS RANGE (subtype = int4, multirange_type_name = spans)'

describe('rights on what comes with another object, which no dump has', () => {
  it.each<[what: string, rights: string]>([
    ['the row type of a table', `GRANT USAGE ON TYPE t TO ${role}`],
    ['a constructor of a range type', `GRANT EXECUTE ON FUNCTION span(int, int) TO ${role}`],
    ['a constructor of its multirange type', `GRANT EXECUTE ON FUNCTION spans(span[]) TO ${role}`],
    ['a row type of the system', `GRANT USAGE ON TYPE pg_catalog.pg_class TO ${role}`],
    [
      'the row type of a view of an extension',
      `CREATE EXTENSION pg_buffercache; GRANT USAGE ON TYPE pg_buffercache TO ${role}`,
    ],
    [
      'the row type of a table that was given to an extension',
      `CREATE TABLE member (a int); CREATE EXTENSION lo; ALTER EXTENSION lo ADD TABLE member; GRANT USAGE ON TYPE member TO ${role}`,
    ],
    ['a multirange type', before17(`GRANT USAGE ON TYPE spans TO ${role}`)],
    ['the owner of a multirange type', before17(`ALTER TYPE spans OWNER TO ${role}`)],
    ['a range type that has changed hands', `ALTER TYPE span OWNER TO ${role}; ALTER TYPE span OWNER TO postgres`],
    [
      'default rights, which constructors get',
      `ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO ${role}; CREATE TYPE later AS RANGE (subtype = int4); ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM ${role}`,
    ],
  ])('%s - no difference, and no role is missing', async (_what, rights) => {
    await using source = await openSandbox(`${objects}; ${rights}`)
    await using copy = await openSandbox()
    await dumpAndRestore(source.connection, copy.connection)
    const [expected, restored] = [await structureOf(source), await structureOf(copy)]
    expect(compareStructure({ expected, restored, isSameMajor: true }).differences).toEqual([])
  })

  it('a constructor that an extension made - not recorded; any other function of it - recorded', async () => {
    await using sandbox = await openSandbox(
      `${objects}; CREATE EXTENSION hstore; ALTER EXTENSION hstore ADD TYPE span; ALTER EXTENSION hstore ADD FUNCTION span(int, int);
       REVOKE EXECUTE ON FUNCTION span(int, int) FROM PUBLIC; REVOKE EXECUTE ON FUNCTION akeys(hstore) FROM PUBLIC`,
    )
    const grants = (await structureOf(sandbox)).filter(({ kind }) => kind === 'extension member grants')
    expect(grants.map(({ name }) => name)).toEqual(['FUNCTION public.akeys(public.hstore)'])
  })

  it.each<[what: string, rights: string]>([
    ['a range type', `GRANT USAGE ON TYPE span TO ${role}`],
    ['its owner', `ALTER TYPE span OWNER TO ${role}`],
    ['a composite type', `GRANT USAGE ON TYPE pair TO ${role}`],
    ['a function', `GRANT EXECUTE ON FUNCTION f(int) TO ${role}`],
    ['a type of the system', `GRANT USAGE ON TYPE pg_catalog.int4 TO ${role}`],
  ])('of %s itself - restored, and its role is in the evidence', async (_what, rights) => {
    await using source = await openSandbox(
      `${objects}; CREATE TYPE pair AS (a int); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; ${rights}`,
    )
    await using copy = await openSandbox()
    await dumpAndRestore(source.connection, copy.connection)
    const [expected, restored] = [await structureOf(source), await structureOf(copy)]
    expect(compareStructure({ expected, restored, isSameMajor: true }).differences).toEqual([])
    const named = expected.filter(({ name, facets }) => `${name} ${JSON.stringify(facets)}`.includes(role))
    expect(named.map(({ kind }) => kind)).toContain(rights.includes('pg_catalog') ? 'system object grants' : 'role')
  })
})
