/** A name for a database, or for the roles of a server, that no other has. */
export function placeKey(kind: 'database' | 'roles', server: string, database: string | null): string {
  return JSON.stringify([kind, server, database])
}
