import type { Run } from '../catalog/runs.ts'
import { covers, type Pause } from '../domain/pause.ts'

/** Whether a pause holds back what a schedule ordered before it began; what a person ordered goes on. */
export function isHeldBack(
  { trigger, job, server, database }: Pick<Run, 'trigger' | 'job' | 'server' | 'database'>,
  pauses: readonly Pause[],
): boolean {
  if (trigger !== 'schedule' || job === 'prune' || job === 'sync') return false
  return pauses.some((pause) => covers(pause, { job, server, database }))
}
