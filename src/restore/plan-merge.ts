import assert from 'node:assert/strict'
import type { Evidence } from '../domain/evidence.ts'
import type { CopiedPartition, CopiedTable, LiveTable, Merge } from '../domain/merge.ts'
import { keyOf, parseQualifiedName, type QualifiedName } from '../domain/qualified-name.ts'
import { rootsOf, type SelectedTable, type TableSelection } from '../domain/table-selection.ts'
import { findEntries } from '../postgres/archive-contents.ts'
import {
  type Archive,
  type ArchivedForeignKey,
  type ArchivedIndex,
  foreignKeysIn,
  indexesIn,
  readDefinitions,
} from '../postgres/archive-definitions.ts'
import type { Client } from '../postgres/connect.ts'
import { functionsLacking, type ReadingView, type RowFunction, type StagedTable } from '../postgres/move-tables.ts'
import { isOfKinds } from '../postgres/restore-selected.ts'
import { type FoundRelation, findRelations } from '../postgres/table-shapes.ts'
import { notesOfLost } from './lost-with-tables.ts'

/** What the archive and the staging database say of the selected tables, before these are moved. */
export type Staged = {
  readonly selection: TableSelection
  readonly archive: Archive
  /** Of the archive. */
  readonly lines: readonly string[]
  readonly tables: readonly StagedTable[]
  readonly relations: readonly FoundRelation[]
  readonly views: readonly ReadingView[]
  readonly functions: readonly RowFunction[]
  /** All of the archive. */
  readonly foreignKeys: readonly ArchivedForeignKey[]
  readonly indexes: readonly ArchivedIndex[]
}

/** The foreign keys of an archive, and its indexes without those of constraints. Throws RESTORE_FAILED. */
export async function readTies(
  archive: Archive,
  lines: readonly string[],
  encoding: string,
  signal: AbortSignal,
): Promise<Pick<Staged, 'foreignKeys' | 'indexes'>> {
  const own = lines.filter((line) => isOfKinds(line, /^(?:FK CONSTRAINT|INDEX) /))
  const statements = await readDefinitions(archive, own, encoding, signal)
  return { foreignKeys: foreignKeysIn(statements), indexes: indexesIn(statements) }
}

/** Those of which both tables are among the selected. */
export function foreignKeysWithin(
  foreignKeys: readonly ArchivedForeignKey[],
  { tables }: TableSelection,
): readonly ArchivedForeignKey[] {
  const selected = new Set(tables.map(keyOf))
  return foreignKeys.filter(
    ({ table, references }) => selected.has(keyOfText(table)) && selected.has(keyOfText(references)),
  )
}

/**
 * What must be known to merge the copies in `schema` with what is live, and the keys of the tables of which the copy
 * takes the place. `notes` gets what cannot be brought back.
 */
