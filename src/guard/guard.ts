import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Run } from '../catalog/runs.ts'
import type { Evidence } from '../domain/evidence.ts'
import type { RestoreResult } from '../domain/restore-result.ts'
import { assertNotAborted, PgproofError, toPgproofError } from '../errors.ts'
import { executeRun } from '../jobs/execute.ts'
import { connectionTo, type Installation, serverNamed } from '../jobs/installation.ts'
import { restoreRequest } from '../jobs/order-restore.ts'
import { newRun } from '../jobs/run-job.ts'
import type { Connection } from '../postgres/connect.ts'
import { runRestore } from '../restore/restore.ts'
import type { RestoreParts } from '../restore/restore-request.ts'
import { assertRoles } from '../restore/target-checks.ts'
import { type AttachedEnd, runAttached } from '../streams/attached-command.ts'
import { assertRestorable } from './check-guard.ts'
import { isClear, type Session, type WatchFindings, withoutEnded } from './judge-sessions.ts'
import { type SessionWatch, watchSessions } from './watch-sessions.ts'

export type GuardRequest = {
  readonly server: string
  readonly database: string
  readonly command: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** The login that restores when the command fails; null: nobody restores. */
  readonly restoreAs: Connection | null
}

export type GuardParts = Installation & {
  /** Shows how far the backup is, until the scope ends. */
  readonly follow: (run: Run) => Disposable
  /** After the command, before anything is restored. */
  readonly onEnd: (backup: GuardBackup, end: GuardEnd) => void
  /** Shows how far the restore is, until the scope ends. */
  readonly restoring: () => Disposable & { readonly onProgress: RestoreParts['onProgress'] }
}

export type GuardBackup = { readonly label: string; readonly snapshotTime: Date; readonly seconds: number }
export type GuardEnd = AttachedEnd & { readonly seconds: number }

export type GuardResult = {
  readonly backup: GuardBackup
  readonly end: GuardEnd
  readonly restored: RestoreResult | null
  /** Idle sessions of others that the restore ended. */
  readonly disconnected: readonly Session[]
  /** Why nothing was restored although it was wanted. */
  readonly error: PgproofError | null
}

/**
 * Takes a backup, runs a command in our place, and restores the backup if the command fails and that is wanted. Throws
 * register errors as long as the command has not run; later ones are in the result.
 */
export async function runGuard(request: GuardRequest, parts: GuardParts, signal: AbortSignal): Promise<GuardResult> {
  const { restoreAs } = request
  const server = serverNamed(parts.config, request.server)
  const source = connectionTo(server, request.database)
  const tag = `pgproof-guard-${randomBytes(6).toString('hex')}`

  // 1. What a restore would lack must show now; and who is at work is watched from before the snapshot on.
  const target = restoreAs === null ? null : await assertRestorable({ source, target: restoreAs }, parts, signal)
  await using watch =
    target === null
      ? null
      : await watchSessions(
          { admin: target.admin, database: request.database, backupUser: source.user, tag },
          parts.clock,
          signal,
        )

  // 2. The backup; without it, or if not everything in it could get its owner again, the command does not run.
  const { evidence, ...backup } = await backUp(request, parts, signal)
  if (target !== null) await assertRoles(target, evidence, { owners: true, privileges: true }, signal)
  assertNotAborted(signal, 'the command')

  // 3. The command, in our place.
  const startedMs = parts.clock.monotonicMs()
  const { command, args } = request
  const env = commandEnvironment(request.env, tag)
  const onStart = (pid: number): void => watch?.follow(pid)
  const attached = await runAttached({ command, args, env, onStart })
  const end = { ...attached, seconds: (parts.clock.monotonicMs() - startedMs) / 1000 }
  parts.onEnd(backup, end)
  const result = { backup, end, restored: null, disconnected: [], error: null }
  if (end.exitCode === 0 || end.startCode !== null || restoreAs === null || watch === null) return result

  // 4. Back to the state before, unless that would take away what others wrote.
  try {
    return { ...result, ...(await restoreUnlessDisturbed({ request, restoreAs, backup, watch }, parts, signal)) }
  } catch (thrown) {
    return { ...result, error: toPgproofError(signal.aborted ? signal.reason : thrown, 'the restore') }
  }
}

async function backUp(
  { server, database }: GuardRequest,
  parts: GuardParts,
  signal: AbortSignal,
): Promise<GuardBackup & { readonly evidence: Evidence }> {
  const startedMs = parts.clock.monotonicMs()
  const run = newRun({ job: 'backup', server, database, trigger: 'cli' }, parts)
  using _following = parts.follow(run)
  const { backup } = await executeRun(run, { prune: false }, parts, signal)
  assert(backup?.evidence !== undefined, 'a backup ended without its manifest')
  const { label, snapshotTime } = backup.manifest
  const seconds = (parts.clock.monotonicMs() - startedMs) / 1000
  return { label, snapshotTime: new Date(snapshotTime), seconds, evidence: backup.evidence }
}

