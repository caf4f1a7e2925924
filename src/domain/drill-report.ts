import { z } from 'zod'
import { isLabel } from './backup-label.ts'
import { decodeVersioned } from './manifest.ts'

/** The stored result of a drill. Names no table: those are in the encrypted tables object beside it. */
export const drillReportFormat = 1

export const drillPhases = ['queue', 'fetch', 'scratch', 'roles', 'restore', 'analyze', 'query', 'verify'] as const
export type DrillPhase = (typeof drillPhases)[number]

/**
 * What of its machine a scratch server can be shut off from: the `network`; `files`, Unix sockets and shared memory among
 * them; other `processes`; `privileges` by set-user-ID programs, and more processes than a server needs.
 */
export const reaches = ['network', 'files', 'processes', 'privileges'] as const
export type Reach = (typeof reaches)[number]

const checkResult = z.strictObject({
  name: z.string(),
  /** `skipped` is never passed: it says that the rung was not reached or not asked for. */
  result: z.enum(['passed', 'failed', 'inconclusive', 'skipped']),
  detail: z.string().nullable(),
})

export const reportSchema = z.strictObject({
  format: z.literal(drillReportFormat),
  label: z.string().refine(isLabel, 'not a label'),
  server: z.string(),
  database: z.string(),
  storeId: z.string(),
  /** The name of the store whose copy was restored. */
  store: z.string(),
  pgproofVersion: z.string(),
  backup: z.strictObject({
    label: z.string().refine(isLabel, 'not a label'),
    snapshotTime: z.iso.datetime(),
    manifestSha256: z.string().regex(/^[0-9a-f]{64}$/),
    /** Of the dump that was restored, for the forecast once the backup is pruned. */
    dumpBytes: z.int().nonnegative(),
  }),
  /** The roles backup that was replayed and compared; null if there is none, or nothing of it could be compared. */
  rolesBackup: z
    .strictObject({
      label: z.string().refine(isLabel, 'not a label'),
      manifestSha256: z.string().regex(/^[0-9a-f]{64}$/),
    })
    .nullable(),
  /** How the backup was chosen; the same seed and the same store choose the same one. */
  pick: z.strictObject({ rule: z.enum(['random', 'latest', 'named']), seed: z.int().nonnegative().nullable() }),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  verdict: z.enum(['passed', 'failed', 'inconclusive']),
  /** Why not passed, from the register of errors. */
  reason: z.strictObject({ code: z.string(), message: z.string(), hint: z.string() }).nullable(),
  checks: z.array(checkResult),
  phases: z.array(z.strictObject({ name: z.enum(drillPhases), seconds: z.number().nonnegative() })),
  /** From the start of the fetch to the answer of the first query, in seconds; null if it never came so far. */
  restoreTimeSeconds: z.number().nonnegative().nullable(),
  rtoSeconds: z.number().positive().nullable(),
  /** What a restore of the newest backup would take, by this drill and those before it. */
  forecastSeconds: z.number().nonnegative().nullable(),
  /** The restore time against the RTO. A drill that passed can still have missed it. */
  objective: z.enum(['met', 'missed', 'unmeasured', 'none']),
  environment: z.strictObject({
    scratch: z.enum(['embedded', 'server']),
    serverVersion: z.string().nullable(),
    /** What the restored database could reach; `unknown` of a server kept for drills, null if none was started. */
    network: z.enum(['none', 'machine', 'unknown']).nullable(),
    /** What the system did not let an embedded server be shut off from; null of a kept one, and if none was started. */
    notIsolated: z.array(z.enum(reaches)).nullable(),
    jobs: z.int().positive(),
    cpus: z.int().positive(),
    cpuModel: z.string(),
    memoryBytes: z.int().positive(),
  }),
  compared: z.strictObject({
    tables: z.int().nonnegative(),
    rows: z.int().nonnegative(),
    /** Objects of the structure. */
    objects: z.int().nonnegative(),
    differences: z.int().nonnegative(),
    /** Tables of which the evidence setting took less than a digest: only the count, or nothing. */
    countOnly: z.int().nonnegative(),
    off: z.int().nonnegative(),
  }),
  /** What the backup does not hold, by kind; the encrypted evidence names the objects. */
  omissions: z.array(z.strictObject({ kind: z.string(), objects: z.int().nonnegative() })),
  /** Fingerprint of the key that signs this report (`….json.sig`); null where none is configured. */
  signer: z
    .string()
    .regex(/^[0-9A-F]{40}$/)
    .nullable(),
  /** SHA-256 of the encrypted tables object; null if the drill did not come that far. */
  tablesSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
})

export type DrillReport = z.infer<typeof reportSchema>
export type CheckResult = z.infer<typeof checkResult>
export type Verdict = DrillReport['verdict']

export function encodeDrillReport(report: DrillReport): Uint8Array {
  return Buffer.from(`${JSON.stringify(reportSchema.parse(report), null, 2)}\n`)
}

export function decodeDrillReport(bytes: Uint8Array, what: string): DrillReport {
  return decodeVersioned(bytes, reportSchema, drillReportFormat, what)
}