export async function planMerge(
  live: Client,
  staged: Staged,
  schema: string,
  evidence: Evidence,
  notes: string[],
  signal: AbortSignal,
): Promise<{ readonly merge: Merge; readonly gone: ReadonlySet<string> }> {
  const { selection, foreignKeys } = staged
  const relevant = foreignKeys
    .flatMap(({ table, references }) => [table, references])
    .flatMap((text) => parseQualifiedName(text) ?? [])
  const found = await findRelations(live, [...selection.tables, ...relevant, ...staged.views])
  const there = new Map(found.map((relation) => [keyOf(relation), relation]))
  const [roles, schemas] = [await readRoles(live), await readSchemas(live)]
  const [schemaText = ''] = await quoted(live, [schema])
  const copyOf = ({ text }: SelectedTable): string => `${schemaText}.${withoutSchema(text)}`
  const isTable = (relation: FoundRelation | undefined): boolean => relation?.kind === 'r' || relation?.kind === 'p'
  const roots = selection.tables.filter(({ partitionOf }) => partitionOf === null)
  const rootByKey = rootsOf(selection)
  const rootOf = (table: SelectedTable): SelectedTable => rootByKey.get(keyOf(table)) ?? table
  const stagedByKey = new Map(staged.tables.map((table) => [keyOf(table), table]))
  const stagedRelations = new Map(staged.relations.map((relation) => [keyOf(relation), relation]))
  const shapeOf = (table: QualifiedName): CopiedTable['shape'] =>
    stagedRelations.get(keyOf(table))?.shape ?? { columns: [], key: null }
  // They move along with their tables.
  const sequenceCopies = (table: QualifiedName): ReadonlyMap<string, string> =>
    new Map(
      stagedRelations
        .get(keyOf(table))
        ?.sequences.map(({ name, column }) => [column, `${schemaText}.${withoutSchema(name)}`]),
    )
  const quotedRole = (owner: string | null): string | null => (owner === null ? null : (roles.get(owner) ?? null))

  const definitionsOf = async (tables: readonly SelectedTable[]): Promise<readonly string[]> => {
    const lines = ownEntries(staged.lines, tables, evidence)
    const statements = await readDefinitions(staged.archive, lines, evidence.properties.encoding, signal)
    return withKnownRoles(statements, roles, notes)
  }

  const linesOf = (wanted: readonly string[]): readonly string[] => {
    const entries = new Set(findEntries(staged.lines, wanted, evidence.properties.encoding).values())
    return staged.lines.filter((line) => entries.has(line))
  }

  const gone = new Set(
    selection.tables.filter((table) => !there.has(keyOf(rootOf(table)))).map((table) => keyOf(table)),
  )
  for (const { text, inherits, ...table } of roots)
    for (const parent of inherits)
      if (!gone.has(keyOf(table)) && gone.has(keyOfText(parent)))
        notes.push(`${text} inherited from ${parent}: ALTER TABLE ${text} INHERIT ${parent} makes it do so again`)
  notes.push(...(await notesOfLost(live, staged, gone, evidence, signal)))

  const tables: CopiedTable[] = []
  for (const root of roots) {
    const relation = there.get(keyOf(root))
    const parts = selection.tables.filter((table) => rootByKey.get(keyOf(table)) === root && table !== root)
    const own = stagedByKey.get(keyOf(root))
    const above = own?.partitionOf ?? null
    const aboveName = above === null ? null : parseQualifiedName(above.parent)
    const isAboveLive = aboveName !== null && (await findRelations(live, [aboveName])).some(({ kind }) => kind === 'p')
    const isGone = relation === undefined
    const parents = root.inherits.flatMap((text) => parseQualifiedName(text) ?? [])
    const parentsLive = new Set((await findRelations(live, parents)).filter(isTable).map(keyOf))
    tables.push({
      name: root.text,
      copy: copyOf(root),
      isPartitioned: root.isPartitioned,
      owner: quotedRole(root.owner),
      shape: shapeOf(root),
      live: isGone
        ? null
        : isTable(relation)
          ? liveOf(relation, sequenceCopies(root))
          : (kindWords[relation.kind] ?? 'relation'),
      partitions: parts.map((part): CopiedPartition => {
        const of = stagedByKey.get(keyOf(part))
        assert(of?.partitionOf != null, 'a part of a partitioned table is a partition')
        return {
          name: part.text,
          copy: copyOf(part),
          owner: quotedRole(part.owner),
          parent: of.partitionOf.parent,
          bound: of.partitionOf.bound,
          partitionKey: of.partitionKey,
          isLive: there.has(keyOf(part)),
        }
      }),
      attach: above !== null && isAboveLive ? above : null,
      inherit: root.inherits.filter((text) => parentsLive.has(keyOfText(text))),
      defaults: (own?.borrowed ?? []).filter(({ owner }) => !gone.has(keyOf(rootByKey.get(keyOf(owner)) ?? owner))),
      definitions: isGone ? await definitionsOf([root, ...parts]) : [],
      refersTo: foreignKeys
        .filter(({ table }) => rootByKey.get(keyOfText(table)) === root)
        .flatMap(({ references }) => rootByKey.get(keyOfText(references))?.text ?? []),
    })
  }
  const isGone = (text: string): boolean => gone.has(keyOfText(text))
  const isLive = (text: string): boolean => isTable(there.get(keyOfText(text)))
  const constraints = await readConstraintNames(live)
  // One that reads only tables that are there was not lost with them: somebody dropped it.
  const lost = staged.views.filter((view) => !there.has(keyOf(view)) && view.reads.some((one) => gone.has(keyOf(one))))
  const views = await viewsGone(lost, staged.lines, evidence, async (lines) =>
    withKnownRoles(await readDefinitions(staged.archive, lines, evidence.properties.encoding, signal), roles, notes),
  )
  const lacking = await functionsLacking(live, staged.functions)
  const lostFunctions = staged.functions.filter(
    (one) => lacking.has(one.identity) && one.tables.some((table) => gone.has(keyOf(table))),
  )
  const functionLines = linesOf(
    lostFunctions.flatMap(({ schema: of, word, tag, signature }) => [
      `${word} ${of} ${tag} `,
      ...['COMMENT', 'ACL'].map((kind) => `${kind} ${of} ${word} ${signature} `),
    ]),
  )
  const functions = withKnownRoles(
    await readDefinitions(staged.archive, functionLines, evidence.properties.encoding, signal),
    roles,
    notes,
  )
  const missing = [...selection.tables, ...views].map((one) => one.schema).filter((name) => !schemas.has(name))
  const schemaStatements: string[] = []
  for (const name of new Set(missing)) {
    const lines = linesOf([`SCHEMA - ${name} `, `COMMENT - SCHEMA ${name} `, `ACL - SCHEMA ${name} `])
    const statements = await readDefinitions(staged.archive, lines, evidence.properties.encoding, signal)
    const isMade = statements.some((statement) => statement.startsWith('CREATE SCHEMA '))
    if (!isMade) schemaStatements.push(...(await quoted(live, [name])).map((text) => `CREATE SCHEMA ${text}`))
    schemaStatements.push(...withKnownRoles(statements, roles, notes))
  }
  const merge: Merge = {
    schema: schemaText,
    schemas: schemaStatements,
    tables,
    foreignKeys: foreignKeys.flatMap((key) => {
      const { table, references, name, statement } = key
      const isOwnGone = isGone(table)
      if (!isOwnGone && !isGone(references)) return []
      if (isOwnGone && isGone(references)) return [] // it is in the copy, and moves along
      if (!(isOwnGone ? isLive(references) : isLive(table))) {
        const [missing] = isOwnGone ? [references] : [table]
        notes.push(`foreign key ${name} of ${table} cannot be made again: ${missing} is not there`)
        return []
      }
      if (!isOwnGone && constraints.has(JSON.stringify([keyOfText(table), unquoted(name)]))) {
        notes.push(`foreign key ${name} of ${table} is not made again: the table has another constraint of that name`)
        return []
      }
      return [statement]
    }),
    functions,
    views,
  }
  return { merge, gone }
}

