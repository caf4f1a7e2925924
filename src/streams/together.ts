/**
 * Runs branches side by side; the first failure aborts the others, and only when all have ended is it thrown. So
 * nothing keeps running, and nothing is cleaned up under the feet of a branch. Whatever fails after `signal` has aborted
 * is a consequence of that, and the signal's reason is thrown.
 */
export async function together<T extends readonly unknown[]>(
  signal: AbortSignal,
  branches: (signal: AbortSignal) => { readonly [K in keyof T]: Promise<T[K]> },
  lost?: Promise<never>,
): Promise<T> {
  const controller = new AbortController()
  const linked = AbortSignal.any([signal, controller.signal])
  let first: { error: unknown } | undefined
  const fail = (error: unknown): void => {
    first ??= { error: signal.aborted ? signal.reason : error }
    controller.abort(error)
  }
  lost?.catch(fail)
  const results = await Promise.all(
    branches(linked).map((branch: Promise<unknown>) => branch.catch((error: unknown) => void fail(error))),
  )
  if (first !== undefined) throw first.error
  return results as unknown as T
}
