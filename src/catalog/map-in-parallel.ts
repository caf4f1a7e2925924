import { assertNotAborted } from '../errors.ts'

/** The results of `map` in order, at most `limit` at a time. On a failure it throws once nothing runs any more. */
export async function mapInParallel<T, R>(
  items: readonly T[],
  limit: number,
  signal: AbortSignal,
  map: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length)
  const queue = items.entries()
  let hasFailed = false
  const work = async (): Promise<void> => {
    for (const [index, item] of queue) {
      if (hasFailed) return
      assertNotAborted(signal)
      results[index] = await map(item).catch((error: unknown) => {
        hasFailed = true
        throw error
      })
    }
  }
  const workers = await Promise.allSettled(Array.from({ length: limit }, work))
  const failed = workers.find((worker) => worker.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return results
}
