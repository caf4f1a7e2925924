import pg from 'pg'
import { expect, it, onTestFinished } from 'vitest'
import { parseConnectionUrl } from '../../src/postgres/connect.ts'
import { claimSchema } from '../../src/postgres/target-schema.ts'
import { testDatabase } from '../support/installation.ts'
import { query, startPostgres } from '../support/postgres-server.ts'

it('a schema of more tables than one transaction can lock, not kept - dropped all the same, a namesake is not', async () => {
  // A server of its own: one that has no lock left turns away what other tests begin on it.
  const own = await startPostgres('max_locks_per_transaction = 20\nmax_connections = 20')
  onTestFinished(own.stop)
  const database = { url: own.url() }
  await query(database.url, "CREATE SCHEMA many; COMMENT ON SCHEMA many IS 'mark'")
  for (let from = 0; from < 1000; from += 50)
    await query(
      database.url,
      `DO 'BEGIN FOR n IN ${from}..${from + 49} LOOP EXECUTE ''CREATE TABLE many.t'' || n || '' (id int PRIMARY KEY, a text)''; END LOOP; END'`,
    )
  await expect(query(database.url, 'DROP SCHEMA many CASCADE')).rejects.toThrow('out of shared memory')
  const connection = parseConnectionUrl('the target', database.url)
  const applicationName = 'pgproof restore 0'
  const left = "SELECT nspname FROM pg_namespace WHERE nspname = 'many'"
  {
    await using _other = claimSchema(connection, { schema: 'many', mark: 'another', applicationName })
  }
  expect(await query(database.url, left)).toHaveLength(1)
  {
    await using _claim = claimSchema(connection, { schema: 'many', mark: 'mark', applicationName })
  }
  expect(await query(database.url, left)).toEqual([])
}, 200_000)

it('a session of the copy that does not end by itself - ended, and the schema is dropped', async () => {
  await using database = await testDatabase('template0')
  await query(database.url, "CREATE SCHEMA half; COMMENT ON SCHEMA half IS 'mark'")
  const applicationName = `pgproof restore ${database.name}`
  const session = new pg.Client({ connectionString: database.url, application_name: applicationName })
  const ended = new Promise<string>((resolve) => session.on('error', ({ message }) => resolve(message)))
  await session.connect()
  {
    const connection = parseConnectionUrl('the target', database.url)
    await using _claim = claimSchema(connection, { schema: 'half', mark: 'mark', applicationName })
  }
  expect(await ended).toMatch(/terminat/)
  expect(await query(database.url, "SELECT FROM pg_namespace WHERE nspname = 'half'")).toEqual([])
})
