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

export type PruneRecord = z.infer<typeof pruneRecordSchema>
export type PrunedBackup = PruneRecord['removed'][number]

export function encodePruneRecord(record: PruneRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify(pruneRecordSchema.parse(record), null, 2)}\n`)
}

/** Throws `STORE_FORMAT_NEWER` or `STORE_FORMAT_INVALID`; `what` names the object in the message. */
export function decodePruneRecord(bytes: Uint8Array, what: string): PruneRecord {
  return decodeVersioned(bytes, pruneRecordSchema, pruneRecordFormat, what)
}
