import assert from 'node:assert/strict'
import type { Evidence } from '../domain/evidence.ts'
import type { StructureObject } from '../domain/structure.ts'
import type { Client } from '../postgres/connect.ts'

/** The role with OID 10 on either side, quoted as names in the structure are. */
export type BootstrapRoles = { readonly source: string; readonly scratch: string }

export async function readBootstrapRoles(client: Client, evidence: Evidence): Promise<BootstrapRoles> {
  const { rows } = await client.query<BootstrapRoles>(
    'SELECT pg_catalog.quote_ident($1) AS source, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(10)) AS scratch',
    [evidence.properties.bootstrapRole],
  )
  const [roles] = rows
  assert(roles !== undefined, 'a query without FROM has one row')
  return roles
}

/**
 * The same objects without what members of extensions and system objects were granted to, or took from, the bootstrap
 * superuser of the *other* server: its own server left it out when the structure was read. The lists are those of
 * structure/grants.ts; one too long to be kept stands as its SHA-256, and is left as it is.
 */
export function withoutRightsOf(roles: BootstrapRoles, objects: readonly StructureObject[]): StructureObject[] {
  const names = new Set(Object.values(roles))
  if (names.size < 2) return [...objects]
  return objects.flatMap((object) => {
    if (!/^(?:extension member|system object) grants$/.test(object.kind)) return [object]
    const facets = Object.entries(object.facets)
      .map(([facet, text]) => [facet, rightsBesides(names, text)] as const)
      .filter(([, text]) => text !== '')
    return facets.length === 0 ? [] : [{ ...object, facets: Object.fromEntries(facets) }]
  })
}

/** `grantee=PRIVILEGE/grantor, …`, in which a quoted name may hold any of these signs. */
const right = /((?:"(?:[^"]|"")*"|[^",=/])+)(=[^,/]+)(?:\/((?:"(?:[^"]|"")*"|[^",])+))?/g

function rightsBesides(names: ReadonlySet<string>, text: string): string {
  if (text.startsWith('sha256:')) return text
  return [...text.matchAll(right)]
    .map(([, grantee = '', privilege = '', grantor]) => ({ grantee: grantee.trim(), privilege, grantor }))
    .filter(({ grantee }) => !names.has(grantee))
    .map(({ grantee, privilege, grantor }) =>
      grantor === undefined || names.has(grantor) ? grantee + privilege : `${grantee}${privilege}/${grantor}`,
    )
    .join(', ')
}
