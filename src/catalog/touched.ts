import type { Prune } from '../domain/prune-record.ts'
import { backupFolder, objectNames } from '../storage/object-keys.ts'
import { emptyContents, type StoreContents, type StoredBackup } from './contents.ts'
import { forEachInSlices } from './in-slices.ts'

/** What is another since the stores were last looked at. */
export class Touched {
  /** Of backups that came, went or were replaced, that were damaged or no longer are, and that prunes removed. */
  readonly folders = new Set<string>()
  /** Keys of drill reports. */
  readonly drills = new Set<string>()
  hasPrunes = false
  /** Pauses, orphans and full drills: what is read anew in any case. */
  hasOthers = false

  get isAny(): boolean {
    return this.hasOthers || this.hasPrunes || this.count > 0
  }

  get count(): number {
    return this.folders.size + this.drills.size
  }

  prune({ removed }: Prune): void {
    this.hasPrunes = true
    for (const one of removed) this.folders.add(backupFolder(one))
  }

  add(other: Touched): void {
    for (const folder of other.folders) this.folders.add(folder)
    for (const key of other.drills) this.drills.add(key)
    this.hasPrunes ||= other.hasPrunes
    this.hasOthers ||= other.hasOthers
  }
}

/**
 * What a store holds now and did not before, or the other way round. A backup that is the same as before is put back as it
 * was: whoever goes by it has nothing to do.
 */
export async function touchedBetween(before: StoreContents = emptyContents(), after: StoreContents): Promise<Touched> {
  const touched = new Touched()
  touched.hasOthers = true
  // Of a store that could not be read is kept what was known.
  if (before === after) return touched
  await forEachInSlices(after.backups, ([folder, backup]) => {
    const known = before.backups.get(folder)
    if (known !== undefined && isSame(known, backup)) after.backups.set(folder, known)
    else touched.folders.add(folder)
  })
  await forEachInSlices(before.backups.keys(), (folder) => {
    if (!after.backups.has(folder)) touched.folders.add(folder)
  })
  await forEachInSlices(differing(before.drills, after.drills), ([key]) => touched.drills.add(key))
  await forEachInSlices(differing(before.prunes, after.prunes), ([, prune]) => touched.prune(prune))
  for (const key of [...before.damaged.keys(), ...after.damaged.keys()])
    if (before.damaged.has(key) !== after.damaged.has(key) && key.endsWith(`/${objectNames.manifest}`))
      touched.folders.add(key.slice(0, -objectNames.manifest.length))
  return touched
}

function* differing<V>(before: ReadonlyMap<string, V>, after: ReadonlyMap<string, V>): Generator<[string, V]> {
  for (const [key, value] of after) if (before.get(key) !== value) yield [key, value]
  for (const [key, value] of before) if (after.get(key) !== value) yield [key, value]
}

function isSame(one: StoredBackup, other: StoredBackup): boolean {
  return (
    one.manifestSha256 === other.manifestSha256 &&
    one.storedBytes === other.storedBytes &&
    one.storedAt.getTime() === other.storedAt.getTime() &&
    one.hasSignature === other.hasSignature &&
    one.isDisputed === other.isDisputed &&
    one.faults.length === other.faults.length &&
    one.faults.every((fault, index) => fault === other.faults[index])
  )
}
