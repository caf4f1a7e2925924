import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * What took longest in CI, in order: begun last, one of them would go on alone while a core has nothing to do. Without this
 * list a clean checkout begins with the largest files, and those that test the most are small.
 */
const slowest = [
  'test/soak/soak.test.ts',
  'test/security/secrets.test.ts',
  'test/verification/defects.test.ts',
  'test/verification/awkward.test.ts',
  'test/faults/sync.test.ts',
  'test/drill/drill.test.ts',
  'test/commands/trusted-reports.test.ts',
  'test/faults/backup.test.ts',
  'test/commands/sync.test.ts',
  'test/jobs/full-drill.test.ts',
  'test/commands/drill.test.ts',
  'test/faults/prune.test.ts',
  'test/faults/drill.test.ts',
  'test/faults/restore.test.ts',
  'test/storage/huge-stream.test.ts',
  'test/daemon/alerts.test.ts',
  'test/daemon/real-clocks.test.ts',
  'test/storage/s3-faults.test.ts',
  'test/faults/roles.test.ts',
  'test/daemon/rebuilt.test.ts',
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
