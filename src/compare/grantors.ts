import type { StructureObject } from '../domain/structure.ts'
import type { Client } from '../postgres/connect.ts'

/** The superusers of the scratch server, by name without quotes. */
export async function readSuperusers(client: Client): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ name: string }>(
    'SELECT r.rolname AS name FROM pg_catalog.pg_roles r WHERE r.rolsuper',
  )
  return new Set(rows.map(({ name }) => name))
}

/** Who owns an object, and a column's table; undefined where the evidence does not say. */
export function ownerOf(kind: string, name: string, structure: readonly StructureObject[]): string | undefined {
  if (kind !== 'column') return structure.find((one) => one.kind === kind && one.name === name)?.facets['owner']
  return structure.find(
    (one) => /^(?:(?:foreign )?table|(?:materialized )?view)$/.test(one.kind) && name.startsWith(`${one.name}.`),
  )?.facets['owner']
}

/**
 * Whether `restored` is what `granted` becomes when superusers repeat what they granted before they were superusers:
 * PostgreSQL takes what a superuser grants for the owner's grant. Both are lists of `grantsOf` in src/structure/query.ts;
 * one so long that its SHA-256 is kept in its place is none.
 */
export function isGrantedByOwner(
  owner: string,
  superusers: ReadonlySet<string>,
  lists: { readonly granted: string; readonly restored: string },
): boolean {
  const granted = grantsIn(lists.granted)
  const restored = grantsIn(lists.restored)
  if (granted === null || restored === null) return false
  const repeated = granted.map((one) => (superusers.has(one.grantor) ? { ...one, grantor: owner } : one))
  return rightsText(repeated) === rightsText(restored)
}

type Grant = {
  /** As it is written: PUBLIC is not the role "PUBLIC". */
  readonly grantee: string
  readonly rights: readonly string[]
  readonly grantor: string
}

const name = '"(?:[^"]|"")*"|[^",=/ ]+'
const grant = new RegExp(`(${name})=([^",=/ ]*)/(${name})`, 'g')

function grantsIn(text: string): Grant[] | null {
  const found = [...text.matchAll(grant)]
  if (found.map(([whole]) => whole).join(', ') !== text) return null
  return found.map(([, grantee = '', rights = '', grantor = '']) => ({
    grantee,
    rights: rights.split('+'),
    grantor: grantor.startsWith('"') ? grantor.slice(1, -1).replaceAll('""', '"') : grantor,
  }))
}

/** Each right once for grantee and grantor, the one with grant option if there are both. */
function rightsText(grants: readonly Grant[]): string {
  const all = new Set(
    grants.flatMap(({ grantee, rights, grantor }) => rights.map((right) => JSON.stringify([grantee, grantor, right]))),
  )
  const has = (one: Grant, right: string): boolean => all.has(JSON.stringify([one.grantee, one.grantor, right]))
  const isImplied = (one: Grant, right: string): boolean => {
    const stronger = right.endsWith('*') ? ['ALL*'] : [`${right}*`, 'ALL', 'ALL*']
    return stronger.some((other) => other !== right && has(one, other))
  }
  const kept = grants.flatMap((one) =>
    one.rights
      .filter((right) => !isImplied(one, right))
      .map((right) => JSON.stringify([one.grantee, one.grantor, right])),
  )
  return [...new Set(kept)].sort().join()
}
