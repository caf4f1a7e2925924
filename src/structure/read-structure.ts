import { createHash } from 'node:crypto'
import { deparsedFacets, type StructureObject } from '../domain/structure.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { assertNamesReadable, type Client } from '../postgres/connect.ts'
import { waitUnlessWaitedFor } from '../postgres/give-way.ts'
import { columnQueries } from './columns.ts'
import { flattenConditions, normaliseDeparsed } from './deparsed-text.ts'
import { objectQueries } from './objects.ts'
import type { StructureQuery } from './query.ts'
import { relationQueries } from './relations.ts'
import { tableObjectQueries } from './table-objects.ts'

/**
 * Every object of the current database that a dump carries, in order of kind and name by bytes. What may differ
 * between a healthy database and its restored dump is left out or written the same way. Throws QUERY_FAILED, NAME_INVALID.
 */
export async function readStructure(client: Client, major: number): Promise<StructureObject[]> {
  const objects: StructureObject[] = []
  for (const query of queriesFor(major)) objects.push(...(await readKind(client, query)))
  return inOrder(objects)
}

/**
 * The same in the transaction of a snapshot: before the dump, or after it, when `before` is known. Printing a definition
 * locks the view and asks the live catalogs, so two things may stand in the way: somebody who is changing a view, whom the
 * first reading waits for, as pg_dump does, and an object that was dropped since the snapshot. What cannot be printed stays
 * in the result without its definition, so that it counts as changed; it is no reason to lose a backup.
 *
 * A lock is given back at once, and never waited for longer than it takes PostgreSQL to look for a deadlock: the holder of
 * a snapshot has every table locked, and a migration that has a view and waits for a table would be the victim. Where one
 * does, this reading gives way: SNAPSHOT_FAILED.
 */
export async function readStructureInSnapshot(
  client: Client,
  major: number,
  before: readonly StructureObject[] | null = null,
): Promise<StructureObject[]> {
  const objects: StructureObject[] = []
  for (const query of queriesFor(major)) objects.push(...(await readPatiently(client, query, before)))
  return inOrder(objects)
}

async function readPatiently(
  client: Client,
  query: StructureQuery,
  before: readonly StructureObject[] | null,
  only: readonly string[] | null = null,
): Promise<StructureObject[]> {
  for (;;) {
    const read = await attempt(client, () => readKind(client, query, only))
    if (Array.isArray(read)) return read
    if (read.isLocked && before === null) {
      await waitUnlessWaitedFor(client)
      continue
    }
    // Which one it is, nobody tells: halve until it is found.
    const names = only ?? (await readNames(client, query))
    if (names.length <= 1) return names.map((name) => withoutDefinition(query.kind, name, before))
    const half = names.length >> 1
    return [
      ...(await readPatiently(client, query, before, names.slice(0, half))),
      ...(await readPatiently(client, query, before, names.slice(half))),
    ]
  }
}

function withoutDefinition(kind: string, name: string, before: readonly StructureObject[] | null): StructureObject {
  const known = before?.find((object) => object.kind === kind && object.name === name)?.facets ?? {}
  return {
    kind,
    name,
    facets: Object.fromEntries(Object.entries(known).filter(([facet]) => !deparsedFacets.has(facet))),
  }
}

/** In a savepoint, which gives back the locks; a reason to read again or without an object is returned, not thrown. */
async function attempt<T>(client: Client, read: () => Promise<T>): Promise<T | { readonly isLocked: boolean }> {
  await client.query('SAVEPOINT structure; SET LOCAL lock_timeout = 20')
  try {
    return await read()
  } catch (error) {
    const { code = '' } = ((error as { cause?: unknown }).cause ?? {}) as { code?: string }
    if (code === '55P03') return { isLocked: true }
    // `cache lookup failed`, `could not open relation`, and what functions say of things that are no more.
    if (['XX000', '42P01', '42883', '42704', '3F000'].includes(code)) return { isLocked: false }
    throw error
  } finally {
    await client.query('ROLLBACK TO SAVEPOINT structure; RELEASE SAVEPOINT structure')
  }
}

async function readNames(client: Client, { sql }: StructureQuery): Promise<string[]> {
  // The facets are not asked for, and so not printed.
  const { rows } = await client.query<{ name: string }>(`SELECT q.name FROM (${sql}) q`)
  return rows.map(({ name }) => name)
}

function queriesFor(major: number): readonly StructureQuery[] {
  return [...relationQueries(), ...columnQueries(major), ...tableObjectQueries(), ...objectQueries(major)]
}

function inOrder(objects: StructureObject[]): StructureObject[] {
  return objects.sort((one, other) => compareBytes(one.kind, other.kind) || compareBytes(one.name, other.name))
}

async function readKind(
  client: Client,
  { kind, sql }: StructureQuery,
  only: readonly string[] | null = null,
): Promise<StructureObject[]> {
  const { rows } = await client
    .query<{ name: string; facets: Record<string, string> }>(
      only === null ? sql : `SELECT q.name, q.facets FROM (${sql}) q WHERE q.name = ANY ($1)`,
      only === null ? [] : [only],
    )
    .catch((error: unknown) => throwQueryFailed(client, kind, error))
  return rows.map(({ name, facets }) => ({ kind, name, facets: writtenFacets(kind, facets) }))
}

function throwQueryFailed(client: Client, what: string, error: unknown): never {
  assertNamesReadable(client, what, error)
  const database = client.database ?? ''
  const reason = `structure, ${what}: ${reasonOf(error)}`
  throw new PgproofError('QUERY_FAILED', { database, reason }, { cause: error })
}

function writtenFacets(kind: string, facets: Readonly<Record<string, string>>): Record<string, string> {
  // The only expressions that pg_dump takes in the pretty form.
  const written = (text: string): string =>
    kind === 'extended statistics' ? flattenConditions(normaliseDeparsed(text)) : normaliseDeparsed(text)
  const result: Record<string, string> = {}
  for (const [facet, text] of Object.entries(facets)) {
    result[facet] = shortened(deparsedFacets.has(facet) ? written(text) : text)
  }
  return result
}

/** Longer texts stand as their SHA-256: evidence is to stay small. */
const longestBytes = 200

function shortened(text: string): string {
  if (Buffer.byteLength(text) <= longestBytes) return text
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

function compareBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other))
}
