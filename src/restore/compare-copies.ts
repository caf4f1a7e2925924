import assert from 'node:assert/strict'
import type { Checklist } from '../domain/checklist.ts'
import type { Evidence, EvidenceLevel } from '../domain/evidence.ts'
import { keyOf, parseQualifiedName, type QualifiedName } from '../domain/qualified-name.ts'
import { comparedAs, compareTables, type TableComparison } from '../domain/table-contents.ts'
import type { TableSelection } from '../domain/table-selection.ts'
import { PgproofError } from '../errors.ts'
import type { ArchivedForeignKey, ArchivedIndex } from '../postgres/archive-definitions.ts'
import { takeCensus } from '../postgres/census.ts'
import { type Connection, connect, openSeveral } from '../postgres/connect.ts'
import { listDumpedTables, tableName } from '../postgres/tables.ts'
import { readStructure } from '../structure/read-structure.ts'

export type CopyQuestion = {
  readonly evidence: Evidence
  readonly selection: TableSelection
  /** To the database where the copies are. */
  readonly connection: Connection
  /** Null where they are under the names that they had. */
  readonly schema: string | null
  /** Of that server. */
  readonly major: number
  /** Tables that are read side by side. */
  readonly jobs: number
}

/** Count and digest of each table where it is now, against the evidence. Throws EVIDENCE_MISMATCH. */
export async function compareCopies(
  { evidence, selection, connection, schema, jobs }: CopyQuestion,
  checklist: Checklist,
  signal: AbortSignal,
): Promise<readonly TableComparison[]> {
  await using sessions = await openSeveral(jobs, () => connect(connection, signal, 'pgproof verify'))
  const [first] = sessions.clients
  assert(first !== undefined, 'a comparison needs a session')
  const selected = new Set(selection.tables.map(keyOf))
  const original = new Map(selection.tables.map((table) => [table.name, table.schema]))
  const nameBefore = <T extends QualifiedName>(table: T): T =>
    schema === null || table.schema !== schema ? table : { ...table, schema: original.get(table.name) ?? table.schema }
  const levels = new Map(evidence.tables.map((table) => [keyOf(table), table.level]))
  const found = (await listDumpedTables(first, false, 'measured')).filter((table) =>
    schema === null ? selected.has(keyOf(table)) : table.schema === schema,
  )
  const level = (table: QualifiedName): EvidenceLevel => levels.get(keyOf(nameBefore(table))) ?? 'count'
  const census = await takeCensus(sessions.clients, { database: connection.database, tables: found, level }, signal)
  const restored = census.map((one) => ({
    ...nameBefore(one),
    ...(one.root === undefined ? {} : { root: nameBefore(one.root) }),
  }))
  const expected = evidence.tables.filter((table) => selected.has(keyOf(table)))
  const compared = compareTables(expected, restored)
  const off = new Set(expected.filter((table) => table.level === 'off').map((table) => keyOf(comparedAs(table))))
  const wrong = compared.filter(
    (one) => one.result !== 'equal' && !(one.result === 'not compared' && off.has(keyOf(one))),
  )
  if (wrong.length === 0) {
    checklist.add('row counts', 'passed', `${compared.length} tables, every count and digest equal`)
    return compared
  }
  const differences = wrong.map((one) => `${tableName(one)} ${one.result}`)
  const count = wrong.length === 1 ? '1 difference' : `${wrong.length} differences`
  throw new PgproofError(
    'EVIDENCE_MISMATCH',
    { count, tables: differences.slice(0, 5).join('; ') },
    { details: differences.join('\n') },
  )
}

/** Indexes and constraints that the tables had, foreign keys aside, and that their copies have not. */
export async function findMissingParts(
  { evidence, selection, connection, schema, major }: CopyQuestion,
  archived: { readonly indexes: readonly ArchivedIndex[]; readonly foreignKeys: readonly ArchivedForeignKey[] },
  signal: AbortSignal,
): Promise<readonly string[]> {
  await using held = await connect(connection, signal, 'pgproof verify')
  const selected = new Map(selection.tables.map((table) => [keyOf(table), table]))
  const structure = await readStructure(held.client, major)
  const kinds = new Set(['column', 'constraint'])
  const foreignKeys = new Set(archived.foreignKeys.map(({ table, name }) => `${table}.${name}`))
  const inCopy = new Set(
    structure
      .filter(({ kind, name }) => kinds.has(kind) && parseQualifiedName(name)?.schema === schema)
      .map(({ kind, name }) => `${kind} ${withoutSchema(name)}`),
  )
  const missing = evidence.structure.flatMap(({ kind, name }) => {
    const table = kinds.has(kind) ? parseQualifiedName(name) : null
    if (table === null || foreignKeys.has(name) || !selected.has(keyOf(table))) return []
    return inCopy.has(`${kind} ${withoutSchema(name)}`) ? [] : [`the copy lacks the ${kind} ${name}`]
  })
  const { rows } = await held.client.query<{ name: string }>(
    `SELECT pg_catalog.quote_ident(c.relname) AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relkind IN ('i', 'I')`,
    [schema],
  )
  const indexesInCopy = new Set(rows.map(({ name }) => name))
  const isWanted = (text: string): boolean => {
    const table = parseQualifiedName(text)
    return table !== null && selected.has(keyOf(table))
  }
  return [
    ...missing,
    ...archived.indexes
      .filter(({ table, name }) => isWanted(table) && !indexesInCopy.has(name))
      .map(({ table, name }) => `the copy lacks the index ${name} of ${table}`),
  ]
}

function withoutSchema(name: string): string {
  return name.replace(/^(?:"(?:[^"]|"")*"|[^".]+)\./, '')
}
