import type { Evidence } from '../domain/evidence.ts'
import { parseIdentifiers } from '../domain/qualified-name.ts'
import type { RestoreRequest } from './restore-request.ts'

/** The roles that a restore names, without quotes. */
export type NamedRoles = {
  /** To whom objects, and the database itself, are given. */
  readonly owners: ReadonlySet<string>
  /** Who grants by default privileges from now on. */
  readonly grantors: ReadonlySet<string>
  /** The policies and user mappings that name a role, which no flag leaves out. */
  readonly definitions: ReadonlyMap<string, readonly string[]>
  /** All of them. */
  readonly all: ReadonlySet<string>
}

/** From what the evidence says of each object, whichever version of pgproof made the backup. */
export function namedRoles(
  { structure, properties }: Pick<Evidence, 'structure' | 'properties'>,
  wants: Pick<RestoreRequest, 'owners' | 'privileges'>,
): NamedRoles {
  const of = (wanted: string): Evidence['structure'] => structure.filter(({ kind }) => kind === wanted)
  const ownersOf = structure.filter(({ kind }) => kind !== 'extension').flatMap(({ facets }) => facets['owner'] ?? [])
  const owners = [...ownersOf, properties.owner].filter((name) => name !== 'pg_database_owner')
  const defaults = of('default privileges')
  const grantors = defaults.flatMap(({ name }) => rolesIn(name, grantorPattern))
  const grantees = defaults.flatMap(({ facets }) => rolesIn(facets['grants'] ?? '', granteePattern))
  const used = of('role').flatMap(({ name }) => rolesIn(name, firstPattern))

  const definitions = new Map<string, string[]>()
  const note = (roles: readonly string[], definition: string): void => {
    for (const role of roles) {
      const known = definitions.get(role)
      if (known === undefined) definitions.set(role, [definition])
      else known.push(definition)
    }
  }
  for (const { name, facets } of of('policy')) note(rolesIn(facets['roles'] ?? '', eachPattern), `policy ${name}`)
  for (const { name } of of('user mapping')) note(rolesIn(name, firstPattern), `user mapping ${name}`)

  const named = {
    owners: new Set(wants.owners ? owners : []),
    grantors: new Set(wants.privileges ? grantors : []),
    definitions,
  }
  const others = [...(wants.privileges ? grantees : []), ...(wants.owners || wants.privileges ? used : [])]
  return { ...named, all: new Set([...named.owners, ...named.grantors, ...others, ...definitions.keys()]) }
}

/** As `quote_ident` writes it. */
const roleName = '("(?:[^"]|"")*"|[^\\s",=/]+)'
const firstPattern = new RegExp(`^${roleName}`, 'g')
const eachPattern = new RegExp(roleName, 'g')
/** `FOR role IN schema ON TABLES` */
const grantorPattern = new RegExp(`^FOR ${roleName}`, 'g')
/** `grantee=SELECT+INSERT/grantor, …`; the grantor is taken along, so that nothing in its name passes for a grantee. */
const granteePattern = new RegExp(`${roleName}=[^/]*/(?:"(?:[^"]|"")*"|[^\\s",]+)`, 'g')

/** `PUBLIC` without quotes is everybody, and no role. */
function rolesIn(text: string, pattern: RegExp): string[] {
  const found = [...text.matchAll(pattern)].map((match) => match[1] ?? '')
  return found.filter((name) => name !== 'PUBLIC').flatMap((name) => parseIdentifiers(name) ?? [])
}
