export type PastRestore = {
  readonly finishedAt: Date
  readonly verdict: 'passed' | 'failed' | 'inconclusive'
  /** Bytes of the dump that was restored, before compression. */
  readonly dumpBytes: number
  readonly restoreTimeSeconds: number | null
}

/** Old drills ran on other data, versions and machines. */
export const drillsThatCount = 10

/**
 * How long a restore of a dump of `dumpBytes` would take, by the newest ten drills that passed: a fixed part (the server's
 * start) and a rate, as the line through the medians of Theil and Sen, which one slow drill does not move. Where all of
 * them restored about the same size the fixed part cannot be told, and the median is scaled. Null without a passed drill.
 */
export function forecastRestoreSeconds(drills: readonly PastRestore[], dumpBytes: number): number | null {
  const passed = drills
    .flatMap((drill) =>
      drill.verdict === 'passed' && drill.restoreTimeSeconds !== null
        ? [{ finishedAt: drill.finishedAt, bytes: drill.dumpBytes, seconds: drill.restoreTimeSeconds }]
        : [],
    )
    .toSorted((a, b) => b.finishedAt.getTime() - a.finishedAt.getTime())
    .slice(0, drillsThatCount)
  if (passed.length === 0) return null
  const slopes = passed.flatMap((one, index) =>
    passed.slice(index + 1).flatMap((other) => {
      const apart = other.bytes - one.bytes
      // Closer together the difference in time is noise.
      return Math.abs(apart) <= Math.max(one.bytes, other.bytes) / 4 ? [] : [(other.seconds - one.seconds) / apart]
    }),
  )
  if (slopes.length > 0) {
    const rate = Math.max(0, median(slopes))
    const fixed = Math.max(0, median(passed.map(({ bytes, seconds }) => seconds - rate * bytes)))
    return fixed + rate * dumpBytes
  }
  const rates = passed.filter(({ bytes }) => bytes > 0).map(({ bytes, seconds }) => seconds / bytes)
  return rates.length > 0 ? median(rates) * dumpBytes : median(passed.map(({ seconds }) => seconds))
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2
}
