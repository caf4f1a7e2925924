import type { Evidence } from '../domain/evidence.ts'
import type { Client } from '../postgres/connect.ts'
import { dumpedRelation, relationName } from '../structure/query.ts'

/**
 * Which tables and materialized views have options of a TOAST table in the evidence, and none in the restored database
 * that could have them. PostgreSQL makes one only where a row may be long, but keeps it when the long columns go.
 */
export async function readWithoutToast(client: Client, { structure }: Evidence): Promise<ReadonlySet<string>> {
  const names = structure.filter(({ facets }) => 'toast options' in facets).map(({ name }) => name)
  if (names.length === 0) return new Set()
  const { rows } = await client.query<{ name: string }>(
    `SELECT ${relationName('n', 'c')} AS name ${dumpedRelation(`c.relkind IN ('r', 'm') AND c.reltoastrelid = 0 AND ${relationName('n', 'c')} = ANY ($1)`)}`,
    [names],
  )
  return new Set(rows.map(({ name }) => name))
}
