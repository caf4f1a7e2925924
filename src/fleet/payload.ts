import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Run } from '../catalog/runs.ts'
import { PgproofError } from '../errors.ts'
import type { DrillWish } from '../jobs/execute.ts'
import type { Due, Order } from '../jobs/orders.ts'

/** What an entry of the queue says. It holds no secrets and no address; other workers, of other versions, read it. */
export const payloadFormat = 1

const time = z.iso.datetime()
const name = z.string().max(1024)

const payloadSchema = z.strictObject({
  format: z.literal(payloadFormat),
  storeId: z.string(),
  job: z.enum(['backup', 'roles', 'drill', 'prune', 'sync']),
  /** Empty for what concerns the whole store. */
  server: name,
  database: name.nullable(),
  trigger: z.enum(['schedule', 'http', 'cli', 'backup']),
  attempt: z.int().min(1),
  /** Null where a person ordered it. */
  due: z.strictObject({ time, until: time, runs: z.int().min(1) }).nullable(),
  wish: z.strictObject({
    backup: z.string().optional(),
    pick: z.enum(['random', 'latest']).optional(),
    seed: z.int().optional(),
    from: z.string().optional(),
  }),
  /** Null for what concerns the whole store. */
  serverHash: z.string().nullable(),
  /** The worker that ordered it. */
  by: z.string(),
  version: z.string(),
})

export type Payload = z.infer<typeof payloadSchema>

export type PayloadSource = {
  readonly storeId: string
  readonly serverHash: string | null
  readonly by: string
  readonly version: string
}

export function payloadOf(order: Order, attempt: number, source: PayloadSource): Payload {
  const { job, server, database, trigger, due, wish } = order
  return {
    format: payloadFormat,
    job,
    server,
    database,
    trigger,
    attempt,
    due: due === undefined ? null : { time: due.time.toISOString(), until: due.until.toISOString(), runs: due.runs },
    wish: JSON.parse(JSON.stringify(wish ?? {})) as DrillWish,
    ...source,
  }
}

/** Throws FLEET_ENTRY_NEWER or FLEET_ENTRY_INVALID. */
export function readPayload(data: unknown, place: { readonly id: string; readonly queue: string }): Payload {
  const format = (data as { format?: unknown } | null)?.format
  if (typeof format === 'number' && format > payloadFormat)
    throw new PgproofError('FLEET_ENTRY_NEWER', { ...place, format: String(format), known: String(payloadFormat) })
  const parsed = payloadSchema.safeParse(data)
  if (parsed.success) return parsed.data
  // Which key, not what stands there: nobody knows what it is.
  const [issue] = parsed.error.issues
  const reason = issue === undefined ? 'unknown' : `${issue.path.join('.') || 'it'}: ${issue.code}`
  throw new PgproofError('FLEET_ENTRY_INVALID', { ...place, reason })
}

export function dueOf({ due }: Payload): Due | undefined {
  return due === null ? undefined : { time: new Date(due.time), until: new Date(due.until), runs: due.runs }
}

/** One place of one job; at most one entry of it is queued or active. */
export function placeKey({ job, server, database }: Pick<Run, 'job' | 'server' | 'database'>): string {
  return JSON.stringify([job, server, database])
}

/**
 * The id of what is due: the same whoever orders it and however often, so that it exists once. A UUID of version 8.
 */
export function entryId(storeId: string, place: Pick<Run, 'job' | 'server' | 'database'>, due: Due): string {
  const text = JSON.stringify([storeId, placeKey(place), due.time.toISOString(), due.runs])
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
