/** How one measured value stands against its objective; seconds throughout. */
export type ObjectiveStatus = {
  readonly objectiveSeconds: number | null
  readonly measuredSeconds: number | null
  /** `unmeasured` is not met: nobody knows. `no objective` says that none is configured. */
  readonly status: 'met' | 'missed' | 'unmeasured' | 'no objective'
}

export type ObjectivesQuestion = {
  readonly rpoSeconds: number | null
  readonly rtoSeconds: number | null
  /** Snapshot time of the newest backup. */
  readonly recoveryPoint: Date | null
  /** Restore time of the newest drill that passed. */
  readonly restoreTimeSeconds: number | null
  /** What the next restore is expected to take, from `forecastRestoreSeconds`. */
  readonly forecastSeconds: number | null
  readonly now: Date
}

export type ObjectivesAnswer = {
  /** Age of the recovery point against the RPO. Without any backup an RPO is missed, not unmeasured. */
  readonly recoveryPoint: ObjectiveStatus
  /** Restore time against the RTO. */
  readonly restoreTime: ObjectiveStatus
  /** The forecast against the RTO: missed before a restore misses it. */
  readonly forecast: ObjectiveStatus
}

/** The configured promises (RPO, RTO) against what was measured. */
export function judgeObjectives(question: ObjectivesQuestion): ObjectivesAnswer {
  const { rpoSeconds, rtoSeconds, recoveryPoint, now } = question
  const recoveryPointStatus = judge(rpoSeconds, recoveryPoint === null ? null : ageSeconds(recoveryPoint, now))
  return {
    recoveryPoint:
      recoveryPointStatus.status === 'unmeasured' ? { ...recoveryPointStatus, status: 'missed' } : recoveryPointStatus,
    restoreTime: judge(rtoSeconds, question.restoreTimeSeconds),
    forecast: judge(rtoSeconds, question.forecastSeconds),
  }
}

function judge(objectiveSeconds: number | null, measuredSeconds: number | null): ObjectiveStatus {
  if (objectiveSeconds === null) return { objectiveSeconds, measuredSeconds, status: 'no objective' }
  if (measuredSeconds === null) return { objectiveSeconds, measuredSeconds, status: 'unmeasured' }
  return { objectiveSeconds, measuredSeconds, status: measuredSeconds <= objectiveSeconds ? 'met' : 'missed' }
}

/** 0 for a recovery point of a server whose clock is ahead of ours. */
function ageSeconds(instant: Date, now: Date): number {
  return Math.max(0, (now.getTime() - instant.getTime()) / 1000)
}
