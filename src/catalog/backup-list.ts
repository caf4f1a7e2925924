import type { DrillReport } from '../domain/drill-report.ts'
import type { Manifest } from '../domain/manifest.ts'
import type { CopiedBackup } from './merge.ts'
import { onceForEach } from './once-for-each.ts'
import { placeKey } from './place-key.ts'
import { type Proof, proofOf } from './proof.ts'
import { patchedGroups, patchedList } from './sorted-list.ts'

/** A backup in the stores, with what is proven of it. */
export type CatalogBackup = CopiedBackup & Proof & { readonly snapshotTime: Date }

export type OrderedBackups = {
  /** Newest first, as every list here. */
  readonly backups: readonly CatalogBackup[]
  readonly backupsByPlace: ReadonlyMap<string, readonly CatalogBackup[]>
}

/** What is seen of the backups: in all stores together, or in one of them. */
export type BackupSight = {
  readonly backupIn: (folder: string) => CopiedBackup | undefined
  /** The reports that count for the backup in that folder, oldest first. */
  readonly reportsOf: (folder: string) => readonly DrillReport[]
}

/** Ten thousand backups, newest first. A change is about a few of them: the others stay where they are. */
export class BackupList implements OrderedBackups {
  readonly #sight: BackupSight
  readonly #byFolder = new Map<string, Seen>()
  #backups: readonly CatalogBackup[]
  #byPlace: ReadonlyMap<string, readonly CatalogBackup[]>

  constructor(sight: BackupSight, folders: Iterable<string>) {
    this.#sight = sight
    for (const folder of folders) {
      const copied = sight.backupIn(folder)
      if (copied !== undefined) this.#byFolder.set(folder, seenAs(copied, proofOf(copied, sight.reportsOf(folder))))
    }
    this.#backups = Array.from(this.#byFolder.values(), ({ backup }) => backup).sort(newestFirst)
    this.#byPlace = Map.groupBy(this.#backups, placeOf)
  }

  get backups(): readonly CatalogBackup[] {
    return this.#backups
  }

  get backupsByPlace(): ReadonlyMap<string, readonly CatalogBackup[]> {
    return this.#byPlace
  }

  in(folder: string): CatalogBackup | undefined {
    return this.#byFolder.get(folder)?.backup
  }

  /** Looks again at the backups in these folders. */
  update(folders: Iterable<string>): void {
    const gone = new Set<CatalogBackup>()
    const added: CatalogBackup[] = []
    for (const folder of folders) {
      const before = this.#byFolder.get(folder)
      const copied = this.#sight.backupIn(folder)
      const proof = copied === undefined ? undefined : proofOf(copied, this.#sight.reportsOf(folder))
      if (before?.copied === copied && (proof === undefined || isSameProof(before?.backup, proof))) continue
      if (before !== undefined) gone.add(before.backup)
      this.#byFolder.delete(folder)
      if (copied === undefined || proof === undefined) continue
      const seen = seenAs(copied, proof)
      this.#byFolder.set(folder, seen)
      added.push(seen.backup)
    }
    this.#backups = patchedList(this.#backups, gone, added, newestFirst)
    this.#byPlace = patchedGroups(this.#byPlace, gone, added, newestFirst, placeOf)
  }
}

type Seen = { readonly copied: CopiedBackup; readonly backup: CatalogBackup }

function seenAs(copied: CopiedBackup, proof: Proof): Seen {
  const { snapshotTime } = readManifest(copied.manifest)
  return { copied, backup: { ...copied, ...proof, snapshotTime } }
}

function isSameProof(one: Proof | undefined, other: Proof): boolean {
  return (
    one !== undefined &&
    one.verifiedAt?.getTime() === other.verifiedAt?.getTime() &&
    one.lastDrilledAt?.getTime() === other.lastDrilledAt?.getTime() &&
    one.lastVerdict === other.lastVerdict &&
    one.isKnownBad === other.isKnownBad
  )
}

function newestFirst(one: CatalogBackup, other: CatalogBackup): number {
  return other.snapshotTime.getTime() - one.snapshotTime.getTime() || (one.folder < other.folder ? 1 : -1)
}

function placeOf({ manifest }: CatalogBackup): string {
  return readManifest(manifest).place
}

/** What the order goes by. The manifest of a backup stays the same object from one reading of the store to the next. */
const readManifest = onceForEach(({ kind, server, database, snapshotTime }: Manifest) => {
  return { snapshotTime: new Date(snapshotTime), place: placeKey(kind, server, database) }
})
