import type { DrillReport } from '../domain/drill-report.ts'
import type { Manifest } from '../domain/manifest.ts'
import type { PrunedBackup } from '../domain/prune-record.ts'
import { backupFolder, escapeName, objectNames } from '../storage/object-keys.ts'
import type { StoredBackup } from './contents.ts'
import type { CopiedBackup, MergedContents } from './merge.ts'
import { placeKey } from './place-key.ts'

type Place = { readonly kind: 'database' | 'roles'; readonly server: string; readonly database: string | null }

/** A backup that somebody other than pgproof removed, replaced by another under its label, or put back after a prune. */
export type HistoryGap = Place & {
  readonly label: string
  readonly found: 'removed' | 'replaced' | 'returned'
  /** What remembers it otherwise, each once. */
  readonly witnesses: readonly HistoryWitness[]
}

export type HistoryWitness = {
  /** The manifest of the backup after it, the report of a drill of it, or the record of the prune that removed it. */
  readonly by: 'manifest' | 'drill report' | 'prune record'
  /** Of that backup, drill or prune. */
  readonly label: string
}

/** How the backups of one place hang together. */
export type HistoryChain = Place & {
  readonly backups: number
  /** Manifests that name one before them, and how many of those are in the store or were pruned. */
  readonly links: number
  readonly whole: number
  /** Backups that are gone and of which a prune's record says so. */
  readonly pruned: number
  readonly gaps: number
}

/** What the history is read from. */
export type HistoryContents = Pick<
  MergedContents,
  'backups' | 'drills' | 'prunes' | 'prunedStores' | 'damaged' | 'storedAt'
>

/** What may be another since. */
export type HistoryChanges = {
  /** Of backups that came, went or were replaced, that were damaged or no longer are, and that prunes removed. */
  readonly folders: Iterable<string>
  /** Of drill reports. */
  readonly drills: Iterable<string>
  /** Whether there are records of prunes that were not there, or some are gone. */
  readonly hasPrunes: boolean
}

/**
 * Every manifest names the one before it and its SHA-256, and every drill report the one that it restored and that of the
 * roles: each must be in the store or in a prune's record. So also the newest backup, which none follows, is missed once
 * it was drilled. One that is there and cannot be read is damaged, which is said elsewhere, and not gone.
 */
export class History {
  #contents: HistoryContents
  /** Whether a store could not be read: what is missing may be there. */
  readonly #isPartial: boolean
  #removals: ReadonlyMap<string, readonly Removal[]>
  /** By the folder of the witness, or the key of the report, what it says of others. */
  readonly #says = new Map<string, readonly Testimony[]>()
  /** By the folder of the backup that it is about. */
  readonly #about = new Map<string, readonly Testimony[]>()
  readonly #gapsIn = new Map<string, readonly HistoryGap[]>()
  #gaps: readonly HistoryGap[] | undefined

