import { PgproofError } from '../errors.ts'

export type PageQuery = { readonly limit: number; readonly cursor?: string | undefined }
export type Page<T> = { readonly items: readonly T[]; readonly next: string | null }

/** Where an item stands in a list that is newest first. */
export type Position = { readonly at: Date; readonly key: string }

/**
 * One page of a list, and the cursor of the next; null after the last. Items that come or go between two pages neither
 * repeat nor hide others. Throws REQUEST_INVALID for a cursor that was not given out.
 */
export function pageOf<T>(
  items: readonly T[],
  { limit, cursor }: PageQuery,
  positionOf: (item: T) => Position,
): Page<T> {
  const start = cursor === undefined ? 0 : startAfter(items, readCursor(cursor), positionOf)
  const page = items.slice(start, start + limit)
  const last = page.at(-1)
  const isLast = last === undefined || start + limit >= items.length
  return { items: page, next: isLast ? null : writeCursor(positionOf(last)) }
}

function startAfter<T>(items: readonly T[], after: Position, positionOf: (item: T) => Position): number {
  const index = items.findIndex((item) => positionOf(item).key === after.key)
  if (index !== -1) return index + 1
  // It was removed meanwhile: go on with the next older one.
  const older = items.findIndex((item) => positionOf(item).at < after.at)
  return older === -1 ? items.length : older
}

function writeCursor({ at, key }: Position): string {
  return Buffer.from(JSON.stringify([at.getTime(), key])).toString('base64url')
}

function readCursor(cursor: string): Position {
  try {
    const read: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    if (Array.isArray(read) && typeof read[0] === 'number' && typeof read[1] === 'string')
      return { at: new Date(read[0]), key: read[1] }
  } catch {
    // It is refused below, like anything else that is not a cursor.
  }
  throw new PgproofError('REQUEST_INVALID', { reason: 'query.cursor: not a cursor of this list' })
}
