import type { CopiedPartition, CopiedTable, LiveSequence, LiveTable, Merge, TableColumn, TableShape } from './merge.ts'
import { schemaOf } from './qualified-name.ts'

export type MergeScript = {
  readonly purpose: 'look' | 'bring back' | 'undo changes' | 'clean up'
  readonly title: string
  /** To be pasted into psql as it is. */
  readonly sql: string
}

/**
 * SQL that brings what was restored beside the live tables back into them: scripts in the order in which they are of use,
 * and what no script can do. Nothing here adds quotes to a name.
 */
export function mergeStatements(merge: Merge): {
  readonly scripts: readonly MergeScript[]
  readonly notes: readonly string[]
} {
  const gone = merge.tables.filter(({ live }) => live === null)
  const there = merge.tables.flatMap(mergeable)
  const keyed = there.flatMap((pair) => (pair.key === null ? [] : [{ ...pair, key: pair.key }]))
  const isAllGone = gone.length === merge.tables.length
  const scripts: MergeScript[] = []
  if (there.length > 0)
    scripts.push({
      purpose: 'look',
      title: 'What is gone and what has changed since the backup',
      sql: there.map(lookAt).join('\n'),
    })
  const back = [
    ...preparing(there),
    ...merge.schemas.map((statement) => `${statement};`),
    ...gone.flatMap(putBack),
    // What they read may come later, and not every name in them is qualified.
    ...(merge.functions.length > 0 ? ['SET LOCAL check_function_bodies = off;'] : []),
    ...merge.functions.map((statement) => `${statement};`),
    // Policies and triggers may call them.
    ...gone.flatMap(({ definitions }) => definitions.map((definition) => `${definition};`)),
    ...insertAll(there),
    ...merge.foreignKeys.map((statement) => `${statement};`),
    ...merge.views.flatMap(({ statements }) => statements.map((statement) => `${statement};`)),
    // Last, for no end of the transaction takes it back.
    ...there.flatMap(({ live }) => live.sequences.map(setSequence)),
    ...(isAllGone ? [`DROP SCHEMA ${merge.schema};`] : []),
  ]
  if (gone.length > 0 || there.length > 0)
    scripts.push({ purpose: 'bring back', title: bringBackTitle(gone.length, there.length), sql: inTransaction(back) })
  const changes = keyed.flatMap(undoChanges)
  if (changes.length > 0)
    scripts.push({
      purpose: 'undo changes',
      title: 'Put all rows that were changed back as they were, rightful changes since the backup included',
      sql: inTransaction([...preparing(keyed), ...changes]),
    })
  if (!isAllGone)
    scripts.push({
      purpose: 'clean up',
      title: 'Remove the copy when it is no longer needed',
      sql: [...dropMany(merge.tables), `DROP SCHEMA ${merge.schema} CASCADE;`].join('\n'),
    })
  return { scripts, notes: merge.tables.flatMap(notesOn) }
}

/**
 * What waits for the end of the transaction would stand in the way of ALTER TABLE. Where policies hide rows, those would
 * seem to be gone: that is an error then.
 */
function preparing(pairs: readonly Pair[]): string[] {
  if (pairs.length === 0) return []
  const isHiding = pairs.some(({ live }) => live.hasRowSecurity)
  return ['SET CONSTRAINTS ALL IMMEDIATE;', ...(isHiding ? ['SET LOCAL row_security = off;'] : [])]
}

/** One statement may not lock as many tables as there can be: then they go in parts, before the schema. */
function dropMany(tables: readonly CopiedTable[]): string[] {
  const copies = tables.flatMap(({ copy, partitions }) => [...partitions.map((partition) => partition.copy), copy])
  if (copies.length <= mostDropped) return []
  return Array.from({ length: Math.ceil(copies.length / mostDropped) }, (_, part) => {
    const some = copies.slice(part * mostDropped, (part + 1) * mostDropped)
    return `DROP TABLE IF EXISTS ${some.join(', ')} CASCADE;`
  })
}

const mostDropped = 100

/** A table that is there under its own name, and what both sides have. */
type Pair = {
  readonly name: string
  readonly copy: string
  readonly live: LiveTable
  readonly from: string
  readonly into: string
  readonly columns: readonly TableColumn[]
  readonly key: readonly string[] | null
  readonly table: CopiedTable
}