  constructor(contents: HistoryContents, isPartial = false) {
    this.#contents = contents
    this.#isPartial = isPartial
    this.#removals = readRemovals(contents)
    for (const [folder, { manifest }] of contents.backups) this.#hear(folder, ofManifest(manifest))
    for (const [key, report] of contents.drills) this.#hear(key, ofReport(report))
    for (const folder of new Set([...this.#about.keys(), ...contents.backups.keys()])) this.#judge(folder)
  }

  update(contents: HistoryContents, { folders, drills, hasPrunes }: HistoryChanges): void {
    this.#contents = contents
    if (hasPrunes) this.#removals = readRemovals(contents)
    const judged = new Set<string>()
    const hear = (witness: string, says: readonly Testimony[]): void => {
      for (const { folder } of [...(this.#says.get(witness) ?? []), ...says]) judged.add(folder)
      this.#hear(witness, says)
    }
    for (const folder of folders) {
      judged.add(folder)
      hear(folder, ofManifest(contents.backups.get(folder)?.manifest))
    }
    for (const key of drills) hear(key, ofReport(contents.drills.get(key)))
    for (const folder of judged) this.#judge(folder)
  }

  /** In order of their labels. */
  gaps(): readonly HistoryGap[] {
    this.#gaps ??= [...this.#gapsIn.values()]
      .flat()
      .sort((a, b) => compare(a.label, b.label) || compare(placeOf(a), placeOf(b)) || compare(a.found, b.found))
    return this.#gaps
  }

  /** In order of their names. */
  chains(): readonly HistoryChain[] {
    const chains = new Map<string, Mutable<HistoryChain>>()
    const chainOf = ({ kind, server, database }: Place): Mutable<HistoryChain> => {
      const key = placeOf({ kind, server, database })
      const chain = chains.get(key) ?? { kind, server, database, backups: 0, links: 0, whole: 0, pruned: 0, gaps: 0 }
      chains.set(key, chain)
      return chain
    }
    for (const { manifest, folder } of this.#contents.backups.values()) {
      const chain = chainOf(manifest)
      chain.backups += 1
      for (const testimony of this.#says.get(folder) ?? []) {
        chain.links += 1
        if (this.#standingOf(testimony) === 'held') chain.whole += 1
      }
    }
    for (const [folder, removals] of this.#removals) {
      const stored = this.#contents.backups.get(folder)?.manifestSha256
      for (const [sha256, [removal]] of bySha256(removals))
        if (removal !== undefined && sha256 !== stored) chainOf(removal.backup).pruned += 1
    }
    for (const gap of this.gaps()) chainOf(gap).gaps += 1
    const prefixed = [...chains.values()].map((chain) => [chainName(chain), chain] as const)
    return prefixed.sort(([a], [b]) => compare(a, b)).map(([, chain]) => chain)
  }

  /** What that witness says from now on. */
  #hear(witness: string, says: readonly Testimony[]): void {
    for (const before of this.#says.get(witness) ?? []) {
      const others = (this.#about.get(before.folder) ?? []).filter((one) => one !== before)
      if (others.length > 0) this.#about.set(before.folder, others)
      else this.#about.delete(before.folder)
    }
    if (says.length > 0) this.#says.set(witness, says)
    else this.#says.delete(witness)
    for (const one of says) {
      const others = this.#about.get(one.folder)
      if (others === undefined) this.#about.set(one.folder, [one])
      else this.#about.set(one.folder, [...others, one])
    }
  }

  #judge(folder: string): void {
    const about = this.#about.get(folder) ?? []
    // So it is with nearly all.
    const isAsRemembered = !this.#removals.has(folder) && about.every((one) => this.#standingOf(one) === 'held')
    if (isAsRemembered && !this.#gapsIn.has(folder)) return
    const found = new Map<HistoryGap['found'], Gap>()
    const add = (what: HistoryGap['found'], place: Place, label: string, witness: HistoryWitness): void => {
      const gap = found.get(what)
      const { kind, server, database } = place
      if (gap !== undefined) gap.witnesses.push(witness)
      else found.set(what, { kind, server, database, label, found: what, witnesses: [witness] })
    }
    for (const testimony of about) {
      const standing = this.#standingOf(testimony)
      if (standing === 'removed' || standing === 'replaced')
        add(standing, testimony.place, testimony.label, testimony.witness)
    }
    const backup = this.#contents.backups.get(folder)
    const removal = backup === undefined ? undefined : this.#takenBack(backup)
    if (backup !== undefined && removal !== undefined)
      add('returned', backup.manifest, backup.manifest.label, { by: 'prune record', label: removal.label })
    if (found.size === 0 && !this.#gapsIn.has(folder)) return
    for (const { witnesses } of found.values()) witnesses.sort(byKind)
    if (found.size === 0) this.#gapsIn.delete(folder)
    else this.#gapsIn.set(folder, [...found.values()])
    this.#gaps = undefined
  }

  #standingOf({ folder, sha256 }: Testimony): 'held' | 'replaced' | 'removed' | 'unknown' {
    const stored = this.#contents.backups.get(folder)?.manifestSha256
    if (
      stored === sha256 ||
      this.#removals.get(folder)?.some(({ backup }) => backup.manifestSha256 === sha256) === true
    )
      return 'held'
    if (stored !== undefined) return 'replaced'
    return this.#isPartial || this.#contents.damaged.has(`${folder}${objectNames.manifest}`) ? 'unknown' : 'removed'
  }

  /** The removal after which it is there again. Under a label that was pruned nothing may come back, be it another backup. */
  #takenBack(backup: CopiedBackup): Removal | undefined {
    const removals = this.#removals.get(backup.folder)
    if (removals === undefined) return undefined
    const ofEach = bySha256(removals)
    const same = ofEach.get(backup.manifestSha256)
    if (same !== undefined) return same.find((one) => cameBack(backup, one))
    const other = [...ofEach.values()].at(-1)?.at(-1)
    return other !== undefined && isAfter(backup, other) ? other : undefined
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
type Gap = Omit<HistoryGap, 'witnesses'> & { readonly witnesses: HistoryWitness[] }

/** What somebody remembers: that in this folder there is, or was, a backup with this manifest. */
type Testimony = {
  readonly folder: string
  readonly sha256: string
  readonly place: Place
  readonly label: string
  readonly witness: HistoryWitness
}

function ofManifest(manifest: Manifest | undefined): readonly Testimony[] {
  if (manifest === undefined || manifest.previous === null) return []
  const { kind, server, database, previous } = manifest
  const place = { kind, server, database }
  return [testimonyOf(place, previous.label, previous.sha256, { by: 'manifest', label: manifest.label })]
}

function ofReport(report: DrillReport | undefined): readonly Testimony[] {
  if (report === undefined) return []
  const { server, database, label, backup, rolesBackup } = report
  const witness = { by: 'drill report', label } as const
  const place = { kind: 'database', server, database } as const
  const drilled = testimonyOf(place, backup.label, backup.manifestSha256, witness)
  if (rolesBackup === null) return [drilled]
  const roles = { kind: 'roles', server, database: null } as const
  return [drilled, testimonyOf(roles, rolesBackup.label, rolesBackup.manifestSha256, witness)]
}

function testimonyOf(place: Place, label: string, sha256: string, witness: HistoryWitness): Testimony {
  return { folder: folderOf(place, label), sha256, place, label, witness }
}

/** Manifests before drill reports before records of prunes. */
function byKind(one: HistoryWitness, other: HistoryWitness): number {
  const kinds = ['manifest', 'drill report', 'prune record']
  return kinds.indexOf(one.by) - kinds.indexOf(other.by) || compare(one.label, other.label)
}

/** Of the first prune that recorded it: what could not be removed then, the next one records again. */
type Removal = {
  readonly backup: PrunedBackup
  /** Of the prune. */
  readonly label: string
  readonly storedAt: Date | null
  /** From which it was removed. */
  readonly stores: readonly string[]
}

/** What prunes removed, by folder and oldest first; several where several stores were pruned. */
function readRemovals({
  prunes,
  prunedStores,
  storedAt,
}: Pick<HistoryContents, 'prunes' | 'prunedStores' | 'storedAt'>): ReadonlyMap<string, readonly Removal[]> {
  const removals = new Map<string, Removal[]>()
  /** By folder and SHA-256, and only meanwhile: somebody may have written a record that names one folder without end. */
  const ofBackups = new Map<string, Removal[]>()
  const oldestFirst = [...prunes].sort(([a], [b]) => compare(a, b))
  for (const [key, { removed, label }] of oldestFirst)
    for (const backup of removed) {
      const folder = folderOf(backup, backup.label)
      const same = ofBackups.get(`${folder}${backup.manifestSha256}`) ?? []
      const pruned = prunedStores.get(key) ?? []
      const stores =
        same.length === 0 ? pruned : pruned.filter((store) => !same.some((one) => one.stores.includes(store)))
      if (stores.length === 0) continue
      const removal = { backup, label, storedAt: storedAt(key), stores }
      append(ofBackups, `${folder}${backup.manifestSha256}`, removal)
      append(removals, folder, removal)
    }
  return removals
}

function append<V>(lists: Map<string, V[]>, key: string, value: V): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}

/** Those of each backup that was in a folder. */
function bySha256(removals: readonly Removal[]): ReadonlyMap<string, readonly Removal[]> {
  return Map.groupBy(removals, ({ backup }) => backup.manifestSha256)
}

/** A copy in a store that had pruned it. What another store keeps, and a sync brings to a third, has not come back. */
function cameBack({ copies }: CopiedBackup, removal: Removal): boolean {
  return copies.some((copy) => removal.stores.includes(copy.store) && isAfter(copy, removal))
}

/** A manifest written after the record that it goes, by the store's own clock. */
function isAfter({ storedAt }: Pick<StoredBackup, 'storedAt'>, removal: Removal): boolean {
  return removal.storedAt !== null && storedAt > removal.storedAt
}

function folderOf({ kind, server, database }: Place, label: string): string {
  return backupFolder({ kind, server, database, label })
}

function placeOf({ kind, server, database }: Place): string {
  return placeKey(kind, server, database)
}

function chainName({ kind, server, database }: Place): string {
  return `${kind}/${escapeName(server)}/${database === null ? '' : escapeName(database)}`
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
