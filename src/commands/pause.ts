import { hostname, userInfo } from 'node:os'
import { parseDuration } from '../config/units.ts'
import { isWithin, type PausableJob, pausableJobs } from '../domain/pause.ts'
import { PgproofError } from '../errors.ts'
import { pauseSchedules, resumeSchedules } from '../jobs/pause.ts'
import type { Answer, CommandContext } from './context.ts'
import { openConfig, openInstallation } from './open.ts'
import { pauseDocuments, pausedPlace, pauseLines } from './pause-lines.ts'
import { printable } from './print.ts'
import { parseTarget } from './target.ts'

export type PauseFlags = { readonly for: string; readonly reason: string; readonly job?: readonly string[] }

/** Keeps the schedules of every daemon of the stores from starting anything for a while. */
export async function pauseCommand(
  context: CommandContext,
  target: string | undefined,
  flags: PauseFlags,
): Promise<Answer> {
  const forMs = parseDuration(flags.for)
  if (forMs === undefined) throw usage(`--for ${flags.for} is no duration: write 4h, 90m or 2d`)
  const jobs = flags.job?.map(jobNamed)
  const config = await openConfig(context, undefined, { drillsNothing: true })
  const place = target === undefined ? everything : parseTarget(target, config.servers)
  await using wired = await openInstallation(context, config, { writes: true, needsCatalog: false })
  const wish = { ...place, jobs, forMs, reason: flags.reason, by: whoAsks() }
  const pause = await pauseSchedules(wish, wired.installation, context.signal)
  const [line = ''] = pauseLines([pause])
  const end = `pgproof resume${target === undefined ? '' : ` ${target}`}`
  return {
    document: { pause: pauseDocuments([pause])[0] },
    text: printable(`${line}. What runs goes on, and so do orders by hand; \`${end}\` ends it before its time.`),
  }
}

/** Ends the pauses of a place, and of everything in it. */
export async function resumeCommand(context: CommandContext, target: string | undefined): Promise<Answer> {
  const config = await openConfig(context, undefined, { drillsNothing: true })
  const place = target === undefined ? everything : parseTarget(target, config.servers)
  await using wired = await openInstallation(context, config, { writes: true, needsCatalog: true })
  const { installation } = wired
  const inForce = installation.catalog.pauses()
  const ended = inForce.filter((pause) => isWithin(pause, place))
  if (ended.length > 0) await resumeSchedules(ended, whoAsks(), installation, context.signal)
  const left = inForce.filter((pause) => !ended.includes(pause) && isWithin(place, pause))
  const lines = pauseLines(ended).map((line) => printable(`Ended: ${line}`))
  const document = { ended: pauseDocuments(ended), left: pauseDocuments(left) }
  const [wider] = left
  if (wider !== undefined) {
    const [line = ''] = pauseLines([wider])
    const command = wider.server === null ? 'pgproof resume' : `pgproof resume ${pausedPlace(wider)}`
    const reason = `${pausedPlace(place)} is still paused, with ${line} (\`${command}\` ends that)`
    return { document, text: lines.join('\n'), error: new PgproofError('USAGE_INVALID', { reason }) }
  }
  return {
    document,
    text: lines.length > 0 ? lines.join('\n') : printable(`Nothing of ${pausedPlace(place)} is paused.`),
  }
}

const everything = { server: null, database: null } as const

function jobNamed(text: string): PausableJob {
  const job = pausableJobs.find((one) => one === text)
  if (job === undefined) throw usage(`--job ${text}: there are ${pausableJobs.join(', ')}`)
  return job
}

/** `ops@db2`. Without a name in the password file, as in some containers, the number. */
function whoAsks(): string {
  return `${userName()}@${hostname()}`
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`
  }
}

function usage(reason: string): PgproofError {
  return new PgproofError('USAGE_INVALID', { reason })
}
