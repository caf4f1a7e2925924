import { type BackupPlace, drillsPrefix, fullDrillsPrefix, isOwnName } from '../storage/object-keys.ts'
import type { ObjectInfo } from '../storage/object-store.ts'
import { type FullDrillPlace, placeOfFullDrill, placesOfFolders } from './places.ts'

/** What a listing shows, sorted as it comes: a store is slower to list than its objects are to sort. */
export class Listed {
  readonly fullDrills: FullDrillPlace[] = []
  /** Everything below `drills/`. */
  readonly drillKeys = new Set<string>()
  /** By its key, which ends in a slash; undefined for one that is of no backup. */
  readonly folders = new Map<string, ListedFolder | undefined>()
  readonly #placeOf = placesOfFolders()
  #last: { readonly name: string; readonly folder: ListedFolder | undefined } | undefined

  add(info: ObjectInfo): void {
    const { key } = info
    if (key.startsWith(drillsPrefix)) this.drillKeys.add(key)
    const drilled = key.startsWith(fullDrillsPrefix) ? placeOfFullDrill(key) : undefined
    if (drilled !== undefined) this.fullDrills.push(drilled)
    const end = key.lastIndexOf('/') + 1
    if (!isOwnName(key.slice(end))) return
    this.#folderOf(key, end)?.put(info)
  }

  /** The objects of a folder mostly follow one another. */
  #folderOf(key: string, end: number): ListedFolder | undefined {
    if (this.#last?.name.length === end && key.startsWith(this.#last.name)) return this.#last.folder
    const name = key.slice(0, end)
    if (!this.folders.has(name)) {
      const place = this.#placeOf(name)
      this.folders.set(name, place === undefined ? undefined : new ListedFolder(name, place))
    }
    this.#last = { name, folder: this.folders.get(name) }
    return this.#last.folder
  }
}

/** The objects of one backup. */
export class ListedFolder {
  readonly place: BackupPlace
  /** So few that to look through them is cheaper than any index. */
  readonly objects: ObjectInfo[] = []
  readonly #name: string

  constructor(name: string, place: BackupPlace) {
    this.#name = name
    this.place = place
  }

  find(object: string): ObjectInfo | undefined {
    const length = this.#name.length + object.length
    return this.objects.find(({ key }) => key.length === length && key.endsWith(object))
  }

  /** Listed twice, the second counts. */
  put(info: ObjectInfo): void {
    const before = this.objects.findIndex(({ key }) => key === info.key)
    if (before === -1) this.objects.push(info)
    else this.objects[before] = info
  }
}