function mergeable(table: CopiedTable): Pair[] {
  const { name, copy, live, shape } = table
  if (live === null || typeof live === 'string') return []
  const columns = sharedColumns(shape, live.shape)
  // ONLY: children of inheritance are tables of their own.
  const from = table.isPartitioned ? copy : `ONLY ${copy}`
  const into = live.isPartitioned ? name : `ONLY ${name}`
  return columns.length === 0
    ? []
    : [{ name, copy, live, from, into, columns, key: sharedKey(shape, live.shape, columns), table }]
}

function sharedColumns(copy: TableShape, live: TableShape): readonly TableColumn[] {
  return live.columns.filter(({ name, type, isGenerated }) =>
    copy.columns.some((other) => !isGenerated && other.name === name && other.type === type),
  )
}

/** Null where the sides have different keys, or none. */
function sharedKey(copy: TableShape, live: TableShape, columns: readonly TableColumn[]): readonly string[] | null {
  if (copy.key === null || live.key === null) return null
  const isSame = copy.key.toSorted().join() === live.key.toSorted().join()
  const isShared = live.key.every((name) => columns.some((column) => column.name === name))
  return isSame && isShared ? live.key : null
}

function lookAt(pair: Pair): string {
  const { name, key, from, into } = pair
  const label = `${literal(name)} AS "table"`
  if (key === null)
    return `SELECT ${label}, (SELECT count(*) FROM ${from}) AS rows_then, (SELECT count(*) FROM ${into}) AS rows_now;`
  const joined = key.map((column) => `l.${column} = r.${column}`).join(' AND ')
  const isGone = `l.${key[0]} IS NULL`
  const changed = valuesOf(pair, key)
  const isChanged = changed.length === 0 ? 'false' : differ(changed)
  return `SELECT ${label}, count(*) FILTER (WHERE ${isGone}) AS gone,
       count(*) FILTER (WHERE NOT ${isGone} AND ${isChanged}) AS changed,
       (SELECT count(*) FROM ${into} l WHERE NOT EXISTS (SELECT FROM ${from} r WHERE ${joined})) AS new
  FROM ${from} r LEFT JOIN ${into} l ON ${joined};`
}

/** Columns besides the key. */
function valuesOf({ columns }: Pair, key: readonly string[]): readonly TableColumn[] {
  return columns.filter(({ name }) => !key.includes(name))
}

/**
 * By the bytes of the values, so that 1.0 is not 1.00, and of any type, also one without an equality. As records: two
 * ROW() with an operator between them would be compared value by value.
 */
function differ(columns: readonly TableColumn[]): string {
  const row = (alias: string): string => `ROW(${columns.map(({ name }) => `${alias}.${name}`).join(', ')})::record`
  return `${row('l')} *<> ${row('r')}`
}

function putBack(table: CopiedTable): string[] {
  const { name, copy, owner, partitions, attach, inherit, defaults } = table
  const move = (from: string, to: string, whose: string | null): string[] => [
    `ALTER TABLE ${from} SET SCHEMA ${schemaOf(to)};`,
    ...(whose === null ? [] : [`ALTER TABLE ${to} OWNER TO ${whose};`]),
  ]
  return [
    `-- ${onOneLine(name)} is gone: the copy takes its place.`,
    ...move(copy, name, owner),
    ...partitions.flatMap((partition) => move(partition.copy, partition.name, partition.owner)),
    ...(attach === null ? [] : [`ALTER TABLE ${attach.parent} ATTACH PARTITION ${name} ${attach.bound};`]),
    ...inherit.map((parent) => `ALTER TABLE ${name} INHERIT ${parent};`),
    ...defaults.map(
      ({ column, expression }) => `ALTER TABLE ONLY ${name} ALTER COLUMN ${column} SET DEFAULT ${expression};`,
    ),
  ]
}

