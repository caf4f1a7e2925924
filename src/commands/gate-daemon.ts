import { z } from 'zod'
import { type GateFacts, type GateSource, spellAge, toleratedSkewMs } from '../domain/gate.ts'
import { PgproofError } from '../errors.ts'
import type { CommandContext } from './context.ts'
import { askDaemon, type Daemon } from './daemon-client.ts'

/**
 * What a daemon says of its databases; no configuration is needed. One that cannot know, because it has not read its
 * store, closes the gate. Throws what `askDaemon` throws.
 */
export async function readGateOfDaemon(daemon: Daemon): Promise<GateSource> {
  const status = await statusOf(daemon)
  if (status === null) return { servers: [], databases: [], closed: ['the daemon is not ready'], time: null }
  const time = new Date(status.time)
  warnOfSkew(time, daemon.context)
  const servers = [...new Set([...status.databases, ...status.roles].map(({ server }) => server))]
  if (!status.isReady)
    return { servers, databases: [], closed: [`the daemon is not ready: ${status.reasons.join('; ')}`], time }
  const closed = status.store.isComplete ? [] : ['the daemon could not read everything in its store']
  const databases: GateFacts[] = []
  for (const one of status.databases) databases.push(await factsOf(one, daemon))
  return { servers, databases, closed, time }
}

const drillSchema = z.object({
  label: z.string(),
  finishedAt: z.iso.datetime(),
  verdict: z.enum(['passed', 'failed', 'inconclusive']),
  reason: z.object({ message: z.string() }).nullable(),
})

const databaseSchema = z.object({
  server: z.string(),
  database: z.string(),
  newestBackup: z.object({ label: z.string(), snapshotTime: z.iso.datetime() }).nullable(),
  recoveryPoint: z.iso.datetime().nullable(),
  lastDrill: drillSchema.nullable(),
  lastPassedDrill: drillSchema.nullable(),
})
type DaemonDatabase = z.infer<typeof databaseSchema>

/** As much of the status as a gate needs; a newer daemon may say more. */
const statusSchema = z.object({
  time: z.iso.datetime(),
  isReady: z.boolean(),
  reasons: z.array(z.string()),
  databases: z.array(databaseSchema),
  roles: z.array(z.object({ server: z.string() })),
  store: z.object({ isComplete: z.boolean() }),
})

const drillsSchema = z.object({ items: z.array(drillSchema) })

/** Null: it is not ready to say anything. */
async function statusOf(daemon: Daemon): Promise<z.infer<typeof statusSchema> | null> {
  try {
    return await askDaemon(daemon, 'v1/status', statusSchema)
  } catch (error) {
    if (error instanceof PgproofError && (error.code === 'NOT_READY' || error.code === 'SHUTTING_DOWN')) return null
    throw error
  }
}

async function factsOf(one: DaemonDatabase, daemon: Daemon): Promise<GateFacts> {
  const { server, database, newestBackup, recoveryPoint, lastPassedDrill: passed } = one
  const failed = await lastFailure(one, daemon)
  return {
    server,
    database,
    backup:
      recoveryPoint === null
        ? null
        : {
            label: newestBackup?.snapshotTime === recoveryPoint ? newestBackup.label : null,
            snapshotTime: new Date(recoveryPoint),
          },
    onlyDamaged: recoveryPoint === null && newestBackup !== null,
    proof: passed === null ? null : { drill: passed.label, finishedAt: new Date(passed.finishedAt) },
    failure:
      failed === undefined
        ? null
        : { drill: failed.label, finishedAt: new Date(failed.finishedAt), reason: failed.reason?.message ?? null },
  }
}

/** Drills that came to no end after one that failed do not hide it. */
async function lastFailure(one: DaemonDatabase, daemon: Daemon): Promise<z.infer<typeof drillSchema> | undefined> {
  const { server, database, lastDrill } = one
  if (lastDrill === null || lastDrill.verdict === 'passed') return undefined
  if (lastDrill.verdict === 'failed') return lastDrill
  const path = `v1/drills?${new URLSearchParams({ server, database, limit: '200' })}`
  const { items } = await askDaemon(daemon, path, drillsSchema)
  return items.find(({ verdict }) => verdict === 'failed')
}

/** A daemon's answer is never older than the question. */
function warnOfSkew(time: Date, context: CommandContext): void {
  const skewMs = time.getTime() - context.clock.now().getTime()
  if (Math.abs(skewMs) <= toleratedSkewMs) return
  const direction = skewMs > 0 ? 'ahead of' : 'behind'
  context.warn(
    `the daemon's clock is ${spellAge(Math.abs(skewMs) / 1000)} ${direction} this one's, or its answer comes from a cache: the ages may be wrong by that`,
  )
}
