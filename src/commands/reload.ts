import type { Config } from '../config/config.ts'
import { reloaded } from '../config/reload.ts'
import { toPgproofError } from '../errors.ts'
import { type Log, logKeys } from '../log.ts'
import type { ConfigReload } from '../metrics/metrics.ts'
import type { Wired } from '../wire.ts'
import type { CommandContext } from './context.ts'
import { openConfig } from './open.ts'
import type { ServersWatch } from './servers-watch.ts'

export type Reloading = {
  /** What became of the last one. */
  state(): ConfigReload
  /** As a SIGHUP does. */
  reload(): void
}

/**
 * Reads the configuration again at each SIGHUP and whenever the folder of servers has changed, one at a time. What is wrong
 * with it is logged, and the old one stays in force. `afterwards` is called with the new one in force.
 */
export function reloadOnHangUp(
  context: CommandContext,
  { installation, reconfigure }: Wired,
  log: Log,
  servers: ServersWatch,
  afterwards: () => void,
): Reloading {
  const { clock } = installation
  let state: ConfigReload = { isSuccessful: true, lastSuccessAt: clock.now(), needsRestart: [] }
  let latest = Promise.resolve()
  const reload = async (): Promise<void> => {
    try {
      const { config, needsRestart } = reloaded(installation.config, await openWatched(context, servers))
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
  const order = (): void => {
    latest = latest.then(reload)
  }
  context.onReload(order)
  watchServers(context, installation, servers, order)
  return { state: () => state, reload: order }
}

/** The configuration as it is now, and nothing comes into its folder of servers unseen after it was read. */
async function openWatched(context: CommandContext, servers: ServersWatch): Promise<Config> {
  const config = await openConfig(context)
  if (servers.isOf(config.serversFrom)) return config
  await servers.begin(config.serversFrom)
  return await openConfig(context)
}

/** How often it is seen whether it is time to look: a new `daemon.catalogRefresh` counts soon. */
const watchEveryMs = 1_000

/** Calls `changed` when a file in the folder of servers has come, changed or gone, until the command ends. */
function watchServers(
  { signal }: CommandContext,
  installation: Wired['installation'],
  servers: ServersWatch,
  changed: () => void,
): void {
  const { clock } = installation
  let lookedMs = clock.monotonicMs()
  let isLooking = false
  const look = async (): Promise<void> => {
    const { serversFrom, daemon } = installation.config
    if (isLooking || clock.monotonicMs() - lookedMs < daemon.catalogRefreshMs) return
    isLooking = true
    lookedMs = clock.monotonicMs()
    if (await servers.hasChanged(serversFrom)) changed()
    isLooking = false
  }
  const timer = setInterval(() => void look(), watchEveryMs)
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  if (signal.aborted) clearInterval(timer)
}
