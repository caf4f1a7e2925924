import type { DrillReport } from '../domain/drill-report.ts'
import { drillReportKey } from '../storage/object-keys.ts'
import { placeKey } from './place-key.ts'
import { drilledFolders, finishedAtOf } from './proof.ts'
import { patchedGroups, patchedList } from './sorted-list.ts'

/** The reports of all drills, in order and by the backups that they name. */
export class DrillIndex {
  readonly #byKey: Map<string, DrillReport>
  /** By the folder of a backup, oldest first. */
  readonly #byFolder = new Map<string, DrillReport[]>()
  #newestFirst: readonly DrillReport[]
  #byPlace: ReadonlyMap<string, readonly DrillReport[]>

  constructor(drills: ReadonlyMap<string, DrillReport>) {
    this.#byKey = new Map(drills)
    this.#newestFirst = [...drills.values()].sort(newestFirst)
    this.#byPlace = Map.groupBy(this.#newestFirst, placeOf)
    for (const report of this.#newestFirst.toReversed())
      for (const folder of foldersOf(report)) {
        const known = this.#byFolder.get(folder)
        if (known === undefined) this.#byFolder.set(folder, [report])
        else known.push(report)
      }
  }

  get newestFirst(): readonly DrillReport[] {
    return this.#newestFirst
  }

  get byPlace(): ReadonlyMap<string, readonly DrillReport[]> {
    return this.#byPlace
  }

  /** Those that name the backup in that folder, oldest first. */
  of(folder: string): readonly DrillReport[] {
    return this.#byFolder.get(folder) ?? []
  }

  /**
   * Those, and all that were drilled with one of them: what is said of a backup in one store can change what is said there
   * of the roles.
   */
  withDrilledTogether(folders: Iterable<string>): ReadonlySet<string> {
    return new Set([...folders].flatMap((folder) => [folder, ...this.of(folder).flatMap(foldersOf)]))
  }

  /** Takes over what is now under these keys. Returns the folders of all backups of which the reports may say something else. */
  update(keys: Iterable<string>, drills: ReadonlyMap<string, DrillReport>): ReadonlySet<string> {
    const gone = new Set<DrillReport>()
    const added: DrillReport[] = []
    for (const key of keys) {
      const [before, after] = [this.#byKey.get(key), drills.get(key)]
      if (before === after) continue
      if (before !== undefined) gone.add(before)
      if (after === undefined) this.#byKey.delete(key)
      else {
        this.#byKey.set(key, after)
        added.push(after)
      }
    }
    const named = new Set([...gone, ...added].flatMap(foldersOf))
    const folders = this.withDrilledTogether(named)
    for (const folder of named) {
      const kept = this.of(folder).filter((report) => !gone.has(report))
      const more = added.filter((report) => foldersOf(report).includes(folder))
      const reports = [...kept, ...more].sort((one, other) => -newestFirst(one, other))
      if (reports.length > 0) this.#byFolder.set(folder, reports)
      else this.#byFolder.delete(folder)
    }
    this.#newestFirst = patchedList(this.#newestFirst, gone, added, newestFirst)
    this.#byPlace = patchedGroups(this.#byPlace, gone, added, newestFirst, placeOf)
    return folders
  }
}

function newestFirst(one: DrillReport, other: DrillReport): number {
  const later = finishedAtOf(other).getTime() - finishedAtOf(one).getTime()
  if (later !== 0) return later
  if (one.label !== other.label) return one.label < other.label ? 1 : -1
  return keyOf(one) < keyOf(other) ? 1 : -1
}

function keyOf({ server, database, label }: DrillReport): string {
  return drillReportKey(server, database, label)
}

function placeOf({ server, database }: DrillReport): string {
  return placeKey('database', server, database)
}

function foldersOf(report: DrillReport): readonly string[] {
  const { backup, roles } = drilledFolders(report)
  return roles === null ? [backup] : [backup, roles]
}
