import { loadConfig } from '../config/load.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import type { Installation } from '../jobs/installation.ts'
import { createLog, silentLog } from '../log.ts'
import { wire } from '../wire.ts'
import type { PgproofOptions } from './options.ts'

/**
 * Opens the installation for one call and closes whatever it held, so that nothing keeps a program from ending. Throws
 * register errors only.
 */
export async function withInstallation<T>(
  { config: file, env = process.env, cwd = process.cwd(), signal: ofCaller, log }: PgproofOptions,
  needs: { readonly writes: boolean },
  work: (installation: Installation, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using cancelling = cancelledBy(ofCaller)
  const { signal } = cancelling
  try {
    const { config, warnings } = await loadConfig({ file, env: { ...env }, cwd, isTerminal: false })
    const lines = log === undefined ? silentLog : createLog({ level: config.log.level, format: 'json' }, unfailing(log))
    for (const warning of warnings) lines.warn(warning)
    await using wired = await wire(config, { ...needs, usesSpool: true, needsCatalog: true, log: lines }, signal)
    return await work(wired.installation, signal)
  } catch (thrown) {
    throw toPgproofError(signal.aborted ? signal.reason : thrown, 'the call')
  }
}

/** A signal of our own that is fired with CANCELLED by the caller's, whose reason may be anything: a timeout, an error, a text. */
function cancelledBy(signal: AbortSignal | undefined): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController()
  const cancel = (): void =>
    controller.abort(new PgproofError('CANCELLED', { what: 'the call' }, { cause: signal?.reason }))
  if (signal?.aborted === true) cancel()
  else signal?.addEventListener('abort', cancel, { once: true })
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => signal?.removeEventListener('abort', cancel),
  }
}

/** What watches a job cannot end it: whatever it throws is lost. */
export function unfailing<T>(watch: (seen: T) => void): (seen: T) => void {
  return (seen) => {
    try {
      watch(seen)
    } catch {}
  }
}
