/** So many intervals after one that was finished the next one must be. */
export const intervalsAllowed = 1.5

/** The newest backup of a database or of roles, and how often one is due. */
export type OverdueQuestion = {
  /** The longest gap between two due times; null where nothing is scheduled. */
  readonly intervalSeconds: number | null
  /** When the newest one was finished; null if there is none. */
  readonly finishedAt: Date | null
  /** Snapshot time of the newest one that can be restored. */
  readonly recoveryPoint: Date | null
  readonly now: Date
}

/**
 * Whether a backup is older than its schedule allows, which counts where no objective says what is allowed. As the alerts
 * have it: one and a half intervals since it was finished, or two since its snapshot, because a slow one is no missed one.
 */
export function isOverdue({ intervalSeconds, finishedAt, recoveryPoint, now }: OverdueQuestion): boolean {
  if (intervalSeconds === null) return false
  const isOlder = (instant: Date | null, intervals: number): boolean =>
    instant !== null && now.getTime() - instant.getTime() > intervals * intervalSeconds * 1000
  return isOlder(finishedAt, intervalsAllowed) || isOlder(recoveryPoint, 2)
}
