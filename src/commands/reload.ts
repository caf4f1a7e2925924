import { reloaded } from '../config/reload.ts'
import { folderState } from '../config/servers-folder.ts'
import { toPgproofError } from '../errors.ts'
import { type Log, logKeys } from '../log.ts'
import type { ConfigReload } from '../metrics/metrics.ts'
import type { Wired } from '../wire.ts'
import type { CommandContext } from './context.ts'
import { openConfig } from './open.ts'

export type Reloading = {
  /** What became of the last one. */
  state(): ConfigReload
}

/**
 * Reads the configuration again at each SIGHUP, one at a time. What is wrong with it is logged, and the old one stays in
 * force. `afterwards` is called with the new one in force.
 */
export function reloadOnHangUp(
  context: CommandContext,
  { installation, reconfigure }: Wired,
  log: Log,
  afterwards: () => void,
): Reloading {
  const { clock } = installation
  let state: ConfigReload = { isSuccessful: true, lastSuccessAt: clock.now(), needsRestart: [] }
  let latest = Promise.resolve()
  const reload = async (): Promise<void> => {
    try {
      const { config, needsRestart } = reloaded(installation.config, await openConfig(context))
      reconfigure(config)
      const isWhole = needsRestart.length === 0
      state = { isSuccessful: isWhole, lastSuccessAt: isWhole ? clock.now() : state.lastSuccessAt, needsRestart }
      if (isWhole) log.info('the configuration was read again and is in force')
      else
        log.warn(
          { keys: needsRestart },
          'the configuration was read again; these settings stay as they are until a restart',
        )
      afterwards()
    } catch (thrown) {
      const { code, message, hint, details } = toPgproofError(thrown)
      state = { ...state, isSuccessful: false }
      const line = { [logKeys.code]: code, reason: message, [logKeys.hint]: hint, [logKeys.details]: details }
      log.error(line, 'the new configuration is refused, the old one stays in force')
    }
  }
  context.onReload(() => {
    latest = latest.then(reload)
  })
  watchServers(context, installation, () => {
    latest = latest.then(reload)
  })
  return { state: () => state }
}

/** Calls `changed` when a file in the folder of servers has come, changed or gone, until the command ends. */
function watchServers({ signal }: CommandContext, installation: Wired['installation'], changed: () => void): void {
  const { serversFrom, daemon } = installation.config
  if (serversFrom === undefined) return
  let before: string | undefined
  const look = async (): Promise<void> => {
    const now = await folderState(serversFrom)
    if (before !== undefined && now !== before) changed()
    before = now
  }
  void look()
  const timer = setInterval(() => void look(), daemon.catalogRefreshMs)
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  if (signal.aborted) clearInterval(timer)
}
