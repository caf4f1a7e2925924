import type { DrillReport } from '../domain/drill-report.ts'
import type { Prune } from '../domain/prune-record.ts'
import { backupFolder } from '../storage/object-keys.ts'
import { BackupList, type BackupSight, type CatalogBackup } from './backup-list.ts'
import { emptyContents, type StoreContents } from './contents.ts'
import { sightOfStore } from './copy-sight.ts'
import { DrillIndex } from './drill-index.ts'
import { History } from './history.ts'
import { type CopiedBackup, type MergedContents, mergeBackup, mergeContents } from './merge.ts'
import { type StoreView, viewStore } from './store-view.ts'
import { Touched } from './touched.ts'
import { type BackupFilter, type CatalogView, isOf } from './view.ts'

/**
 * What follows from the contents of all stores: the backups in order with what is proven of them, and their history. Worked
 * out when it is asked for; then each change only for what it is about, because answers wait for that.
 */
export class Overview {
  #stores: ReadonlyMap<string, StoreContents> = new Map()
  #isPartial = false
  #touched = new Touched()
  #built: Built | undefined
  #view: CatalogView | undefined
  #prunes: readonly Prune[] | undefined
  #history: History | undefined
  /** Of single stores, where they differ from what is seen in all. */
  readonly #listsOf = new Map<string, BackupList>()
  readonly #storeViews = new Map<string, StoreView>()

  /** What the stores hold from now on; with `touched`, where it is something else than before. */
  show(stores: ReadonlyMap<string, StoreContents>, isPartial: boolean, touched?: Touched): void {
    const isOther = [...stores.keys()].join('\n') !== [...this.#stores.keys()].join('\n')
    this.#stores = stores
    if (isPartial !== this.#isPartial) this.#history = undefined
    this.#isPartial = isPartial
    if (touched === undefined || isOther) this.#forget()
    else this.touch(touched)
  }

  /** Something in the stores has changed. */
  touch(touched: Touched): void {
    this.#touched.add(touched)
  }

  all(): MergedContents {
    return this.#settled().merged
  }

  /** Newest first; another list whenever a backup, a drill or a record has changed. */
  prunes(): readonly Prune[] {
    const { merged } = this.#settled()
    this.#prunes ??= [...merged.prunes.values()].sort((a, b) => (a.label < b.label ? 1 : -1))
    return this.#prunes
  }

  view(): CatalogView {
    const { list, drills } = this.#settled()
    this.#view ??= {
      backups: list.backups,
      backupsByPlace: list.backupsByPlace,
      drills: drills.newestFirst,
      drillsByPlace: drills.byPlace,
    }
    return this.#view
  }

  /** The backups of that label; one at most where `place` leaves nothing open. */
  labelled(label: string, place: BackupFilter): readonly CatalogBackup[] {
    const { kind, server, database } = place
    const isRoles = kind === 'roles' && database === undefined
    if (server === undefined || (database === undefined) !== isRoles)
      return this.view().backups.filter(({ manifest }) => manifest.label === label && isOf(manifest, place))
    const folder = backupFolder({ kind: isRoles ? 'roles' : 'database', server, database: database ?? null, label })
    const backup = this.#settled().list.in(folder)
    return backup === undefined || !isOf(backup.manifest, place) ? [] : [backup]
  }

  history(): History {
    const { merged } = this.#settled()
    this.#history ??= new History(merged, this.#isPartial)
    return this.#history
  }

  inStore(name: string): StoreView {
    this.#settled()
    const known = this.#storeViews.get(name)
    if (known !== undefined) return known
    const contents = this.#stores.get(name) ?? emptyContents()
    const view = viewStore(contents, () => {
      const { backups, backupsByPlace } = this.#listIn(name)
      return { backups, backupsByPlace }
    })
    this.#storeViews.set(name, view)
    return view
  }

  /** A drill of a copy in a store that is gone, or had another name, says something else in a store that is alone. */
  #listIn(name: string): BackupList {
    const { list, drills, backups } = this.#settled()
    // Those of now, whenever the view was made: they are patched from here on.
    const contents = this.#stores.get(name) ?? emptyContents()
    const isAlone = this.#stores.size === 1 && this.#stores.has(name)
    if (isAlone && [...contents.drills.values()].every((report) => report.store === name)) return list
    const known =
      this.#listsOf.get(name) ??
      new BackupList(sightOfStore(name, sightOfAll(backups, drills)), contents.backups.keys())
    this.#listsOf.set(name, known)
    return known
  }

  #settled(): Built {
    const touched = this.#touched
    const before = this.#built
    if (before !== undefined && !touched.isAny) return before
    // Half patched it must not be used: from here until all is done there is none.
    this.#built = undefined
    if (before === undefined || touched.count > manyTouched) {
      this.#forget()
      this.#built = build(this.#stores)
      return this.#built
    }
    this.#touched = new Touched()
    this.#storeViews.clear()
    this.#built = this.#patched(before, touched)
    return this.#built
  }

  #patched(built: Built, touched: Touched): Built {
    const { backups, drills, list } = built
    for (const folder of touched.folders) setOrDelete(backups, folder, mergeBackup(folder, this.#stores))
    const [only, ...others] = this.#stores.values()
    const reports = only !== undefined && others.length === 0 ? only.drills : new Map(built.merged.drills)
    if (others.length > 0) for (const key of touched.drills) setOrDelete(reports, key, firstWith(this.#stores, key))
    const merged = mergeContents(this.#stores, { backups, drills: reports })
    const before = [list.backups, drills.newestFirst]
    const about = drills.withDrilledTogether(touched.folders)
    const folders = new Set([...about, ...drills.update(touched.drills, reports)])
    for (const one of [list, ...this.#listsOf.values()]) one.update(folders)
    if (before[0] !== list.backups || before[1] !== drills.newestFirst) this.#view = undefined
    if (touched.count > 0 || touched.hasPrunes) this.#prunes = undefined
    this.#history?.update(merged, { folders, drills: touched.drills, hasPrunes: touched.hasPrunes })
    return { ...built, merged }
  }

  #forget(): void {
    this.#touched = new Touched()
    this.#built = undefined
    this.#view = undefined
    this.#prunes = undefined
    this.#history = undefined
    this.#listsOf.clear()
    this.#storeViews.clear()
  }
}

type Built = {
  readonly merged: MergedContents
  /** Those of `merged`, to be patched. */
  readonly backups: Map<string, CopiedBackup>
  readonly drills: DrillIndex
  readonly list: BackupList
}

/** To put so many in their places takes as long as to put everything in order. */
const manyTouched = 2000

function build(stores: ReadonlyMap<string, StoreContents>): Built {
  const merged = mergeContents(stores)
  const backups = new Map(merged.backups)
  const drills = new DrillIndex(merged.drills)
  const list = new BackupList(sightOfAll(backups, drills), backups.keys())
  return { merged: { ...merged, backups }, backups, drills, list }
}

function sightOfAll(backups: ReadonlyMap<string, CopiedBackup>, drills: DrillIndex): BackupSight {
  return { backupIn: (folder) => backups.get(folder), reportsOf: (folder) => drills.of(folder) }
}

function firstWith(stores: ReadonlyMap<string, StoreContents>, key: string): DrillReport | undefined {
  for (const { drills } of stores.values()) if (drills.has(key)) return drills.get(key)
  return undefined
}

function setOrDelete<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key)
  else map.set(key, value)
}
