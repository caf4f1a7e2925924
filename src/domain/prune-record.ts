import { z } from 'zod'
import { isLabel } from './backup-label.ts'
import { decodeVersioned } from './manifest.ts'

/** What a prune removed, so that a pruned history is not mistaken for one that somebody removed. Names no table. */
export const pruneRecordFormat = 1

const count = z.int().nonnegative()
const label = z.string().refine(isLabel, 'not a label')

const policySchema = z.strictObject({
  last: count,
  daily: count,
  weekly: count,
  monthly: count,
  yearly: count,
  verified: count,
})

const pruneRecordSchema = z.strictObject({
  format: z.literal(pruneRecordFormat),
  label,
  storeId: z.string(),
  pgproofVersion: z.string(),
  at: z.iso.datetime(),
  /** Why: the policy that did not keep them, in the time zone whose days it counts. */
  policies: z.array(
    z.strictObject({
      kind: z.enum(['database', 'roles']),
      server: z.string(),
      policy: policySchema,
      timezone: z.string(),
    }),
  ),
  removed: z.array(
    z.strictObject({
      kind: z.enum(['database', 'roles']),
      server: z.string(),
      /** Null for a roles backup. */
      database: z.string().nullable(),
      label,
      manifestSha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
})

const pruneSchema = pruneRecordSchema.pick({ label: true, at: true, removed: true })

export type PruneRecord = z.infer<typeof pruneRecordSchema>

/** What is kept in memory of a record, since records stay in a store for good: what went and when, not by which policy. */
export type Prune = z.infer<typeof pruneSchema>
export type PrunedBackup = Prune['removed'][number]

export function pruneOf({ label, at, removed }: PruneRecord): Prune {
  return { label, at, removed }
}

/** Throws a `ZodError` for anything but what `pruneOf` returns. */
export function assertPrune(content: unknown): void {
  pruneSchema.parse(content)
}

export function encodePruneRecord(record: PruneRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify(pruneRecordSchema.parse(record), null, 2)}\n`)
}

/** Throws `STORE_FORMAT_NEWER` or `STORE_FORMAT_INVALID`; `what` names the object in the message. */
export function decodePruneRecord(bytes: Uint8Array, what: string): PruneRecord {
  return decodeVersioned(bytes, pruneRecordSchema, pruneRecordFormat, what)
}