const kindWords: Readonly<Record<string, string>> = { v: 'view', m: 'materialized view', f: 'foreign table' }

/** `copies`: by column, the sequences of the copy. */
function liveOf(
  { kind, shape, triggers, hasRules, hasRowSecurity, sequences }: FoundRelation,
  copies: ReadonlyMap<string, string>,
): LiveTable {
  const moved = sequences.flatMap(({ name, column, increment }) => {
    const copy = copies.get(column)
    return copy === undefined ? [] : [{ name, increment, copy }]
  })
  return { isPartitioned: kind === 'p', shape, triggers, hasRules, hasRowSecurity, sequences: moved }
}

/** What belongs to tables and is not in their copies, in the order of the archive. */
function ownEntries(lines: readonly string[], tables: readonly QualifiedName[], evidence: Evidence): readonly string[] {
  const selected = new Set(tables.map(keyOf))
  const sequences = evidence.structure.filter(({ kind, facets }) => {
    const column = kind === 'sequence' ? parseQualifiedName(facets['owned by'] ?? facets['identity of'] ?? '') : null
    return column !== null && selected.has(keyOf(column))
  })
  const wanted = [
    ...tables.flatMap((table) => [entry('ROW SECURITY', table), entry('ACL', table, 'TABLE')]),
    ...sequences.flatMap(({ name }) => entriesOf('ACL', name, 'SEQUENCE')),
    ...evidence.structure.flatMap(({ kind, name, facets }) => {
      const words = partKinds[kind]
      if (words === undefined) return []
      const table = parseQualifiedName(kind === 'extended statistics' ? (facets['table'] ?? '') : name)
      if (table === null || !selected.has(keyOf(table))) return []
      if (kind === 'extended statistics') return entriesOf(words, name)
      const part = partOf(name)
      return kind === 'column'
        ? [`ACL ${table.schema} COLUMN ${table.name}.${part} `]
        : [`${words} ${table.schema} ${table.name} ${part} `]
    }),
  ]
  const found = new Set(findEntries(lines, wanted, evidence.properties.encoding).values())
  return lines.filter((line) => found.has(line))
}

const partKinds: Readonly<Record<string, string>> = {
  trigger: 'TRIGGER',
  rule: 'RULE',
  policy: 'POLICY',
  column: 'ACL',
  'extended statistics': 'STATISTICS',
}

function entry(words: string, { schema, name }: QualifiedName, kind?: string): string {
  return `${words} ${schema} ${kind === undefined ? '' : `${kind} `}${name} `
}

function entriesOf(words: string, text: string, kind?: string): string[] {
  const named = parseQualifiedName(text)
  return named === null ? [] : [entry(words, named, kind)]
}