/** What pgproof itself is configured with may be secret and is not for the command; libpq and others send PGAPPNAME. */
function commandEnvironment(env: NodeJS.ProcessEnv, tag: string): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(([name]) => !name.startsWith('PGPROOF_'))
  return { PGAPPNAME: tag, ...Object.fromEntries(kept) }
}

type Restoring = {
  readonly request: GuardRequest
  readonly restoreAs: Connection
  readonly backup: GuardBackup
  readonly watch: SessionWatch
}

async function restoreUnlessDisturbed(
  { request, restoreAs, backup, watch }: Restoring,
  parts: GuardParts,
  signal: AbortSignal,
): Promise<Pick<GuardResult, 'restored' | 'disconnected' | 'error'>> {
  const findings = await watch.findings(backup.snapshotTime)
  if (!isClear(findings)) throw refusal(findings)
  const { server, database } = request
  // Whoever was idle all the time loses nothing but the connection.
  const disconnected = findings.idle
  const wish = {
    choice: { by: 'label', label: backup.label },
    mode: 'replace',
    ...{ server, database, target: restoreAs, verify: true },
    disconnect: disconnected.length > 0,
  } as const
  const ordered = await restoreRequest(wish, parts)
  using shown = parts.restoring()
  await using calm = keepWatching(watch, backup, parts, signal)
  const onProgress: RestoreParts['onProgress'] = (progress) => {
    // Sessions are ended from now on; what they did until then is for the last look.
    if (progress.phase === 'swap') calm.stop()
    shown.onProgress?.(progress)
  }
  const lastLook = (): Promise<void> => lookAtLast({ watch, backup, disconnected }, parts)
  const restored = await runRestore(ordered, { ...parts, onProgress, lastLook }, calm.signal)
  return { restored, disconnected, error: restored.error }
}

type Calm = AsyncDisposable & { readonly signal: AbortSignal; stop(): void }

const askEveryMs = 250

/** A signal that aborts with GUARD_REFUSED as soon as another session may have written, or when `signal` does. */
function keepWatching(watch: SessionWatch, backup: GuardBackup, { clock }: GuardParts, signal: AbortSignal): Calm {
  const disturbed = new AbortController()
  const stopping = new AbortController()
  const watching = (async () => {
    let doubts = 0
    while (!stopping.signal.aborted) {
      const findings = await watch.findings(backup.snapshotTime)
      // Once may be a session of this very process of which it does not know yet.
      doubts = isClear(findings) ? 0 : doubts + 1
      if (doubts > 1 && !stopping.signal.aborted) return disturbed.abort(refusal(findings))
      await clock.sleep(askEveryMs, stopping.signal).catch(() => {})
    }
  })()
  return {
    signal: AbortSignal.any([signal, disturbed.signal]),
    stop: () => stopping.abort(),
    [Symbol.asyncDispose]: async () => {
      stopping.abort()
      await watching
    },
  }
}

const lastLooks = 3

/** Whether anybody wrote until the database was closed to everybody. Throws GUARD_REFUSED. */
async function lookAtLast(
  { watch, backup, disconnected }: Pick<Restoring, 'watch' | 'backup'> & Pick<GuardResult, 'disconnected'>,
  { clock }: GuardParts,
): Promise<void> {
  for (let look = 1; ; look += 1) {
    const findings = withoutEnded(await watch.findings(backup.snapshotTime), disconnected)
    if (isClear(findings)) return
    if (look === lastLooks) throw refusal(findings)
    await clock.sleep(askEveryMs)
  }
}

function refusal({ writers, unseen, prepared, lost }: WatchFindings): PgproofError {
  const reasons: string[] = []
  if (writers.length > 0)
    reasons.push(`${countOf(writers.length, 'other session')} wrote, or may have written, since the backup's snapshot`)
  if (unseen > 0) reasons.push(`${countOf(unseen, 'session')} came and went unseen`)
  if (prepared.length > 0) reasons.push(`${countOf(prepared.length, 'prepared transaction')} may still commit`)
  if (lost !== null) reasons.push(`the sessions could not be watched to the end (${lost})`)
  const lines = [
    ...writers.map(({ why, ...session }) => `${sessionText(session)}: ${why}`),
    ...prepared.map((name) => `prepared transaction ${name}`),
  ]
  return new PgproofError('GUARD_REFUSED', { reason: reasons.join('; ') }, { details: lines.join('\n') })
}

/** `shop (psql) from 10.0.0.5, process 123, since 2026-11-21T07:00:00.000Z`. */
export function sessionText({ user, application, client, pid, startedAt }: Session): string {
  const who = `${user === '' ? 'the server itself' : user}${application === '' ? '' : ` (${application})`}`
  const since = startedAt === null ? '' : `, since ${startedAt.toISOString()}`
  return `${who} from ${client ?? 'this server'}, process ${pid}${since}`
}

function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
