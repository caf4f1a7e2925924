import { z } from 'zod'
import { workerDuties } from '../config/fleet-keys.ts'
import type { WorkerSign } from '../jobs/queue-view.ts'

const instant = z.iso.datetime().transform((text) => new Date(text))
const place = { server: z.string(), database: z.string().nullable() }

// Loose: a newer version may say more.
const signSchema = z.object({
  name: z.string(),
  labels: z.array(z.string()),
  may: z.array(z.enum(workerDuties)),
  version: z.string(),
  seenAt: instant,
  hasTurn: z.boolean(),
  places: z.int(),
  running: z.array(
    z.object({
      run: z.string(),
      job: z.enum(['backup', 'roles', 'drill', 'prune', 'sync']),
      ...place,
      since: instant,
      progress: z.record(z.string(), z.union([z.string(), z.number()])).nullable(),
    }),
  ),
  clockOffsetSeconds: z.number(),
  refused: z.array(
    z.object({
      server: z.string().nullable(),
      job: z.string().nullish(),
      code: z.string(),
      reason: z.string(),
      at: instant,
      until: instant.nullish(),
    }),
  ),
  // What another version says otherwise counts as not said: the sign is still one.
  pruneRules: z
    .object({ shared: z.string(), servers: z.record(z.string(), z.array(z.string())) })
    .optional()
    .catch(undefined),
  isClosing: z.boolean().optional().catch(undefined),
})

export function writeSign(sign: WorkerSign): object {
  return JSON.parse(JSON.stringify(sign)) as object
}

/** Undefined where something else stands, or what a much newer version says. */
export function readSign(data: unknown): WorkerSign | undefined {
  const parsed = signSchema.safeParse(data)
  return parsed.success ? (parsed.data as WorkerSign) : undefined
}
