import type { Installation } from '../jobs/installation.ts'
import { logKeys } from '../log.ts'
import type { Control } from './control.ts'
import type { Mirror } from './mirror.ts'
import { isOutdated } from './refusals.ts'

/** Removes from the queue what would stay there for nothing; for whoever has the turn. Throws FLEET_UNREACHABLE. */
export async function tidyQueue(control: Control, mirror: Mirror, installation: Installation): Promise<void> {
  await forgetDead(control, mirror, installation)
  await discardOutdated(control, mirror, installation)
}

/** What died once and was done since is no trouble any more. */
async function forgetDead(control: Control, mirror: Mirror, { catalog, clock }: Installation): Promise<void> {
  for (const { id, job, server, database, at } of mirror.dead()) {
    if ((job !== 'backup' && job !== 'roles' && job !== 'drill') || server === null) continue
    const stored = catalog.lastStored({ job, server, database }, clock.now(), 'conclusive')
    if (stored !== null && stored > at) await control.forget(id)
  }
}

/**
 * What was ordered by another configuration of its server is taken by nobody, and nothing else could be ordered in its
 * place. Discarded it is ordered anew, as what a lost queue held.
 */
async function discardOutdated(control: Control, mirror: Mirror, installation: Installation): Promise<void> {
  for (const { id, queue } of mirror.waitingBySchedule((payload) => isOutdated(payload, installation))) {
    installation.log.warn({ [logKeys.run]: id, queue }, 'what another configuration ordered is ordered anew')
    await control.discard(queue, id)
  }
}
