import { type Place, placeId } from './facts.ts'

/** Up to so many databases are shown with all that is known of them; of more, each has a page of its own. */
const wholeUpTo = 60

export function areMany(databases: readonly unknown[]): boolean {
  return databases.length > wholeUpTo
}

/** Where a database is shown: further down the same page, or on its own. */
export function hrefOf(place: Place, isMany: boolean): string {
  const { server, database } = place
  return isMany && database !== null ? `?${new URLSearchParams({ server, database })}` : `#${placeId(place)}`
}
