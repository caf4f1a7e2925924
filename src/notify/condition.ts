import type { Job } from '../catalog/runs.ts'
import type { Holding } from './incident.ts'
import type { ConditionKind } from './notice.ts'

/** Something that is wrong without a run that fails. */
export type Condition = Holding & {
  readonly kind: ConditionKind
  readonly server: string | null
  readonly database: string | null
  /** Of which job it is a matter. */
  readonly job: Job | null
  /** What is wrong, on one line. */
  readonly title: string
  /** The same with figures, as a sentence. */
  readonly text: string
  readonly hint: string
  /** What is said when it is over. */
  readonly recovered: string
}
