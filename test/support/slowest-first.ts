import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * What took longest in CI, in order: begun last, one of them would go on alone while a core has nothing to do. Without this
 * list a clean checkout begins with the largest files, and those that test the most are small.
 */
const slowest = [
  'test/soak/soak.test.ts',
  'test/verification/defects.test.ts',
  'test/verification/awkward.test.ts',
  'test/backup/store-outages.test.ts',
  'test/fleet/life.test.ts',
  'test/storage/huge-stream.test.ts',
  'test/metrics/rules.test.ts',
  'test/fleet/fleet-run.test.ts',
  'test/drill/drill.test.ts',
  'test/restore/restore-cron.test.ts',
  'test/security/secrets.test.ts',
  'test/jobs/full-drill.test.ts',
  'test/commands/guard.test.ts',
  'test/commands/drill.test.ts',
  'test/drill/ladder.test.ts',
  'test/faults/prune.test.ts',
  'test/commands/guard-restore.test.ts',
  'test/storage/s3-swift.test.ts',
  'test/daemon/alerts.test.ts',
  'test/jobs/two-stores.test.ts',
  'test/daemon/serve.test.ts',
  'test/faults/sync.test.ts',
  'test/commands/list.test.ts',
  'test/fleet/bad-moments.test.ts',
  'test/commands/daemon.test.ts',
  'test/verification/stored-defects.test.ts',
  'test/commands/sync.test.ts',
  'test/faults/backup.test.ts',
  'test/daemon/real-clocks.test.ts',
  'test/restore/restore-tables-ties.test.ts',
  'test/faults/drill.test.ts',
  'test/postgres/archive-places.test.ts',
  'test/storage/s3-faults.test.ts',
  'test/commands/restore.test.ts',
  'test/fleet/lost-control.test.ts',
  'test/restore/restore-tables-failures.test.ts',
  'test/storage/s3.test.ts',
  'test/commands/store-only.test.ts',
  'test/backup/backup.test.ts',
  'test/postgres/put-in-place.test.ts',
  'test/restore/restore-tables.test.ts',
  'test/storage/s3-network.test.ts',
  'test/storage/mounts.test.ts',
  'test/page/many.test.ts',
  'test/commands/full-drill.test.ts',
  'test/drill/roles.test.ts',
  'test/page/page.test.ts',
  'test/fleet/discovery.test.ts',
  'test/commands/gate.test.ts',
  'test/backup/read-only-store.test.ts',
  'test/commands/backup.test.ts',
  'test/structure/relations.test.ts',
  'test/postgres/restore-stages.test.ts',
  'test/commands/trusted-reports.test.ts',
  'test/restore/restore-faults.test.ts',
  'test/restore/restore-surroundings.test.ts',
  'test/postgres/restore.test.ts',
  'test/fleet/two-scraped.test.ts',
  'test/fleet/retention.test.ts',
  'test/library/package.test.ts',
  'test/restore/restore.test.ts',
  'test/fleet/turn.test.ts',
]

/** The tests without services first, which fail sooner, and of both kinds the slowest ones. */
export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return sorted.toSorted((one, other) => this.#order(one) - this.#order(other))
  }

  #order({ project, moduleId }: TestSpecification): number {
    const place = slowest.indexOf(relative(project.config.root, moduleId))
    return (project.name === 'plain' ? 0 : slowest.length + 1) + (place === -1 ? slowest.length : place)
  }
}
