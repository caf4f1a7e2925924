import { describe, expect, it } from 'vitest'
import { structureQuestion } from '../../src/compare/compare-structure.ts'
import { readSuperusers } from '../../src/compare/grantors.ts'
import type { Evidence } from '../../src/domain/evidence.ts'
import { compareStructure, differenceText, type StructureObject } from '../../src/domain/structure.ts'
import { readStructure } from '../../src/structure/read-structure.ts'
import { dumpAndRestore, openSandbox, type Sandbox } from '../postgres/sandbox.ts'
import { major } from '../postgres/spool-root.ts'
import { testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'

// What a healthy database is not restored as, and the same evidence with one thing that is a defect.

/** Dumps and restores, changes the copy, and returns what differs in words, with notes. */
async function differencesAfter(
  source: Sandbox,
  change = '',
): Promise<{ differences: string[]; notes: string[]; expected: StructureObject[]; restored: StructureObject[] }> {
  await using copy = await openSandbox()
  await dumpAndRestore(source.connection, copy.connection)
  if (change !== '') await copy.sql(change)
  const [expected, restored] = [await readStructure(source.client, major), await readStructure(copy.client, major)]
  const evidence = { structure: expected, omissions: [] } as unknown as Evidence
  const notes: string[] = []
  const majors = { source: major, scratch: major }
  const superusers = await readSuperusers(source.client)
  const question = structureQuestion(restored, { evidence, majors, superusers, notes })
  return { differences: compareStructure(question).differences.map(differenceText), notes, expected, restored }
}

function facetOf(objects: readonly StructureObject[], name: string, facet: string): string | undefined {
  return objects.find((one) => one.kind === 'table' && one.name === name)?.facets[facet]
}

describe('parents in another order', () => {
  /** pg_dump takes them as they lie in pg_inherits, and VACUUM has made room before the first. */
  async function childOfTwo(): Promise<Sandbox> {
    const source = await openSandbox(
      `CREATE TABLE p1 (a int); CREATE TABLE "p, 2" (b int); CREATE TABLE p3 (); CREATE TABLE decoy () INHERITS (p1);
       CREATE TABLE child (b int) INHERITS (p1); DROP TABLE decoy`,
    )
    await source.sql('VACUUM pg_inherits')
    await source.sql('ALTER TABLE child INHERIT "p, 2"; INSERT INTO child VALUES (1, 2)')
    return source
  }

  it('the same ones - no difference, and columns that stand in another order are none', async () => {
    await using source = await childOfTwo()
    const { differences, notes, expected, restored } = await differencesAfter(source)
    expect(facetOf(expected, 'public.child', 'inherits')).toBe('public.p1, public."p, 2"')
    expect(facetOf(restored, 'public.child', 'inherits')).toBe('public."p, 2", public.p1')
    expect({ differences, notes }).toEqual({ differences: [], notes: [] })
  })

  it.each(['child', 'child[]'])(
    'rows of the child in a column of type %s, where they mean something else - a difference',
    async (type) => {
      await using source = await childOfTwo()
      await source.sql(`CREATE TABLE whole (v ${type})`)
      expect((await differencesAfter(source)).differences).toEqual(['table public.child differs in inherits'])
    },
  )

  it.each([
    ['one fewer', 'ALTER TABLE child NO INHERIT p1'],
    ['another one', 'ALTER TABLE child NO INHERIT p1; ALTER TABLE child INHERIT p3'],
    ['one more', 'ALTER TABLE child INHERIT p3'],
  ])('%s - a difference', async (_, change) => {
    await using source = await childOfTwo()
    expect((await differencesAfter(source, change)).differences).toEqual(['table public.child differs in inherits'])
  })
})

describe('granted by one who is a superuser by now', () => {
  /** Alice owns a table, a column and a sequence of which Bob gave rights on; `bob` is then altered. */
  async function grantedOn(
    alter: string,
    test: (source: Sandbox, roles: Record<'alice' | 'bob' | 'carol', string>) => Promise<void>,
  ) {
    await using source = await openSandbox()
    // Short ones: a list of more than 200 bytes is not kept as it is.
    const suffix = source.database.slice(-6)
    const [alice, bob, carol] = [`"A ${suffix}"`, `"B, ""${suffix}"`, `c_${suffix}`] as const
    await query(testUrl(), `CREATE ROLE ${alice}; CREATE ROLE ${bob}; CREATE ROLE ${carol}`)
    try {
      await source.sql(
        `CREATE TABLE t (a int); ALTER TABLE t OWNER TO ${alice}; CREATE SEQUENCE s; ALTER SEQUENCE s OWNER TO ${alice};
         GRANT SELECT, UPDATE ON t TO ${bob} WITH GRANT OPTION; GRANT INSERT (a) ON t TO ${bob} WITH GRANT OPTION;
         GRANT USAGE ON SEQUENCE s TO ${bob} WITH GRANT OPTION; GRANT INSERT ON t TO ${carol};
         SET ROLE ${bob}; GRANT SELECT ON t TO ${carol}; GRANT UPDATE ON t TO PUBLIC; GRANT INSERT (a) ON t TO ${carol};
         GRANT USAGE ON SEQUENCE s TO ${carol}; RESET ROLE; ALTER ROLE ${bob} ${alter}`,
      )
      await test(source, { alice, bob, carol })
    } finally {
      await source.sql('DROP TABLE t; DROP SEQUENCE s')
      await query(testUrl(), `DROP ROLE ${alice}; DROP ROLE ${bob}; DROP ROLE ${carol}`)
    }
  }

  it('table, column, sequence - restored as the owner’s grants, no difference', async () => {
    await grantedOn('SUPERUSER', async (source, { bob, carol }) => {
      const { differences, notes, expected, restored } = await differencesAfter(source)
      expect(facetOf(expected, 'public.t', 'grants')).toContain(`${carol}=SELECT/${bob}`)
      expect(facetOf(restored, 'public.t', 'grants')).not.toContain(`/${bob}`)
      expect({ differences, notes }).toEqual({ differences: [], notes: [] })
    })
  })

  it('one of them lost, or one more - a difference', async () => {
    await grantedOn('SUPERUSER', async (source, { carol }) => {
      const { differences } = await differencesAfter(
        source,
        `REVOKE SELECT ON t FROM ${carol} CASCADE; GRANT UPDATE ON SEQUENCE s TO ${carol}; GRANT INSERT (a) ON t TO ${carol} WITH GRANT OPTION`,
      )
      expect(differences).toEqual([
        'column public.t.a differs in grants',
        'sequence public.s differs in grants',
        'table public.t differs in grants',
      ])
    })
  })

  it('still none, and restored as the owner’s grant - a difference', async () => {
    await grantedOn('LOGIN', async (source, { alice, bob, carol }) => {
      expect((await differencesAfter(source)).differences).toEqual([])
      const { differences } = await differencesAfter(
        source,
        `SET ROLE ${bob}; REVOKE SELECT ON t FROM ${carol}; SET ROLE ${alice}; GRANT SELECT ON t TO ${carol}`,
      )
      expect(differences).toEqual(['table public.t differs in grants'])
    })
  })
})
