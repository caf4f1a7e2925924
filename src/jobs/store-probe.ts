import type { Clock } from '../clock.ts'
import type { StoreConfig } from '../config/config.ts'
import { type ErrorCode, PgproofError, reasonOf, toPgproofError } from '../errors.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import type { NamedStore } from '../storage/store-set.ts'
import type { Findings } from './findings.ts'

/** One store that is looked at, and the folder in it that the check writes to. */
export type StoreProbe = {
  readonly store: NamedStore
  readonly settings: StoreConfig
  readonly findings: Findings
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Ends in a slash. Names below it end as those of a backup do, so that rights given by a pattern count. */
  readonly folder: string
  /** Keys that may be there. */
  readonly written: Set<string>
  /** What worked, in words for the summary. */
  readonly works: string[]
}

/** Whose rights a step needs. */
export type Credentials = 'writer' | 'reader' | 'pruner'

/** What a step does, who does it, and which rights that takes in S3's own names. */
export type Step = { readonly what: string; readonly by: Credentials; readonly rights: string }

/** What writing takes, by what the configuration asks for. */
export function writeRights({ settings }: StoreProbe): string {
  return [
    's3:PutObject',
    's3:GetObject',
    's3:ListBucket',
    ...(settings.objectLock === undefined ? [] : ['s3:PutObjectRetention']),
    ...(Object.keys(settings.tags).length === 0 ? [] : ['s3:PutObjectTagging']),
    ...(settings.serverSideEncryption === 'aws:kms' ? ['kms:GenerateDataKey', 'kms:Decrypt'] : []),
  ].join(', ')
}

/**
 * Does a step, notes what worked, and reports its failure with the mend. Throws what makes every further step pointless.
 */
export async function tryStep(
  probe: StoreProbe,
  step: Step,
  work: () => Promise<string | undefined>,
): Promise<boolean> {
  try {
    const worked = await work()
    if (worked !== undefined) probe.works.push(worked)
    return true
  } catch (thrown) {
    probe.signal.throwIfAborted()
    const error = thrown instanceof PgproofError ? thrown : undefined
    if (error !== undefined && endsAll.has(error.code)) throw error
    const what = `${step.what} by ${nameOf(probe, step.by)}`
    const mend = isRefusal(thrown)
      ? mendOf(probe, step)
      : (error?.hint ?? 'Look at the store, and at what is in front of it.')
    const details = error?.details
    probe.findings.problem(
      new PgproofError('STORE_CHECK_FAILED', { what, reason: reasonOf(thrown), mend }, { details }),
    )
    return false
  }
}

const endsAll: ReadonlySet<ErrorCode> = new Set([
  'STORE_UNREACHABLE',
  'STORE_BUCKET_MISSING',
  'STORE_READ_ONLY',
  'STORE_FULL',
  'USAGE_INVALID',
])

/** Whether somebody may not do what was tried, by rights or by a lock. */
export function isRefusal(error: unknown): error is PgproofError {
  return error instanceof PgproofError && (error.code === 'STORE_DENIED' || error.code === 'STORE_LOCKED')
}

/** Whether the store did what it should have refused with one of these codes; throws what is neither. */
export async function wasAccepted(attempt: Promise<unknown>, refusals: readonly ErrorCode[]): Promise<boolean> {
  try {
    await attempt
    return true
  } catch (error) {
    if (error instanceof PgproofError && refusals.includes(error.code)) return false
    throw error
  }
}

/** How the credentials are called in messages: there are several only if they were configured. */
function nameOf({ settings }: StoreProbe, by: Credentials): string {
  if (settings.reader === undefined && settings.pruner === undefined) return 'the credentials'
  if (by === 'reader' && settings.reader !== undefined) return 'the credentials for reading'
  if (by === 'pruner' && settings.pruner !== undefined) return 'the credentials for pruning'
  return 'the credentials for writing'
}

function mendOf(probe: StoreProbe, { by, rights }: Step): string {
  const { writer } = probe.store
  if (!isBucket(writer)) return `Give the user that pgproof runs as the right to do it in ${writer.url}.`
  const subject = nameOf(probe, by).replace(/^t/, 'T')
  return `${subject} need ${rights} on the bucket and the prefix; docs/rights.md has whole policies.`
}

export function isBucket(store: ObjectStore): boolean {
  return store.url.startsWith('s3://')
}

/** Removes what a versioned bucket kept of a probe that was deleted; false where something stays. */
export async function freeVersions({ store, signal }: StoreProbe, key: string): Promise<boolean> {
  const { probe } = store.pruner
  if (probe === undefined) return true
  try {
    const versions = await probe.versions(key, { signal })
    for (const { id } of versions) await probe.removeVersion(key, id, { signal })
    return true
  } catch (error) {
    signal.throwIfAborted()
    // No such call, as on R2, is no such versions.
    return toPgproofError(error).code === 'STORE_FAILED'
  }
}
