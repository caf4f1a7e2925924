import type { Evidence } from '../domain/evidence.ts'
import type { TableComparison } from '../domain/table-contents.ts'
import type { Client } from '../postgres/connect.ts'
import { type DumpedTable, quotedName, tableName } from '../postgres/tables.ts'

/** Tables of extensions that the scratch server has in another version than the source; see `readChangedConfiguration`. */
export type ChangedConfiguration = {
  /** The same tables, each of these with the condition under which its rows were dumped. */
  underOldConditions(tables: readonly DumpedTable[]): DumpedTable[]
  /** Without those whose rows only one of the versions has dumped; these go to `notes`. */
  withoutMoved(comparisons: readonly TableComparison[], notes: string[]): TableComparison[]
}

/**
 * Which rows of an extension's tables are dumped is for its version to say (`pg_extension_config_dump`): another version
 * may name other tables, or the same under another condition. Where the versions are equal, nothing is let pass.
 */
export async function readChangedConfiguration(client: Client, evidence: Evidence): Promise<ChangedConfiguration> {
  const { rows } = await client.query<{ schema: string; name: string; extension: string; version: string }>(`
    SELECT n.nspname AS schema, c.relname AS name, e.extname AS extension, e.extversion AS version
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
      JOIN pg_catalog.pg_class c ON c.oid = d.objid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e' AND c.relkind = 'r'
       AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass`)
  const versions = new Map(evidence.extensions.map(({ name, version }) => [name, version]))
  const changed = new Map(
    rows
      .map((row) => ({ ...row, expected: versions.get(row.extension) ?? row.version }))
      .filter(({ version, expected }) => version !== expected)
      .map((row) => [quotedName(row), row]),
  )
  const dumped = new Map(evidence.tables.map((table) => [quotedName(table), table]))
  return {
    underOldConditions: (tables) =>
      tables.map((table) => {
        const before = changed.has(quotedName(table)) ? dumped.get(quotedName(table)) : undefined
        return before === undefined ? table : { ...table, condition: before.condition }
      }),
    withoutMoved: (comparisons, notes) =>
      comparisons.filter((comparison) => {
        const of = changed.get(quotedName(comparison))
        if (of === undefined || (comparison.result !== 'missing' && comparison.result !== 'unexpected')) return true
        const [one, other] = comparison.result === 'missing' ? [of.expected, of.version] : [of.version, of.expected]
        const which = `dumped with version ${one} of ${of.extension}, not with ${other}`
        notes.push(`table ${tableName(comparison)}: not compared, because its rows are ${which}`)
        return false
      }),
  }
}
