import { z } from 'zod'
import { decodeVersioned } from './manifest.ts'

/** What the database held at the dump's snapshot. Stored encrypted, because it names every table. */
export const evidenceFormat = 1

const count = z.int().nonnegative()

const tableContents = z.strictObject({
  schema: z.string(),
  name: z.string(),
  /** How much was taken for this table; `off` leaves `rows` and `digest` null. */
  level: z.enum(['digest', 'count', 'off']),
  /** Exact `count(*)` of the table itself, without its inheritance children. */
  rows: count.nullable(),
  /** Sum over all rows of a 64-bit hash of the row, in decimal; see docs/verification.md. */
  digest: z
    .string()
    .regex(/^-?\d+$/)
    .nullable(),
  /** The filter of an extension's configuration table (`pg_extension_config_dump`); null for every other table. */
  condition: z.string().nullable(),
})

const sequenceState = z.strictObject({
  schema: z.string(),
  name: z.string(),
  /** Decimal. Sequences do not obey snapshots: the restored value may be ahead, never behind. */
  lastValue: z.string().regex(/^-?\d+$/),
  isCalled: z.boolean(),
  increment: z.string().regex(/^-?\d+$/),
})

const evidenceSchema = z.strictObject({
  format: z.literal(evidenceFormat),
  label: z.string(),
  server: z.string(),
  database: z.string(),
  snapshotTime: z.iso.datetime(),
  properties: z.strictObject({
    owner: z.string(),
    encoding: z.string(),
    /** `c` libc, `i` icu, `b` builtin, as in `pg_database.datlocprovider`. */
    localeProvider: z.enum(['c', 'i', 'b']),
    collate: z.string(),
    ctype: z.string(),
    /** ICU or builtin locale; null for libc. */
    locale: z.string().nullable(),
    /** The role with OID 10: since PostgreSQL 16 it is the grantor of what superusers grant. */
    bootstrapRole: z.string(),
  }),
  tables: z.array(tableContents),
  sequences: z.array(sequenceState),
  materializedViews: z.array(z.strictObject({ schema: z.string(), name: z.string(), isPopulated: z.boolean() })),
  largeObjects: z.strictObject({ count, bytes: count, digest: z.string().nullable() }),
  extensions: z.array(z.strictObject({ name: z.string(), version: z.string() })),
  omissions: z.array(z.strictObject({ kind: z.string(), object: z.string(), reason: z.string() })),
})

export type Evidence = z.infer<typeof evidenceSchema>
export type TableContents = z.infer<typeof tableContents>
export type SequenceState = z.infer<typeof sequenceState>
export type EvidenceLevel = TableContents['level']

export function encodeEvidence(evidence: Evidence): Uint8Array {
  return Buffer.from(`${JSON.stringify(evidenceSchema.parse(evidence))}\n`)
}

export function decodeEvidence(bytes: Uint8Array, what: string): Evidence {
  return decodeVersioned(bytes, evidenceSchema, evidenceFormat, what)
}
