import { PgproofError, toPgproofError } from '../errors.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { isBucket, isRefusal, type StoreProbe, tryStep, wasAccepted } from './store-probe.ts'

const refusals = ['STORE_DENIED', 'STORE_LOCKED'] as const

/** What each of several credentials must not be able to do, tried on the probe at `key`. */
export async function checkRights(probe: StoreProbe, key: string): Promise<void> {
  const { settings } = probe
  if (settings.reader !== undefined) await checkReader(probe)
  if (settings.pruner !== undefined) await checkPruner(probe, key)
  // Last, because it may take away what the others look at.
  if (settings.isAppendOnly) await checkAppendOnly(probe, key)
}

/** Whoever takes over the machine that makes backups must not be able to destroy those that there are. */
async function checkAppendOnly(probe: StoreProbe, key: string): Promise<void> {
  const { store, signal } = probe
  const other = Buffer.from('overwritten by pgproof check\n')
  await tryStep(probe, { what: 'the attempt to overwrite', by: 'writer', rights: '' }, async () => {
    // Without any condition: one that the writer sets itself protects from nobody.
    const overwriting = store.writer.probe ?? { overwrite: store.writer.put.bind(store.writer) }
    if (!(await wasAccepted(overwriting.overwrite(key, other, { signal }), refusals))) return 'refusing to overwrite'
    const kept = await versionsOf(probe, key)
    if (kept === undefined || kept.length < 2) {
      const what = kept === undefined ? 'overwrite, and nobody may see whether the earlier version stays' : 'overwrite'
      report(probe, what, isBucket(store.writer) ? mendOverwriting(kept) : mendDirectory)
      return undefined
    }
    const first = kept.at(-1) ?? ''
    if (await canRemoveVersion(probe, key, first))
      report(probe, 'remove the versions that the bucket keeps', 'Take s3:DeleteObjectVersion from them.')
    else
      probe.findings.ok(
        'overwriting hides what is there: the bucket keeps the earlier version, and the writer cannot remove it',
      )
    return undefined
  })
  await tryStep(probe, { what: 'the attempt to delete', by: 'writer', rights: '' }, async () => {
    if (!(await wasAccepted(deletePlainly(store.writer, key, signal), refusals))) return 'refusing the writer’s deletes'
    const isKept = ((await versionsOf(probe, key)) ?? []).length > 0
    // With B2, whoever may write may hide.
    if (isKept && probe.settings.provider === 'b2')
      probe.findings.warn(
        'the credentials for writing can hide objects; what they hide stays as a version',
        'B2 gives that right to whoever may write; what was hidden comes back by removing the hide marker.',
      )
    else if (isKept) report(probe, 'hide objects behind a delete marker', 'Take s3:DeleteObject from them.')
    else report(probe, 'delete', isBucket(store.writer) ? 'Take s3:DeleteObject from them.' : mendDirectory)
    return undefined
  })
}

function mendOverwriting(kept: readonly string[] | undefined): string {
  return kept === undefined
    ? 'Give the credentials for reading or for pruning s3:ListBucketVersions, so that versions can be looked for.'
    : 'Turn on versioning or Object Lock, or let the bucket’s policy demand `If-None-Match` (docs/rights.md).'
}

const mendDirectory =
  'Whoever writes to a directory can change it: use a bucket, or snapshots that another machine takes (docs/rights.md).'

function report({ findings }: StoreProbe, what: string, mend: string): void {
  findings.problem(new PgproofError('STORE_UNPROTECTED', { what, mend }))
}

async function checkReader(probe: StoreProbe): Promise<void> {
  const { store, findings, folder, signal, written } = probe
  const extra = `${folder}reader/manifest.json`
  const can: string[] = []
  if (await may(probe, () => store.reader.put(extra, Buffer.from('x'), { signal }))) {
    written.add(extra)
    can.push('write')
  }
  // A delete of nothing tells as much as one of something, and harms nothing but that a versioned bucket notes it.
  const none = `${folder}reader/none.json`
  if (await may(probe, () => deletePlainly(store.reader, none, signal))) {
    written.add(none)
    can.push('delete')
  }
  if (can.length > 0)
    findings.warn(
      `the credentials for reading can ${can.join(' and ')}`,
      'Drills and restores only read, but for their reports: those are written with the credentials for writing.',
    )
}

async function checkPruner(probe: StoreProbe, key: string): Promise<void> {
  const { store, findings, folder, signal, written } = probe
  const extra = `${folder}pruner/manifest.json`
  const can: string[] = []
  if (await may(probe, () => store.pruner.get(key, { signal }))) can.push('read')
  if (await may(probe, () => store.pruner.put(extra, Buffer.from('x'), { signal }))) {
    written.add(extra)
    can.push('write')
  }
  if (can.length > 0)
    findings.warn(
      `the credentials for pruning can ${can.join(' and ')} objects`,
      'A prune lists and deletes; take the other rights from them (docs/rights.md).',
    )
}

/** Whether a thing that should be refused is done. A failure of another kind says nothing. */
async function may(probe: StoreProbe, attempt: () => Promise<unknown>): Promise<boolean> {
  try {
    await attempt()
    return true
  } catch (error) {
    probe.signal.throwIfAborted()
    if (!isRefusal(error)) probe.findings.warn(...unclear(error))
    return false
  }
}

function unclear(error: unknown): [string, string] {
  const { message, hint } = toPgproofError(error)
  return [`whether the credentials have more rights than they need is unknown: ${message}`, hint]
}

/** Where a store also removes versions, it must first be able to list them; whoever means harm does without. */
async function deletePlainly(store: ObjectStore, key: string, signal: AbortSignal): Promise<void> {
  if (store.probe === undefined) await store.delete(key, { signal })
  else await store.probe.removeVersion(key, undefined, { signal })
}

/** Ids of what is kept of the object, delete markers apart, by the first credentials that may ask; undefined if none may. */
async function versionsOf({ store, signal }: StoreProbe, key: string): Promise<readonly string[] | undefined> {
  for (const { probe } of [store.pruner, store.reader, store.writer]) {
    if (probe === undefined) return []
    try {
      const versions = await probe.versions(key, { signal })
      return versions.filter(({ isMarker }) => !isMarker).map(({ id }) => id)
    } catch {
      signal.throwIfAborted()
    }
  }
  return undefined
}

async function canRemoveVersion({ store, signal }: StoreProbe, key: string, id: string): Promise<boolean> {
  const { probe } = store.writer
  return probe !== undefined && (await wasAccepted(probe.removeVersion(key, id, { signal }), refusals))
}
