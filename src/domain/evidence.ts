import { z } from 'zod'
import { decodeVersioned, manifestSchema } from './manifest.ts'
import { structureObject } from './structure.ts'

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
  /**
   * Only for a partition below a table that is partitioned by the hash of an enum: that hash is of an OID, so a restore
   * puts the rows into other partitions of this table.
   */
  root: z.strictObject({ schema: z.string(), name: z.string() }).optional(),
})

const decimal = z.string().regex(/^-?\d+$/)

const sequenceState = z.strictObject({
  schema: z.string(),
  name: z.string(),
  lastValue: decimal,
  isCalled: z.boolean(),
  increment: decimal,
  /** Whether it begins anew after its last value: then no state is behind or beyond another. */
  isCycling: z.boolean(),
})

/**
 * Sequences do not obey snapshots, so they are read before and after the dump. `lastValue` and `isCalled` are of the
 * reading that is behind in the sequence's direction, `latest` of the other; the dump has a state in between.
 */
const dumpedSequence = sequenceState.extend({ latest: sequenceState.pick({ lastValue: true, isCalled: true }) })

/**
 * The parts of a manifest that are known before it is written. Who has the bucket and the public key can write another
 * manifest, but cannot read this, and so cannot make a changed one fit the evidence.
 */
export const boundSchema = manifestSchema
  .pick({
    kind: true,
    label: true,
    server: true,
    database: true,
    storeId: true,
    pgproofVersion: true,
    startedAt: true,
    snapshotTime: true,
    source: true,
    program: true,
    dump: true,
    evidence: true,
    previous: true,
    rolePasswords: true,
    omissions: true,
  })
  .extend({
    object: manifestSchema.shape.objects.shape.dump,
    recovery: manifestSchema.shape.objects.shape.recovery,
    recipients: z.array(z.string()),
    signer: z.string().nullable(),
  })
export type BoundManifest = z.infer<typeof boundSchema>

export const evidenceSchema = z.strictObject({
  format: z.literal(evidenceFormat),
  label: z.string(),
  server: z.string(),
  database: z.string(),
  snapshotTime: z.iso.datetime(),
  /** What the manifest must say. */
  manifest: boundSchema,
  properties: z.strictObject({
    owner: z.string(),
    encoding: z.string(),
    /** `c` libc, `i` icu, `b` builtin, as in `pg_database.datlocprovider`. */
    localeProvider: z.enum(['c', 'i', 'b']),
    collate: z.string(),
    ctype: z.string(),
    /** ICU or builtin locale; null for libc. */
    locale: z.string().nullable(),
    /** Tailoring of the ICU locale, since PostgreSQL 16. */
    icuRules: z.string().nullable(),
    /** How the dump writes `money`: PostgreSQL reads it back under the same setting only. */
    lcMonetary: z.string(),
    /** The role with OID 10: since PostgreSQL 16 it is the grantor of what superusers grant. */
    bootstrapRole: z.string(),
  }),
  tables: z.array(tableContents),
  sequences: z.array(dumpedSequence),
  largeObjects: z.strictObject({ count, bytes: count, digest: z.string().nullable() }),
  extensions: z.array(z.strictObject({ name: z.string(), version: z.string() })),
  omissions: z.array(z.strictObject({ kind: z.string(), object: z.string(), reason: z.string() })),
  /** Every object as PostgreSQL describes it, besides those that changed while the dump ran. */
  structure: z.array(structureObject),
})

export type Evidence = z.infer<typeof evidenceSchema>
export type TableContents = z.infer<typeof tableContents>
/** What a sequence says at one moment. */
export type SequenceState = z.infer<typeof sequenceState>
export type DumpedSequence = z.infer<typeof dumpedSequence>
export type EvidenceLevel = TableContents['level']

export function encodeEvidence(evidence: Evidence): Uint8Array {
  return Buffer.from(`${JSON.stringify(evidenceSchema.parse(evidence))}\n`)
}

export function decodeEvidence(bytes: Uint8Array, what: string): Evidence {
  return decodeVersioned(bytes, evidenceSchema, evidenceFormat, what)
}
