import type { StructureObject } from '../domain/structure.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import type { Client } from '../postgres/connect.ts'
import { hashed, settingOf } from './names.ts'

/**
 * The roles of a server by the rules of pg_dumpall (`dumpRoles`, `dumpRoleMembership`, `dumpUserConfig`,
 * `dumpRoleGUCPrivs`): one object for each role, each membership, each setting and each right on a parameter, so that a
 * difference is named. Predefined roles are every server's own. Who granted a membership is not taken: a replay may have
 * to let another role grant it. Passwords and settings stand as digests. Throws QUERY_FAILED.
 */
export async function readRoles(
  client: Client,
  major: number,
  passwords: 'present' | 'absent',
): Promise<StructureObject[]> {
  try {
    const objects: StructureObject[] = []
    for (const { kind, sql } of queries(major, passwords)) {
      const { rows } = await client.query<{ name: string; facets: Record<string, string> }>(sql)
      objects.push(...rows.map(({ name, facets }) => ({ kind, name, facets })))
    }
    return objects
  } catch (error) {
    const reason = `roles: ${reasonOf(error)}`
    throw new PgproofError('QUERY_FAILED', { database: client.database ?? '', reason }, { cause: error })
  }
}

/** The role whose replay brings an object of `readRoles` back: the one that `pg_dumpall`'s statement changes. */
export function roleOf({ facets }: StructureObject): string {
  return facets['role'] ?? ''
}

function queries(major: number, passwords: 'present' | 'absent'): { kind: string; sql: string }[] {
  const catalog = passwords === 'present' ? 'pg_catalog.pg_authid' : 'pg_catalog.pg_roles'
  const password = passwords === 'present' ? hashed('r.rolpassword') : 'NULL'
  const options =
    major >= 16
      ? `, 'inherit option', pg_catalog.bool_or(m.inherit_option)::text, 'set option', pg_catalog.bool_or(m.set_option)::text`
      : ''
  const list = [
    {
      kind: 'role',
      sql: `
        SELECT pg_catalog.quote_ident(r.rolname) AS name, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                 'role', r.rolname, 'superuser', r.rolsuper::text, 'inherit', r.rolinherit::text,
                 'create role', r.rolcreaterole::text, 'create database', r.rolcreatedb::text, 'login', r.rolcanlogin::text,
                 'replication', r.rolreplication::text, 'bypass row security', r.rolbypassrls::text,
                 'connection limit', r.rolconnlimit::text, 'valid until', r.rolvaliduntil::text, 'password', ${password},
                 'comment', pg_catalog.shobj_description(r.oid, 'pg_authid'),
                 'security labels', (SELECT pg_catalog.string_agg(l.provider || '=' || l.label, ' ' ORDER BY l.provider)
                    FROM pg_catalog.pg_shseclabel l WHERE l.classoid = 'pg_catalog.pg_authid'::regclass AND l.objoid = r.oid)
               )) AS facets
          FROM ${catalog} r WHERE r.rolname !~ '^pg_'`,
    },
    {
      // Since PostgreSQL 16 a membership may have been granted by several roles: any of them that gives an option gives it.
      kind: 'membership',
      sql: `
        SELECT pg_catalog.quote_ident(u.rolname) || ' in ' || pg_catalog.quote_ident(g.rolname) AS name,
               pg_catalog.jsonb_build_object('role', u.rolname, 'admin option', pg_catalog.bool_or(m.admin_option)::text${options}) AS facets
          FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
          JOIN pg_catalog.pg_roles u ON u.oid = m.member
         WHERE u.rolname !~ '^pg_' GROUP BY u.rolname, g.rolname`,
    },
    {
      kind: 'role setting',
      sql: `
        SELECT pg_catalog.quote_ident(r.rolname) || ' ' || pg_catalog.split_part(c.setting, '=', 1) AS name,
               pg_catalog.jsonb_build_object('role', r.rolname, 'value', ${hashed(settingOf('c.setting'))}) AS facets
          FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
          CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c(setting)
         WHERE s.setdatabase = 0 AND r.rolname !~ '^pg_'`,
    },
  ]
  if (major >= 15)
    list.push({
      kind: 'parameter grant',
      sql: `
        SELECT p.parname || ' to ' || pg_catalog.quote_ident(r.rolname) AS name,
               pg_catalog.jsonb_build_object('role', r.rolname, 'privileges', pg_catalog.string_agg(DISTINCT
                 a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END, ' ')) AS facets
          FROM pg_catalog.pg_parameter_acl p CROSS JOIN LATERAL pg_catalog.aclexplode(p.paracl) a
          JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
         WHERE r.rolname !~ '^pg_' AND r.oid <> 10 GROUP BY p.parname, r.rolname`,
    })
  return list
}
