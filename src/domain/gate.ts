/** What a deployment may rely on: at least one of the two is set. Each with the text that it was written as. */
export type GateRules = {
  /** How old the newest backup may be, by its snapshot. */
  readonly maxAge: GateLimit | null
  /** How long ago the last drill that passed may have ended. */
  readonly verifiedWithin: GateLimit | null
}

export type GateLimit = { readonly ms: number; readonly text: string }

/** What is known of one database; null where there is nothing. */
export type GateFacts = {
  readonly server: string
  readonly database: string
  /** The newest backup whose objects are all in the store and that no drill has shown to be bad. */
  readonly backup: { readonly label: string | null; readonly snapshotTime: Date } | null
  /** Whether there are backups that cannot be restored, that failed a drill or that no trusted signer signed, and no other. */
  readonly onlyDamaged: boolean
  /** The newest drill that passed. */
  readonly proof: GateDrill | null
  /** The newest drill that failed, and why. */
  readonly failure: (GateDrill & { readonly reason: string | null }) | null
}

export type GateDrill = { readonly drill: string; readonly finishedAt: Date }

/** What can be asked for, wherever it was read. */
export type GateSource = {
  readonly servers: readonly string[]
  readonly databases: readonly GateFacts[]
  /** Why nothing of this may be relied on. */
  readonly closed: readonly string[]
  /** What its clock says; null where there is none but ours. */
  readonly time: Date | null
}

export type GateVerdict = {
  readonly facts: GateFacts
  readonly isOpen: boolean
  readonly backupAgeSeconds: number | null
  readonly proofAgeSeconds: number | null
  /** Empty exactly if the gate is open for this database. */
  readonly reasons: readonly string[]
}

/** Two clocks that differ by more do not belong together. */
export const toleratedSkewMs = 5 * 60_000

/** Whether a deployment may go on, by everything that is known of one database. */
export function judgeGate(facts: GateFacts, rules: GateRules, now: Date): GateVerdict {
  const { backup, proof } = facts
  const reasons = [
    ...backupReasons(facts, rules.maxAge, now),
    ...failureReasons(facts),
    ...proofReasons(proof, rules.verifiedWithin, now),
  ]
  return {
    facts,
    isOpen: reasons.length === 0,
    backupAgeSeconds: backup === null ? null : secondsSince(backup.snapshotTime, now),
    proofAgeSeconds: proof === null ? null : secondsSince(proof.finishedAt, now),
    reasons,
  }
}

/** `12 s`, `5 min`, `31 h`, `9 d`: rounded down. */
export function spellAge(seconds: number): string {
  if (seconds < 120) return `${Math.max(0, Math.floor(seconds))} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`
}

/** Without a backup there is nothing to go back to, whatever the rules ask. */
function backupReasons({ backup, onlyDamaged }: GateFacts, maxAge: GateLimit | null, now: Date): string[] {
  if (backup === null) return [onlyDamaged ? 'none of its backups can be restored' : 'there is no backup']
  if (maxAge === null) return []
  const ageMs = now.getTime() - backup.snapshotTime.getTime()
  if (ageMs < -toleratedSkewMs)
    return [`the newest backup lies ${spellAge(-ageMs / 1000)} in the future: a clock is wrong`]
  return ageMs <= maxAge.ms ? [] : [`newest backup is ${spellAge(ageMs / 1000)} old, at most ${maxAge.text}`]
}

/** A drill that passed before says nothing against one that failed since. */
function failureReasons({ proof, failure }: GateFacts): string[] {
  if (failure === null || (proof !== null && proof.finishedAt >= failure.finishedAt)) return []
  return [`drill ${failure.drill} failed${failure.reason === null ? '' : `: ${failure.reason}`}`]
}

function proofReasons(proof: GateDrill | null, within: GateLimit | null, now: Date): string[] {
  if (within === null) return []
  if (proof === null) return ['no drill has passed']
  const ageMs = now.getTime() - proof.finishedAt.getTime()
  if (ageMs < -toleratedSkewMs)
    return [`its last proof lies ${spellAge(-ageMs / 1000)} in the future: a clock is wrong`]
  return ageMs <= within.ms ? [] : [`last passed drill is ${spellAge(ageMs / 1000)} old, at most ${within.text}`]
}

function secondsSince(instant: Date, now: Date): number {
  return Math.round((now.getTime() - instant.getTime()) / 1000)
}
