import { createHash } from 'node:crypto'
import { assertNotAborted, PgproofError, rethrowUnless } from '../errors.ts'
import { backupFolder, objectNames } from '../storage/object-keys.ts'
import type { StoreReader } from '../storage/store-set.ts'
import type { StoreContents, StoredBackup } from './contents.ts'
import type { ReportTrust } from './read-document.ts'

/** One store that was just read. */
export type ReadStore = { readonly name: string; readonly reader: StoreReader; readonly contents: StoreContents }

/**
 * Where stores hold different manifests of one backup, one of them is not what pgproof wrote. A signature, the backup after
 * it or a drill may tell which; that copy, or each if nothing tells, gets a fault and is among the damaged. Nobody writes over
 * any of them: what told may have been put there as well.
 */
export async function settleManifests(
  stores: readonly ReadStore[],
  trust: ReportTrust | null,
  signal: AbortSignal,
): Promise<void> {
  const disputes = disputesAmong(stores)
  if (disputes.size === 0) return
  const witnesses = witnessesOf(new Set(disputes.keys()), stores)
  for (const [folder, copies] of disputes) {
    const signed = trust === null ? new Set<string>() : await signedAmong(copies, trust, signal)
    const told = only(signed, 'a trusted signer signed that one') ?? testimony(folder, copies, witnesses, signed)
    for (const copy of copies) if (copy.backup.manifestSha256 !== told?.sha256) dispute(copy, copies, told)
  }
}

type Copy = ReadStore & { readonly backup: StoredBackup }
type Told = { readonly sha256: string; readonly why: string }

function disputesAmong(stores: readonly ReadStore[]): ReadonlyMap<string, readonly Copy[]> {
  const first = new Map<string, string>()
  const disputed = new Set<string>()
  for (const { contents } of stores)
    for (const [folder, { manifestSha256 }] of contents.backups) {
      const known = first.get(folder)
      if (known === undefined) first.set(folder, manifestSha256)
      else if (known !== manifestSha256) disputed.add(folder)
    }
  const copiesOf = (folder: string): readonly Copy[] =>
    stores.flatMap((store) => {
      const backup = store.contents.backups.get(folder)
      return backup === undefined ? [] : [{ ...store, backup }]
    })
  return new Map([...disputed].map((folder) => [folder, copiesOf(folder)]))
}

/** By folder and SHA-256, who speaks for that manifest. What is disputed itself is no witness. */
function witnessesOf(disputed: ReadonlySet<string>, stores: readonly ReadStore[]): ReadonlyMap<string, string> {
  const witnesses = new Map<string, string>()
  const add = (folder: string, sha256: string, why: string): void => {
    if (disputed.has(folder) && !witnesses.has(folder + sha256)) witnesses.set(folder + sha256, why)
  }
  for (const { contents } of stores) {
    for (const [folder, { manifest }] of contents.backups) {
      const { kind, server, database, previous, label } = manifest
      if (previous === null || disputed.has(folder)) continue
      const before = backupFolder({ kind, server, database, label: previous.label })
      add(before, previous.sha256, `backup ${label}, which came after it, names that one`)
    }
    for (const { server, database, label, verdict, backup } of contents.drills.values()) {
      if (verdict !== 'passed') continue
      const folder = backupFolder({ kind: 'database', server, database, label: backup.label })
      add(folder, backup.manifestSha256, `drill ${label} found that one to be right`)
    }
  }
  return witnesses
}

/** The one manifest that is spoken for; among those that are signed, if several are. */
function testimony(
  folder: string,
  copies: readonly Copy[],
  witnesses: ReadonlyMap<string, string>,
  signed: ReadonlySet<string>,
): Told | undefined {
  const candidates = new Set(copies.map(({ backup }) => backup.manifestSha256))
  const told = [...candidates].flatMap((sha256): Told[] => {
    const why = witnesses.get(folder + sha256)
    return why === undefined || (signed.size > 0 && !signed.has(sha256)) ? [] : [{ sha256, why }]
  })
  return told.length === 1 ? told[0] : undefined
}

function only(signed: ReadonlySet<string>, why: string): Told | undefined {
  const [sha256] = signed
  return sha256 === undefined || signed.size > 1 ? undefined : { sha256, why }
}

async function signedAmong(
  copies: readonly Copy[],
  trust: ReportTrust,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const signed = new Set<string>()
  for (const { reader, backup } of copies) {
    const key = `${backup.folder}${objectNames.manifest}`
    try {
      const bytes = await reader.get(key, { signal, maxBytes: mostBytes })
      const signature = await reader.get(`${backup.folder}${objectNames.signature}`, { signal, maxBytes: mostBytes })
      await trust.verify(bytes, signature, key)
      if (createHash('sha256').update(bytes).digest('hex') === backup.manifestSha256) signed.add(backup.manifestSha256)
    } catch (error) {
      assertNotAborted(signal)
      rethrowUnless(error, PgproofError)
    }
  }
  return signed
}

const mostBytes = 1 << 20

function dispute({ name, contents, backup }: Copy, copies: readonly Copy[], told: Told | undefined): void {
  const { folder, manifest, manifestSha256, storedAt } = backup
  const others = copies.filter((copy) => copy.backup.manifestSha256 !== manifestSha256)
  const trueOnes = others.filter((copy) => copy.backup.manifestSha256 === told?.sha256)
  const stores = (told === undefined ? others : trueOnes).map((copy) => copy.name).join(' and ')
  const why = told?.why ?? 'nothing tells which is the true one'
  const reason = `store ${stores} has another one than store ${name}, and ${why}`
  contents.backups.set(folder, { ...backup, isDisputed: true, faults: [...backup.faults, `its manifest: ${reason}`] })
  const key = `${folder}${objectNames.manifest}`
  const error = new PgproofError('MANIFESTS_DIFFER', { label: manifest.label, reason })
  contents.damaged.set(key, { key, bytes: 0, modifiedAt: storedAt, error })
}