/** Rows that are gone: first of tables to which others refer; tables that refer to each other in one statement. */
function insertAll(pairs: readonly Pair[]): string[] {
  const named = new Map(pairs.map((pair) => [pair.name, pair]))
  const refersTo = (pair: Pair): readonly Pair[] => pair.table.refersTo.flatMap((name) => named.get(name) ?? [])
  return [
    ...pairs.flatMap(({ table, live }) => (live.isPartitioned ? table.partitions.flatMap(makePartition) : [])),
    ...circlesFirst(pairs, refersTo).flatMap((circle) => {
      const inserts = circle.map(insertGone)
      const last = inserts.pop() as string
      // Foreign keys are looked at when the whole statement has ended.
      const withOthers = inserts.map(
        (insert, index) => `${index === 0 ? 'WITH ' : '     '}"${index + 1}" AS (\n${insert})`,
      )
      const whole = withOthers.length === 0 ? last : `${withOthers.join(',\n')}\n${last}`
      return withoutTriggers(
        circle.map(({ live }) => live),
        [
          `-- Rows of ${circle.map(({ name }) => onOneLine(name)).join(', ')} that are gone, whoever deleted them.`,
          `${whole};`,
        ],
      )
    }),
  ]
}

function insertGone(pair: Pair): string {
  const { name, columns, key, from, into } = pair
  const names = columns.map((column) => column.name).join(', ')
  const overriding = columns.some(({ isIdentityAlways }) => isIdentityAlways) ? ' OVERRIDING SYSTEM VALUE' : ''
  const insert = `INSERT INTO ${name} (${names})${overriding}`
  const selected = columns.map((column) => `r.${column.name}`).join(', ')
  if (key === null) {
    // Equal rows are counted: as many come back as there are too few. As texts, for not every type has an equality.
    const row = (alias: string): string => `ROW(${columns.map((column) => `${alias}.${column.name}`).join(', ')})::text`
    return `${insert}
SELECT ${selected}
  FROM (SELECT c.*, row_number() OVER (PARTITION BY ${row('c')}) AS "pgproof number" FROM ${from} c) r
  LEFT JOIN (SELECT ${row('c')} AS "pgproof row", count(*) AS "pgproof count" FROM ${into} c GROUP BY 1) l
    ON l."pgproof row" = ${row('r')}
 WHERE r."pgproof number" > COALESCE(l."pgproof count", 0)`
  }
  const same = key.map((column) => `l.${column} = r.${column}`).join(' AND ')
  return `${insert}\nSELECT ${selected} FROM ${from} r\n WHERE NOT EXISTS (SELECT FROM ${into} l WHERE ${same})`
}

function makePartition({ name, parent, bound, partitionKey, isLive }: CopiedPartition): string[] {
  if (isLive) return []
  const by = partitionKey === null ? '' : ` PARTITION BY ${partitionKey}`
  return [
    `-- Partition ${onOneLine(name)} is gone: made anew.`,
    `CREATE TABLE ${name} PARTITION OF ${parent} ${bound}${by};`,
  ]
}

function undoChanges(pair: Pair & { readonly key: readonly string[] }): string[] {
  const { name, key, from, into, live } = pair
  const values = valuesOf(pair, key).filter(({ isIdentityAlways }) => !isIdentityAlways)
  if (values.length === 0) return []
  const set = values.map((column) => `${column.name} = r.${column.name}`).join(', ')
  const same = key.map((column) => `l.${column} = r.${column}`).join(' AND ')
  return withoutTriggers(
    [live],
    [
      `-- All rows of ${onOneLine(name)} that differ, whoever changed them: add a condition where some changes were right.`,
      `UPDATE ${into} l SET ${set}\n  FROM ${from} r\n WHERE ${same} AND ${differ(values)};`,
    ],
  )
}

/** A trigger would change the rows that come back, or write about them elsewhere. */
function withoutTriggers(tables: readonly LiveTable[], statements: readonly string[]): string[] {
  const triggers = tables.flatMap((table) => table.triggers)
  if (triggers.length === 0) return [...statements]
  return [
    '-- Its triggers stay silent, so that rows come back as they were; leave these lines out if they are to fire.',
    ...triggers.map(({ table, name }) => `ALTER TABLE ${table} DISABLE TRIGGER ${name};`),
    ...statements,
    ...triggers.map(
      ({ table, name, isAlways }) => `ALTER TABLE ${table} ENABLE ${isAlways ? 'ALWAYS ' : ''}TRIGGER ${name};`,
    ),
    ...triggers.flatMap(({ name, onPartitions }) =>
      onPartitions.map(({ table, state }) => `ALTER TABLE ${table} ${state} TRIGGER ${name};`),
    ),
  ]
}

