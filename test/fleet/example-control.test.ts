import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { query, serverBinDir, startPostgres } from '../support/postgres-server.ts'

it('the role that the example of a control database makes - owns the database, is no superuser, and the superuser has no password', async () => {
  const manifests = parseAllDocuments(readFileSync('deploy/kubernetes/fleet/control.yaml', 'utf8')).map((one) =>
    one.toJS(),
  )
  const sql: string = manifests.find(({ kind }) => kind === 'ConfigMap').data['role.sql']
  const server = await startPostgres()
  try {
    await query(server.url(), "ALTER ROLE postgres PASSWORD 'the same'")
    await query(server.url(), 'CREATE DATABASE pgproof')
    const psql = ['--no-psqlrc', '--set=ON_ERROR_STOP=1', '--quiet', '--file=-', server.url('pgproof')]
    execFileSync(join(serverBinDir(), 'psql'), psql, { input: sql, env: { POSTGRES_PASSWORD: "it's; the \\ same" } })
    const [seen] = await query(
      server.url('pgproof'),
      `SELECT r.rolsuper OR r.rolcreaterole OR r.rolcreatedb AS mighty, r.rolpassword IS NOT NULL AS "hasPassword",
              pg_get_userbyid(d.datdba) AS owner, has_database_privilege('public', d.oid, 'CONNECT') AS "isOpen",
              (SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'postgres') AS "isShut"
         FROM pg_authid r, pg_database d WHERE r.rolname = 'pgproof' AND d.datname = 'pgproof'`,
    )
    expect(seen).toEqual({ mighty: false, hasPassword: true, owner: 'pgproof', isOpen: false, isShut: true })
    await query(server.url('pgproof'), 'SET ROLE pgproof; CREATE SCHEMA pgboss')
  } finally {
    await server.stop()
  }
})
