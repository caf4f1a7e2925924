import type { Evidence } from '../domain/evidence.ts'
import { keyOf, parseIdentifiers, type QualifiedName } from '../domain/qualified-name.ts'
import type { SelectedTable, TableSelection } from '../domain/table-selection.ts'
import { findEntries } from '../postgres/archive-contents.ts'
import { type Archive, readDefinitions } from '../postgres/archive-definitions.ts'
import type { Client } from '../postgres/connect.ts'

type Source = { readonly selection: TableSelection; readonly archive: Archive; readonly lines: readonly string[] }

/**
 * What went with tables that are gone and is not of the tables: that publications had them, and policies and rules of other
 * tables that read them. Each as a note with its statement, for whoever knows the subscribers, and what is still wanted.
 * Throws RESTORE_FAILED.
 */
export async function notesOfLost(
  live: Client,
  { selection, archive, lines }: Source,
  gone: ReadonlySet<string>,
  evidence: Evidence,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const tables = selection.tables.filter((table) => gone.has(keyOf(table)))
  if (tables.length === 0) return []
  const statementsOf = async (wanted: readonly string[]): Promise<readonly string[]> => {
    const own = new Set(findEntries(lines, wanted, evidence.properties.encoding).values())
    const entries = lines.filter((line) => own.has(line))
    return await readDefinitions(archive, entries, evidence.properties.encoding, signal)
  }
  const publications = evidence.structure
    .filter(({ kind }) => kind === 'publication')
    .flatMap(({ name }) => parseIdentifiers(name)?.slice(0, 1) ?? [])
  const published = await statementsOf(
    tables.flatMap(({ schema, name }) => publications.map((one) => `PUBLICATION TABLE ${schema} ${one} ${name} `)),
  )
  const lost = await lostParts(live, gone, evidence)
  const parts = await statementsOf(lost.map(({ kind, on, part }) => `${kind} ${on.schema} ${on.name} ${part} `))
  return [
    ...published.map(
      (statement) => `a publication had a table that is gone: ${onOneLine(statement)} publishes it again`,
    ),
    ...parts
      .filter((statement) => /^CREATE /.test(statement) && tables.some((table) => isNamedIn(statement, table)))
      .map((statement) => `gone as well, though its own table is there: ${onOneLine(statement)} makes it again`),
  ]
}

type Part = { readonly kind: 'POLICY' | 'RULE'; readonly on: QualifiedName; readonly part: string }

/** Policies and rules of the backup that are not there, though their table is. */
async function lostParts(live: Client, gone: ReadonlySet<string>, { structure }: Evidence): Promise<readonly Part[]> {
  const { rows } = await live.query<{ schema: string; name: string; parts: string[] }>(`
    SELECT n.nspname AS schema, c.relname AS name, ARRAY(
             SELECT 'POLICY ' || p.polname FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid
             UNION ALL SELECT 'RULE ' || r.rulename FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid) AS parts
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')`)
  const there = new Map(rows.map(({ parts, ...table }) => [keyOf(table), new Set(parts)]))
  return structure.flatMap(({ kind: word, name }) => {
    const kind = word === 'policy' ? 'POLICY' : word === 'rule' ? 'RULE' : undefined
    const [schema, table, part] = kind === undefined ? [] : (parseIdentifiers(name) ?? [])
    if (kind === undefined || schema === undefined || table === undefined || part === undefined) return []
    const on = { schema, name: table }
    const found = there.get(keyOf(on))
    return found === undefined || gone.has(keyOf(on)) || found.has(`${kind} ${part}`) ? [] : [{ kind, on, part }]
  })
}

/** pg_dump qualifies every name. */
function isNamedIn(statement: string, { text }: SelectedTable): boolean {
  const escaped = text.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&')
  return new RegExp(`(?<![\\w$".])${escaped}(?![\\w$"])`).test(statement)
}

function onOneLine(statement: string): string {
  return statement.replaceAll(/\s+/g, ' ')
}