async function viewsGone(
  views: readonly ReadingView[],
  lines: readonly string[],
  { properties, structure }: Evidence,
  read: (lines: readonly string[]) => Promise<readonly string[]>,
): Promise<readonly (Merge['views'][number] & QualifiedName)[]> {
  const gone: (Merge['views'][number] & QualifiedName)[] = []
  for (const view of views) {
    const kind = view.isMaterialized ? 'MATERIALIZED VIEW' : 'VIEW'
    const wanted = [
      entry(kind, view),
      ...view.indexes.map((name) => entry('INDEX', { schema: view.schema, name })),
      ...structure.flatMap(({ kind: of, name }) => {
        const words = of === 'trigger' || of === 'rule' ? partKinds[of] : undefined
        const on = words === undefined ? null : parseQualifiedName(name)
        return on === null || keyOf(on) !== keyOf(view) ? [] : [`${words} ${view.schema} ${view.name} ${partOf(name)} `]
      }),
      entry('COMMENT', view, kind),
      entry('ACL', view, 'TABLE'),
    ]
    const found = new Set(findEntries(lines, wanted, properties.encoding).values())
    const statements = await read(lines.filter((line) => found.has(line)))
    const refresh = view.isMaterialized ? [`REFRESH MATERIALIZED VIEW ${view.text}`] : []
    gone.push({ schema: view.schema, name: view.name, statements: [...statements, ...refresh] })
  }
  return gone
}

const role = '(?:"(?:[^"]|"")*"|\\w+)'
const rolePatterns = [
  new RegExp(`^(?:GRANT|REVOKE) [\\s\\S]* (?:TO|FROM) (${role})(?: WITH GRANT OPTION)?$`),
  new RegExp(`^ALTER [\\s\\S]* OWNER TO (${role})$`),
  new RegExp(`^CREATE POLICY [\\s\\S]*? TO (${role}(?:, ${role})*)(?: USING| WITH|$)`),
]

/** A role that is not there would end the whole transaction. */
function withKnownRoles(
  statements: readonly string[],
  roles: ReadonlyMap<string, string>,
  notes: string[],
): readonly string[] {
  return statements.filter((statement) => {
    const named = rolePatterns.map((pattern) => pattern.exec(statement)?.[1]).find((names) => names !== undefined) ?? ''
    const names = named.match(/"(?:[^"]|"")*"|\w+/g) ?? []
    const missing = names.filter(
      (name) => !['PUBLIC', 'CURRENT_USER', 'SESSION_USER'].includes(name) && !roles.has(unquoted(name)),
    )
    if (missing.length > 0)
      notes.push(`left out, because role ${missing.join(', ')} is not there: ${statement.replaceAll(/\s+/g, ' ')}`)
    return missing.length === 0
  })
}

/** Each with how SQL writes it. */
async function readRoles(client: Client): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ name: string; text: string }>(
    'SELECT rolname AS name, pg_catalog.quote_ident(rolname) AS text FROM pg_catalog.pg_roles',
  )
  return new Map(rows.map(({ name, text }) => [name, text]))
}

async function quoted(client: Client, names: readonly string[]): Promise<readonly string[]> {
  const { rows } = await client.query<{ text: string }>(
    'SELECT pg_catalog.quote_ident(w.name) AS text FROM pg_catalog.unnest($1::text[]) w(name)',
    [names],
  )
  return rows.map(({ text }) => text)
}

async function readSchemas(client: Client): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ name: string }>('SELECT nspname AS name FROM pg_catalog.pg_namespace')
  return new Set(rows.map(({ name }) => name))
}

async function readConstraintNames(client: Client): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ schema: string; name: string; key: string }>(`
    SELECT n.nspname AS schema, c.relname AS name, k.conname AS key
      FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`)
  return new Set(rows.map(({ key, ...table }) => JSON.stringify([keyOf(table), key])))
}

/** Of a name as SQL writes it. */
export function keyOfText(text: string): string {
  const named = parseQualifiedName(text)
  return named === null ? text : keyOf(named)
}

function withoutSchema(text: string): string {
  return text.replace(/^(?:"(?:[^"]|"")*"|[^".]+)\./, '')
}

/** The last of three names, without quotes. */
function partOf(text: string): string {
  const found = /^(?:"(?:[^"]|"")*"|[^".]+)\.(?:"(?:[^"]|"")*"|[^".]+)\.([\s\S]*)$/.exec(text)
  return unquoted(found?.[1] ?? '')
}

function unquoted(identifier: string): string {
  return identifier.startsWith('"') ? identifier.slice(1, -1).replaceAll('""', '"') : identifier
}
