import { PgproofError } from '../errors.ts'
import type { Evidence } from './evidence.ts'
import { keyOf, parseIdentifiers, parseQualifiedName, type QualifiedName, schemaOf } from './qualified-name.ts'
import type { StructureObject } from './structure.ts'

/** Which tables are wanted: `schema.table` each, or whole schemas; as SQL writes names. */
export type TableWish = { readonly tables: readonly string[]; readonly schemas: readonly string[] }

export type SelectedTable = QualifiedName & {
  /** As SQL writes it, with quotes where they are needed; the name in the evidence. */
  readonly text: string
  /** A partitioned table has no rows of its own, its partitions have. */
  readonly isPartitioned: boolean
  /** The table that it is a partition of, where that is selected, too. */
  readonly partitionOf: QualifiedName | null
  /** Tables that it inherits from, besides that of a partition; as SQL writes them. */
  readonly inherits: readonly string[]
  /** Plain; null where the evidence does not say. */
  readonly owner: string | null
}

export type TableSelection = {
  /** A partitioned table before its partitions; else in the order of the evidence. */
  readonly tables: readonly SelectedTable[]
  readonly notes: readonly string[]
}

/**
 * The tables of a backup that are meant: a partitioned table brings its partitions and a parent of inheritance its
 * children, at any depth, because a query of it shows their rows. Notes name what has rows that no restore of tables brings.
 * Throws USAGE_INVALID for what is no name or holds no rows, TABLE_UNKNOWN.
 */
export function selectTables(wish: TableWish, evidence: Pick<Evidence, 'tables' | 'structure'>): TableSelection {
  const relations = readRelations(evidence)
  const notes: string[] = []
  const wanted = new Map<string, Relation>()
  for (const text of wish.tables) {
    const relation = findTable(text, relations)
    wanted.set(relation.key, relation)
  }
  for (const text of wish.schemas)
    for (const relation of tablesOfSchema(text, relations, notes)) wanted.set(relation.key, relation)
  const chosen = new Map<string, Relation>()
  const choose = (relation: Relation): void => {
    if (chosen.has(relation.key)) return
    // A foreign table stays out, but tables may inherit from it.
    chosen.set(relation.key, relation)
    for (const child of relations.values()) if (child.parents.includes(relation.key)) choose(child)
  }
  // From the top: a partition or child that is wanted besides its table comes with it.
  const isBelowWanted = ({ parents }: Relation): boolean =>
    parents.some((key) => {
      const above = relations.get(key)
      return above !== undefined && (wanted.has(key) || isBelowWanted(above))
    })
  for (const relation of wanted.values()) if (!isBelowWanted(relation)) choose(relation)
  const all = [...chosen.values()]
  for (const { schema, name, root } of evidence.tables) {
    const relation = chosen.get(keyOf({ schema, name }))
    if (relation === undefined || root === undefined || chosen.has(keyOf(root))) continue
    const whole = relations.get(keyOf(root))?.text ?? `${root.schema}.${root.name}`
    const why = 'whose rows are spread by the hash of an enum: a restore puts them into other partitions'
    throw new PgproofError('USAGE_INVALID', {
      reason: `${relation.text} is a partition of ${whole}, ${why}; name ${whole}`,
    })
  }
  return {
    tables: all.filter(isTable).map(({ schema, name, text, isPartitioned, partitionOf, parents, owner }) => {
      const above = partitionOf === null ? undefined : chosen.get(partitionOf)
      const inherits = partitionOf === null ? parents.flatMap((key) => relations.get(key)?.text ?? []) : []
      return { schema, name, text, isPartitioned, owner, partitionOf: above ?? null, inherits }
    }),
    notes: [...notes, ...all.flatMap(({ kind, text }) => (kind in whyNot ? `${text} ${whyNot[kind]}` : []))],
  }
}

/** The top of what each table is a partition of, at any depth, or itself; by the key of its name. */
export function rootsOf({ tables }: TableSelection): ReadonlyMap<string, SelectedTable> {
  const byKey = new Map(tables.map((table) => [keyOf(table), table]))
  const rootOf = (table: SelectedTable): SelectedTable => {
    const above = table.partitionOf === null ? undefined : byKey.get(keyOf(table.partitionOf))
    return above === undefined ? table : rootOf(above)
  }
  return new Map(tables.map((table) => [keyOf(table), rootOf(table)]))
}

type Relation = QualifiedName & {
  readonly key: string
  readonly text: string
  readonly kind: string
  readonly isPartitioned: boolean
  readonly partitionOf: string | null
  /** Of a partition the one table that it is of, of a child all that it inherits from. */
  readonly parents: readonly string[]
  readonly owner: string | null
}

const kinds = new Set(['table', 'foreign table', 'view', 'materialized view', 'sequence'])

