import { historyDefects } from './history-defects.ts'
import { keyDefects } from './key-defects.ts'
import { objectDefects } from './object-defects.ts'
import { rolesDefects } from './roles-defects.ts'
import type { Baseline } from './scene.ts'
import type { Stage } from './stage.ts'

/** Something that happens to a backup in the store, or to what stands beside it. */
export type StoredDefect = {
  readonly group: 'object' | 'key' | 'roles' | 'history'
  /** What is wrong, for docs/verification.md. */
  readonly title: string
  /** The lowest rung that does not pass, or the command that says it. */
  readonly rung: string
  /** What is said of it; labels stand as `<older>`, `<newer>` and `<roles>`. */
  readonly names: string
  /** By a drill, by `verify`, or by what the catalog says of the store's history. */
  readonly judged: 'drill' | 'verify' | 'history'
  /** Which of the backups is judged; the newer one unless said. */
  readonly of?: 'older' | 'newer' | 'roles'
  /** `refused`: the catalog does not count it as a backup at all. Failed unless said. */
  readonly verdict?: 'failed' | 'inconclusive' | 'refused'
  readonly baseline?: Baseline
  readonly settings?: Readonly<Record<string, string>>
  plant(stage: Stage): void | Promise<void>
}

export const storedDefects: readonly StoredDefect[] = [
  ...objectDefects,
  ...keyDefects,
  ...rolesDefects,
  ...historyDefects,
]
