import { z } from 'zod'
import { publicMessage } from '../domain/public-message.ts'
import { progressKeys } from '../domain/run-progress.ts'
import type { QueueView, WorkerView } from '../jobs/queue-view.ts'

const instant = z.iso.datetime()
const count = z.int().nonnegative()
const job = z.enum(['backup', 'roles', 'drill', 'prune', 'sync'])
const duty = z.enum(['backup', 'drill', 'prune', 'sync', 'serve'])

const queueCountsSchema = z.strictObject({
  name: z.string(),
  queued: count,
  active: count,
  failed: count.describe('Of the last two days.'),
  oldestQueuedAt: instant.nullable(),
  unserved: z.string().nullable().describe('Why no living worker takes what has waited there for over a minute.'),
})

const deadEntrySchema = z.strictObject({
  id: z.string(),
  job: job.nullable(),
  server: z.string().nullable(),
  database: z.string().nullable(),
  at: instant,
  code: z.string(),
  reason: z.string(),
})

export const workerSchema = z.strictObject({
  name: z.string(),
  labels: z.array(z.string()),
  may: z.array(duty).describe('Which jobs it takes, and whether it answers HTTP.'),
  version: z.string(),
  seenAt: instant.describe('Its last sign of life, by the clock of the control database.'),
  isAlive: z.boolean(),
  hasTurn: z.boolean().describe('Whether it orders what is due and sends notices.'),
  places: count.describe('How many runs it carries out at the same time at most.'),
  running: z.array(
    z.strictObject({
      run: z.string().describe('As in `GET /v1/runs/:id`.'),
      job,
      server: z.string(),
      database: z.string().nullable(),
      since: instant,
      progress: z.strictObject(progressKeys).nullable(),
    }),
  ),
  clockOffsetSeconds: z.number().describe('How far its clock is ahead of the control database’s.'),
  refused: z
    .array(
      z.strictObject({
        server: z.string().nullable().describe('Null: a whole queue; of all servers.'),
        job: z.string().nullable().describe('Null: all of them.'),
        code: z.string().describe('With `FLEET_RETENTION_DIFFERS` it takes all the same, and prunes nothing.'),
        reason: z.string(),
        at: instant,
        until: instant.nullable().describe('Null: until what it is for is mended.'),
      }),
    )
    .describe('What it does not take for a while, and why.'),
})

export const queueSchema = z.strictObject({
  isReachable: z
    .boolean()
    .describe('False while the control database does not answer; the rest is as it was at `asOf`.'),
  reason: z.string().nullable().describe('Why it is not.'),
  asOf: instant,
  queues: z.array(queueCountsSchema),
  dead: z.array(deadEntrySchema).describe('What no worker survived, or none can read.'),
  workers: z.array(workerSchema).describe('Without a fleet this process alone.'),
  vanished: z
    .array(z.strictObject({ server: z.string(), database: z.string() }))
    .describe('Configured databases with backups that their server does not have any more.'),
})
export type QueueAnswer = z.infer<typeof queueSchema>

export function queueAnswer(view: QueueView): QueueAnswer {
  const { isReachable, reason, asOf, queues, dead, workers, vanished } = view
  return {
    isReachable,
    reason,
    asOf: asOf.toISOString(),
    queues: queues.map(({ name, queued, active, failed, oldestQueuedAt, unserved = null }) => {
      return { name, queued, active, failed, oldestQueuedAt: oldestQueuedAt?.toISOString() ?? null, unserved }
    }),
    dead: dead.map(({ id, job: of, server, database, at, code, reason: why }) => {
      return { id, job: of, server, database, at: at.toISOString(), code, reason: publicMessage(code, why) }
    }),
    workers: workers.map(workerAnswer),
    vanished: vanished.map(({ server, database }) => ({ server, database })),
  }
}

function workerAnswer(worker: WorkerView): QueueAnswer['workers'][number] {
  const { name, labels, may, version, seenAt, isAlive, hasTurn, places, running, clockOffsetSeconds, refused } = worker
  return {
    ...{ name, labels: [...labels], may: [...may], version, seenAt: seenAt.toISOString(), isAlive, hasTurn, places },
    running: running.map(({ run, job: of, server, database, since, progress }) => {
      return { run, job: of, server, database, since: since.toISOString(), progress }
    }),
    clockOffsetSeconds,
    refused: refused.map(({ server, job: of = null, code, reason, at, until }) => {
      const times = { at: at.toISOString(), until: until?.toISOString() ?? null }
      return { server, job: of, code, reason: publicMessage(code, reason), ...times }
    }),
  }
}
