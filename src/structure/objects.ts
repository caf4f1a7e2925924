import { databaseQueries } from './database.ts'
import { foreignQueries } from './foreign.ts'
import { functionQueries } from './functions.ts'
import { grantQueries } from './grants.ts'
import type { StructureQuery } from './query.ts'
import { typeQueries } from './types.ts'

/** Reads every kind of object of a database that is not like a table, with what pg_dump dumps of it. */
export function objectQueries(major: number): readonly StructureQuery[] {
  return [
    ...typeQueries(major),
    ...functionQueries(),
    ...foreignQueries(major),
    ...grantQueries(),
    ...databaseQueries(major),
  ]
}
