import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { StoreConfig } from '../config/config.ts'
import { PgproofError } from '../errors.ts'
import { checksPrefix } from '../storage/object-keys.ts'
import type { Deletion } from '../storage/object-store.ts'
import type { NamedStore } from '../storage/store-set.ts'
import { checkLargeObjects } from './check-store-large.ts'
import { checkRights } from './check-store-rights.ts'
import type { Findings } from './findings.ts'
import { freeVersions, isRefusal, type StoreProbe, tryStep, wasAccepted, writeRights } from './store-probe.ts'

/**
 * Writes, reads, lists and deletes in one store as backups, drills and prunes do: what a store can do and what its
 * credentials may do is known only by doing it. Goes on after what fails unless nothing else could work, and removes what
 * it wrote.
 */
export async function checkStore(
  store: NamedStore,
  settings: StoreConfig,
  { findings, clock }: { readonly findings: Findings; readonly clock: Clock },
  signal: AbortSignal,
): Promise<void> {
  const folder = `${checksPrefix}${randomUUID()}/`
  const probe = { store, settings, findings, clock, signal, folder, written: new Set<string>(), works: [] }
  try {
    await lookAt(probe)
  } finally {
    await removeWritten(probe)
  }
}

async function lookAt(probe: StoreProbe): Promise<void> {
  const { store, settings, findings, works } = probe
  if (await checkSmallObject(probe)) {
    await checkRights(probe, smallKey(probe))
    const removal = await checkRemoval(probe)
    await checkLargeObjects(probe, removal)
  }
  if (works.length > 0) findings.ok(`${store.writer.url}: ${enumerate(works)} ${works.length === 1 ? 'works' : 'work'}`)
  for (const skew of new Set([store.writer, store.reader, store.pruner].map((one) => one.clockSkewSeconds() ?? 0))) {
    if (Math.abs(skew) <= 60) continue
    findings.warn(
      `the store's clock differs by ${Math.round(skew)} s`,
      'Set the clock of this machine (NTP); S3 refuses requests beyond 15 minutes.',
    )
    break
  }
  if (settings.isAppendOnly && settings.pruner === undefined)
    findings.warn(
      '`appendOnly` is set and there are no credentials for pruning: nothing is ever removed, not even the probe of a check',
      'Give `pruner` credentials where prunes run; docs/rights.md has a policy for them.',
    )
}

const body = Buffer.from('pgproof check\n')

function smallKey({ folder }: StoreProbe): string {
  return `${folder}manifest.json`
}

/** Whether the object is there, so that more can be tried with it. */
async function checkSmallObject(probe: StoreProbe): Promise<boolean> {
  const { signal, store, written } = probe
  const key = smallKey(probe)
  const put = { what: 'a write', by: 'writer', rights: writeRights(probe) } as const
  const isWritten = await tryStep(probe, put, async () => {
    written.add(key)
    await store.writer.put(key, body, { signal, ifAbsent: true })
    return 'writing'
  })
  await tryStep(probe, { what: 'a listing', by: 'reader', rights: 's3:ListBucket' }, async () => {
    const keys: string[] = []
    for await (const info of store.reader.list(probe.folder, { signal })) keys.push(info.key)
    if (isWritten && !keys.includes(key)) throw new Error('what was just written is missing in it')
    return 'listing'
  })
  if (!isWritten) return false

  await tryStep(probe, { ...put, what: 'a write of a key that is taken' }, async () => {
    if (await wasAccepted(store.writer.put(key, body, { signal, ifAbsent: true }), ['STORE_EXISTS']))
      throw new Error('the store accepted it')
    return 'refusing a key that is taken'
  })
  await tryStep(probe, { what: 'reading', by: 'reader', rights: 's3:GetObject' }, async () => {
    const head = await store.reader.head(key, { signal })
    if (head?.bytes !== body.length) throw new Error(`the store tells ${head?.bytes ?? 'no'} bytes of ${body.length}`)
    const read = await store.reader.get(key, { signal })
    if (Buffer.compare(Buffer.from(read), body) !== 0) throw new Error('what was written came back changed')
    return 'reading'
  })
  return true
}

/** Whether what the check writes can be removed without a trace. */
async function checkRemoval(probe: StoreProbe): Promise<boolean> {
  const { store, settings, findings, signal, written } = probe
  const key = smallKey(probe)
  // Nobody is to remove anything: known, and said once.
  if (settings.isAppendOnly && settings.pruner === undefined) return false
  const removal = { what: 'a delete', by: 'pruner', rights: 's3:DeleteObject' } as const
  let outcome = 'freed' as Deletion | 'locked'
  const isDone = await tryStep(probe, removal, async () => {
    outcome = await store.pruner.delete(key, { signal }).catch((error: unknown) => {
      // A bucket can have a lock of its own, whatever the configuration says.
      if (isRefusal(error) && (settings.objectLock !== undefined || error.code === 'STORE_LOCKED')) return 'locked'
      throw error
    })
    if (outcome !== 'locked' && (await store.reader.head(key, { signal })) !== undefined)
      throw new Error('the object is still there afterwards')
    return 'deleting'
  })
  if (!isDone) return false
  const isFreed = await freeVersions(probe, key)
  if (settings.objectLock !== undefined || outcome === 'locked') {
    written.delete(key)
    reportLock(probe, isFreed && outcome !== 'locked')
    return false
  }
  if (outcome === 'freed') return true
  const isWanted = settings.isAppendOnly || settings.versions === 'remove'
  const message = 'the bucket keeps versions: what is overwritten or deleted stays, and a prune frees nothing by itself'
  if (isWanted) findings.ok(message)
  else
    findings.warn(
      message,
      'Set `versions: remove`, or a lifecycle rule of the bucket that expires noncurrent versions; else it only grows.',
    )
  if (!isFreed) written.delete(key)
  return isFreed
}

function reportLock({ findings, settings, clock }: StoreProbe, isFreed: boolean): void {
  if (isFreed) {
    const reason = 'what was written under a lock could be removed at once'
    const mend = 'Create the bucket with Object Lock, and let nobody here have s3:BypassGovernanceRetention.'
    findings.problem(new PgproofError('STORE_CHECK_FAILED', { what: 'Object Lock', reason, mend }))
    return
  }
  const until =
    settings.objectLock === undefined
      ? 'that ends'
      : `${new Date(clock.now().getTime() + settings.objectLock.forMs).toISOString().slice(0, 16)}Z`
  findings.ok(`Object Lock holds what is written; a probe of ${body.length} bytes stays until ${until}`)
}

/** How long the cleaning up after a failure or an abort may take, in milliseconds. */
const cleanUpMs = 30_000

async function removeWritten(probe: StoreProbe): Promise<void> {
  const { store, written } = probe
  // Whoever cancels the check does not want the probes to stay.
  const signal = probe.signal.aborted ? AbortSignal.timeout(cleanUpMs) : probe.signal
  for (const key of written) {
    try {
      await store.pruner.delete(key, { signal })
      await freeVersions({ ...probe, signal }, key)
    } catch {
      // That nothing can be deleted is a finding already, or the check was cancelled.
    }
  }
}

function enumerate(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`
}
