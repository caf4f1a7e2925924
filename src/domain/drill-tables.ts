import { z } from 'zod'
import { decodeVersioned } from './manifest.ts'
import { structureDifference } from './structure.ts'

/** The table-by-table result of a drill and what programs said, stored encrypted beside its report: it names tables. */
export const drillTablesFormat = 1

const count = z.int().nonnegative().nullable()
const digest = z.string().nullable()

export const tablesSchema = z.strictObject({
  format: z.literal(drillTablesFormat),
  /** The drill's label. */
  label: z.string(),
  /** Details of the error that ended the drill, such as pg_restore's last lines. */
  errorDetails: z.string().nullable(),
  /** What the reader should know though it is no defect: messages of the restore, extensions of another version. */
  notes: z.array(z.string()),
  /** Null if the drill did not come so far. */
  structure: z.strictObject({ compared: z.int().nonnegative(), differences: z.array(structureDifference) }).nullable(),
  tables: z.array(
    z.strictObject({
      schema: z.string(),
      name: z.string(),
      expectedRows: count,
      restoredRows: count,
      expectedDigest: digest,
      restoredDigest: digest,
      compared: z.enum(['rows and digest', 'rows', 'nothing']),
      result: z.enum(['equal', 'missing', 'unexpected', 'rows differ', 'digest differs', 'not compared']),
    }),
  ),
  sequences: z.array(
    z.strictObject({
      schema: z.string(),
      name: z.string(),
      expectedNext: z.string().nullable(),
      restoredNext: z.string().nullable(),
      result: z.enum(['equal', 'ahead', 'behind', 'beyond', 'missing', 'unexpected']),
    }),
  ),
  /** Null if the drill did not come so far. */
  largeObjects: z
    .strictObject({
      expected: z.strictObject({ count: z.int().nonnegative(), digest }),
      restored: z.strictObject({ count: z.int().nonnegative(), digest }),
      result: z.enum(['equal', 'count differs', 'digest differs']),
    })
    .nullable(),
})

export type DrillTables = z.infer<typeof tablesSchema>

export function encodeDrillTables(tables: DrillTables): Uint8Array {
  return Buffer.from(`${JSON.stringify(tablesSchema.parse(tables))}\n`)
}

export function decodeDrillTables(bytes: Uint8Array, what: string): DrillTables {
  return decodeVersioned(bytes, tablesSchema, drillTablesFormat, what)
}