/**
 * To where it was at the backup, if it has not come so far: never back, and not by the largest value, which somebody may have
 * written by hand far beyond.
 */
function setSequence({ name, copy, increment }: LiveSequence): string {
  const next = (alias: string): string => `${alias}.last_value::numeric + ${alias}.is_called::int * (${increment})`
  const [from, isBehind] = [`${name} l, ${copy} r`, increment.startsWith('-') ? '>' : '<']
  return `SELECT pg_catalog.setval(${literal(name)}, r.last_value, r.is_called) FROM ${from}
 WHERE ${next('l')} ${isBehind} ${next('r')};`
}

/** Groups of what leads back to itself, each after those that it leads to (Tarjan). */
function circlesFirst<T>(all: readonly T[], leadsTo: (one: T) => readonly T[]): readonly (readonly T[])[] {
  const order = new Map<T, number>()
  const open: T[] = []
  const circles: T[][] = []
  const visit = (one: T): number => {
    const at = order.size
    order.set(one, at)
    open.push(one)
    let low = at
    for (const next of leadsTo(one)) {
      const known = order.get(next)
      if (known === undefined) low = Math.min(low, visit(next))
      else if (open.includes(next)) low = Math.min(low, known)
    }
    if (low === at) circles.push(open.splice(open.indexOf(one)))
    return low
  }
  for (const one of all) if (!order.has(one)) visit(one)
  return circles
}

function bringBackTitle(gone: number, there: number): string {
  if (there === 0) return gone === 1 ? 'Put the table back' : 'Put the tables back'
  return gone === 0
    ? 'Bring back rows that are gone'
    : 'Put back tables that are gone, and rows that are gone from others'
}

function notesOn(table: CopiedTable): string[] {
  const { name, live, shape } = table
  if (live === null)
    return [
      ...(table.owner === null ? [`the owner of ${name} is no role of this server: it stays the login’s`] : []),
      ...table.partitions
        .filter(({ isLive }) => isLive)
        .map((partition) => `${name} is gone, but its partition ${partition.name} is still there: rename that first`),
    ]
  if (typeof live === 'string') return [`there is a ${live} called ${name} now: no statement brings its rows back`]
  const [pair] = mergeable(table)
  const notes = columnNotes(name, shape, live.shape)
  if (pair === undefined) return [...notes, `${name} has no column that the backup has, too`]
  if (pair.key === null)
    notes.push(
      `${name} has no primary key that the backup has, too: which row was changed cannot be told, so a changed row comes back beside what it was changed to`,
    )
  if (live.hasRules) notes.push(`${name} has rules, which may turn what is written to it into something else`)
  return notes
}

function columnNotes(name: string, copy: TableShape, live: TableShape): string[] {
  const isIn = (shape: TableShape, column: string): boolean => shape.columns.some((other) => other.name === column)
  const changed = live.columns.flatMap((column) => {
    const other = copy.columns.find((one) => one.name === column.name)
    return other === undefined || other.type === column.type || column.isGenerated
      ? []
      : [`column ${column.name} of ${name} was ${other.type} and is ${column.type}: its values stay in the copy`]
  })
  const left = copy.columns.filter((column) => !isIn(live, column.name))
  const added = live.columns.filter((column) => !isIn(copy, column.name) && !column.isGenerated)
  return [
    ...changed,
    ...left.map((column) => `column ${column.name} of ${name} is gone: its values stay in the copy`),
    ...added.map((column) => `column ${column.name} of ${name} is new: rows that come back get its default`),
  ]
}

function inTransaction(statements: readonly string[]): string {
  return ['BEGIN;', ...statements, 'COMMIT;'].join('\n')
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/** A name may have a line break, at which a comment would end. */
function onOneLine(name: string): string {
  return name.replaceAll(/[\n\r]/g, ' ')
}
