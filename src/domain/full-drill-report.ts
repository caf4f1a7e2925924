import { z } from 'zod'
import { isLabel } from './backup-label.ts'
import { reportSchema } from './drill-report.ts'
import { decodeVersioned } from './manifest.ts'

/** The stored result of a full drill: one server rebuilt as a whole. Names databases, but no table and no role. */
export const fullDrillReportFormat = 1

const count = z.int().nonnegative()
const seconds = z.number().nonnegative()
const label = z.string().refine(isLabel, 'not a label')
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const { verdict, reason, restoreTimeSeconds, omissions, environment, signer, objective, rtoSeconds } =
  reportSchema.shape

const databaseResult = z.strictObject({
  database: z.string(),
  /** Whether the configuration covers the database; one that it does not may be gone at the source. */
  isConfigured: z.boolean(),
  /** The newest one; null for a database that is named in the configuration and has no backup. */
  backup: z.strictObject({ label, snapshotTime: z.iso.datetime(), manifestSha256: sha256 }).nullable(),
  /** Its own drill, with the SHA-256 of its report as stored; null if it was not carried out. */
  drill: z.strictObject({ label, sha256 }).nullable(),
  verdict,
  reason,
  /** Without the start of the server, which all databases share. */
  restoreTimeSeconds,
  /** Compared tables, their restored rows, and objects of the structure. */
  tables: count,
  rows: count,
  objects: count,
  /** Tables of which the evidence setting took less than a digest: only the count, or nothing. */
  countOnly: count,
  off: count,
  differences: count,
  checks: z.array(
    z.strictObject({ name: z.string(), result: z.enum(['passed', 'failed', 'inconclusive', 'skipped']) }),
  ),
  omissions,
})

export const fullDrillReportSchema = z.strictObject({
  format: z.literal(fullDrillReportFormat),
  label,
  server: z.string(),
  storeId: z.string(),
  pgproofVersion: z.string(),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  /** `failed` if one database failed, or one that is named in the configuration or the roles have no backup. */
  verdict,
  reason,
  /** Replayed once, for all databases; null if there is none, or no drill came so far. */
  rolesBackup: z
    .strictObject({
      label,
      manifestSha256: sha256,
      snapshotTime: z.iso.datetime(),
      /** Whether the password verifiers are inside. */
      passwords: z.enum(['present', 'absent']),
    })
    .nullable(),
  databases: z.array(databaseResult),
  /** Sums over all databases, and the wall time of the whole, with the start of the server and everything checked. */
  seconds: z.strictObject({ roles: seconds, restore: seconds, verification: seconds, whole: seconds }),
  /** The databases are each of the instant of their own backup; null without a backup. */
  recoveryPoints: z.strictObject({ oldest: z.iso.datetime(), newest: z.iso.datetime() }).nullable(),
  environment,
  rtoSeconds,
  /** The sum of the restore times against the RTO; `unmeasured` if one of them is missing. */
  objective,
  /** Fingerprint of the key that signs this report (`….json.sig`); null where none is configured. */
  signer,
})

export type FullDrillReport = z.infer<typeof fullDrillReportSchema>
export type FullDrillDatabase = FullDrillReport['databases'][number]

export function encodeFullDrillReport(report: FullDrillReport): Uint8Array {
  return Buffer.from(`${JSON.stringify(fullDrillReportSchema.parse(report), null, 2)}\n`)
}

/** Throws `STORE_FORMAT_NEWER` or `STORE_FORMAT_INVALID`; `what` names the object in the message. */
export function decodeFullDrillReport(bytes: Uint8Array, what: string): FullDrillReport {
  return decodeVersioned(bytes, fullDrillReportSchema, fullDrillReportFormat, what)
}