function readRelations({ tables, structure }: Pick<Evidence, 'tables' | 'structure'>): Map<string, Relation> {
  const relations = new Map<string, Relation>()
  for (const object of structure) {
    const named = kinds.has(object.kind) ? parseQualifiedName(object.name) : null
    if (named === null) continue
    const key = keyOf(named)
    relations.set(key, { ...named, key, text: object.name, ...relationOf(object) })
  }
  // Tables that an extension made, with rows of the user, are in no structure.
  for (const { schema, name } of tables) {
    const key = keyOf({ schema, name })
    const text = `${schema}.${name}`
    if (!relations.has(key))
      relations.set(key, {
        schema,
        name,
        key,
        text,
        kind: 'extension',
        isPartitioned: false,
        partitionOf: null,
        parents: [],
        owner: null,
      })
  }
  return relations
}

function relationOf({
  kind,
  facets,
}: StructureObject): Pick<Relation, 'kind' | 'isPartitioned' | 'partitionOf' | 'parents' | 'owner'> {
  const names = facets['inherits']?.match(/(?:"(?:[^"]|"")*"|[^",])+/g) ?? []
  const parents = names.flatMap((name) => parseQualifiedName(name.trim()) ?? []).map(keyOf)
  return {
    kind,
    isPartitioned: kind === 'table' && facets['definition'] !== undefined,
    partitionOf: facets['is partition'] === 'true' ? (parents[0] ?? null) : null,
    parents,
    owner: facets['owner'] ?? null,
  }
}

function findTable(text: string, relations: ReadonlyMap<string, Relation>): Relation {
  const identifiers = parseIdentifiers(text)
  if (identifiers === null || identifiers.length > 2)
    throw new PgproofError('USAGE_INVALID', { reason: `"${text}" is no name of a table; write it as schema.table` })
  const named = parseQualifiedName(text)
  const found = named === null ? undefined : relations.get(keyOf(named))
  if (found === undefined) {
    const known = nearNames(identifiers.at(-1) as string, [...relations.values()])
    throw new PgproofError('TABLE_UNKNOWN', { table: text, known })
  }
  const why = whyNot[found.kind]
  if (why !== undefined) throw new PgproofError('USAGE_INVALID', { reason: `${found.text} ${why}` })
  return found
}

/** What is no table of the user's, and what to do instead. */
const whyNot: Readonly<Record<string, string>> = {
  view: 'is a view and holds no rows of its own; name the tables that it reads',
  'materialized view': 'is a materialized view: its rows are made by REFRESH; name the tables that it reads',
  'foreign table': 'is a foreign table: its rows are on another server, and not in the backup',
  sequence: 'is a sequence; it comes back with the table that owns it',
  extension: 'belongs to an extension; restore the whole database beside the other (--create) and copy its rows',
}

function tablesOfSchema(text: string, relations: ReadonlyMap<string, Relation>, notes: string[]): readonly Relation[] {
  const identifiers = parseIdentifiers(text)
  if (identifiers?.length !== 1) throw new PgproofError('USAGE_INVALID', { reason: `"${text}" is no name of a schema` })
  const [schema] = identifiers
  const within = [...relations.values()].filter((relation) => relation.schema === schema)
  if (!within.some(isTable)) {
    const schemas = [...new Set([...relations.values()].filter(isTable).map((relation) => schemaOf(relation.text)))]
    const known = schemas.length === 0 ? '' : `Schemas with tables: ${schemas.slice(0, mostSchemas).join(', ')}.`
    throw new PgproofError('TABLE_UNKNOWN', { table: `in schema ${text}`, known })
  }
  const without = within.filter(({ kind }) => kind === 'view' || kind === 'materialized view')
  if (without.length > 0)
    notes.push(`views have no rows of their own and stay out: ${without.map((one) => one.text).join(', ')}`)
  return within.filter(({ kind }) => withRows.has(kind))
}

/** Each has rows that a query of its schema shows; only those of a table can be brought back alone. */
const withRows = new Set(['table', 'foreign table', 'extension'])

function isTable({ kind }: Relation): boolean {
  return kind === 'table'
}

const mostNames = 5
const mostSchemas = 10

/** A sentence with those that may have been meant: the same name in another schema first. */
function nearNames(name: string, relations: readonly Relation[]): string {
  const near = relations
    .filter(isTable)
    .map((relation) => ({ text: relation.text, distance: distanceOf(name.toLowerCase(), relation.name.toLowerCase()) }))
    .filter(({ distance }) => distance <= Math.max(1, Math.floor(name.length / 3)))
    .sort((one, other) => one.distance - other.distance || (one.text < other.text ? -1 : 1))
    .slice(0, mostNames)
  return near.length === 0 ? '' : `Did you mean ${near.map(({ text }) => text).join(' or ')}?`
}

/** How many characters must be put in, left out or changed to make one text of the other (Levenshtein). */
function distanceOf(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (const [line, character] of [...one].entries()) {
    const next = [line + 1]
    for (let column = 1; column <= other.length; column += 1) {
      const changed = (row[column - 1] ?? 0) + (character === other[column - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[other.length] ?? 0
}
