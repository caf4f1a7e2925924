import type { Run } from '../catalog/runs.ts'
import type { NotifyConfig } from '../config/config.ts'
import type { Trouble } from './ping.ts'
import { concerns, isLookedAfter, type JobPlace, jobPlaceKey, type Surroundings } from './places.ts'
import { described, instantText } from './wording.ts'

/** How the last run of a job ended at its place, by this process. */
export type Ended = { readonly run: Run; readonly retryAt: Date | null }

/** Runs that are late by less may be waiting for their turn. */
const lateMs = 3_600_000

/** What keeps a ping from saying that all is well, besides `except`: its own run. */
export function troublesOf(
  entry: Pick<NotifyConfig, 'jobs' | 'servers'>,
  ended: ReadonlyMap<string, Ended>,
  surroundings: Surroundings,
  except: JobPlace | null,
): Trouble[] {
  const own = except === null ? null : jobPlaceKey(except)
  const isOther = (place: JobPlace): boolean => concerns(entry, place) && jobPlaceKey(place) !== own
  const known = [...ended.values()].filter(({ run }) => isOther(run) && isLookedAfter(run, surroundings))
  const planned = surroundings.planned.filter(isOther)
  return [
    ...known.flatMap(ofRun),
    ...planned.filter((place) => !ended.has(jobPlaceKey(place))).flatMap((place) => ofStoredDrill(place, surroundings)),
    ...planned.flatMap((place) => overdue(place, surroundings)),
  ]
}

function ofRun({ run, retryAt }: Ended): Trouble[] {
  if (run.state === 'succeeded') return []
  const again = retryAt === null ? '' : `, and is tried again at ${instantText(retryAt)}`
  const at = instantText(run.finishedAt ?? run.queuedAt)
  return [{ text: `the last ${described(run)} ended ${run.state} at ${at}${again}`, isFailure: retryAt === null }]
}

/** Of runs before this process only drills left their failure in the store. */
function ofStoredDrill({ job, server, database }: JobPlace, { catalog }: Surroundings): Trouble[] {
  if (job !== 'drill' || database === null) return []
  const last = catalog.drills({ server, database })[0]
  if (last === undefined || last.verdict === 'passed') return []
  return [{ text: `the last ${described({ job, server, database })} was ${last.verdict}`, isFailure: true }]
}

function overdue(place: Surroundings['planned'][number], { catalog, lookingSince, now }: Surroundings): Trouble[] {
  const { job, server, database, intervalSeconds } = place
  if (job === 'drill' && catalog.newest(server, database ?? '') === undefined) return []
  const last = catalog.lastStart(server, database, job, now) ?? lookingSince
  if (now.getTime() - last.getTime() <= intervalSeconds * 1000 + lateMs) return []
  return [{ text: `the last ${described(place)} began at ${instantText(last)}, which is long ago`, isFailure: false }]
}
