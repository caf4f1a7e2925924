import { redactedConfig } from '../config/config.ts'
import { Daemon } from '../daemon/daemon.ts'
import { startHttp } from '../http/server.ts'
import type { Installation } from '../jobs/installation.ts'
import { createLog, type Log } from '../log.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { version } from '../version.ts'
import { wire } from '../wire.ts'
import type { Answer, CommandContext } from './context.ts'
import { openConfig } from './open.ts'

/** The daemon: until the first SIGTERM or SIGINT, then a clean end within `daemon.grace`. */
export async function serveCommand(context: CommandContext): Promise<Answer> {
  const config = await openConfig(context)
  const log = createLog(config.log)
  log.info({ version, config: redactedConfig(config) }, 'pgproof starts')
  await using wired = await wire(config, { writes: true, needsCatalog: false, log }, context.signal)
  const { installation } = wired
  const { stores, catalog, clock } = installation
  const daemon = new Daemon(installation)
  const planned = (): ReturnType<Daemon['planned']> => daemon.planned()
  const metrics = createMetrics({
    catalog,
    config,
    clock,
    stores,
    planned,
    keyExpiries: () => daemon.keyExpiries(),
    version,
  })
  try {
    // The index first, the port after it: the first scrape after a restart is answered with the truth. Runs come last:
    // a second daemon on this port must not have begun one.
    await daemon.prepare(context.signal)
    const http =
      config.http.listen === null
        ? null
        : await startHttp({
            config: config.http,
            installation,
            orders: daemon.queue,
            metrics: () => metrics.text(),
            planned,
            isReady: () => daemon.isReady(),
            version,
          })
    try {
      daemon.start()
      announce(log, daemon, installation, http?.address ?? null)
      await untilAborted(context.signal)
      log.info({ graceSeconds: config.daemon.graceMs / 1000 }, 'stopping')
    } finally {
      await daemon.stop(config.daemon.graceMs)
      await http?.close()
    }
  } finally {
    await daemon.stop(0)
  }
  log.info('stopped')
  return { document: {}, exitCode: 0 }
}

/** What it protects, when it runs next and what worries it, for whoever looks at the log's beginning. */
function announce(log: Log, daemon: Daemon, { config, catalog }: Installation, address: string | null): void {
  for (const { job, server, database, nextAt } of daemon.planned().slice(0, 50))
    log.info({ job, server, ...(database === null ? {} : { database }), nextAt }, 'scheduled')
  for (const server of config.servers) {
    if (server.schedule.backup === undefined) log.warn({ server: server.name }, 'no backup schedule')
    if (server.schedule.roles === undefined)
      log.warn({ server: server.name }, 'no roles schedule: drills need the roles')
    if (server.schedule.drill === undefined)
      log.warn({ server: server.name }, 'no drill schedule: nothing will be proven')
  }
  for (const { key, error } of catalog.damaged().slice(0, 10))
    log.warn({ key, reason: error.message }, 'an object in the store is damaged')
  log.info({ address, backups: catalog.backups().length, drills: catalog.drills().length }, 'ready')
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
