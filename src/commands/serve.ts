import { Daemon } from '../daemon/daemon.ts'
import { assertNotAborted, PgproofError } from '../errors.ts'
import { type HttpServer, startHttp } from '../http/server.ts'
import { createLog } from '../log.ts'
import { registerCertificateMetric } from '../metrics/certificate-metric.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { registerNoticeMetrics } from '../metrics/notice-metrics.ts'
import { Notifier } from '../notify/notifier.ts'
import { version } from '../version.ts'
import { wire } from '../wire.ts'
import { announce } from './announce.ts'
import type { Answer, CommandContext } from './context.ts'
import { openConfig } from './open.ts'
import { reloadOnHangUp } from './reload.ts'
import { ServersWatch } from './servers-watch.ts'

/** What a notice still gets when everything else has stopped. */
const noticesGraceMs = 3_000

/** The daemon: until the first SIGTERM or SIGINT, then a clean end within `daemon.grace`, also while it is still starting. */
export async function serveCommand(context: CommandContext): Promise<Answer> {
  let hasStarted = false
  try {
    return await serve(context, () => {
      hasStarted = true
    })
  } catch (error) {
    const { aborted, reason } = context.signal
    if (!hasStarted && aborted && reason instanceof PgproofError && reason.code === 'CANCELLED') return stopped
    throw error
  }
}

const stopped: Answer = { document: {}, exitCode: 0 }

async function serve(context: CommandContext, onStarted: () => void): Promise<Answer> {
  // Until there is something to reload, a SIGHUP must not end what is starting, and is remembered.
  let isReloadWanted = false
  context.onReload(() => {
    isReloadWanted = true
  })
  const config = await openConfig(context)
  const servers = new ServersWatch()
  await servers.begin(config.serversFrom)
  const log = createLog(config.log)
  log.info({ version }, 'pgproof starts')
  await using wired = await wire(config, { writes: true, needsCatalog: false, log }, context.signal)
  const { installation } = wired
  const { stores, catalog, clock } = installation
  const { fleet } = config
  // Without a fleet not even its code is loaded.
  const openFleet = fleet && (await import('../fleet/open-fleet.ts')).openFleet
  const daemon = new Daemon(installation, openFleet && ((parts) => openFleet(fleet, parts)))
  let http: HttpServer | null = null
  const reloading = reloadOnHangUp(context, wired, log, servers, () => {
    daemon.reload()
    void http?.reload()
  })
  if (isReloadWanted) reloading.reload()
  const planned = (): ReturnType<Daemon['planned']> => daemon.planned()
  const metrics = createMetrics({
    catalog,
    get config() {
      return installation.config
    },
    clock,
    stores,
    planned,
    queueView: () => daemon.queue.view(),
    worker: fleet?.worker,
    keyExpiries: () => daemon.keyExpiries(),
    version,
    configReload: () => reloading.state(),
  })
  const notifier = new Notifier({
    installation,
    planned,
    keyExpiries: () => daemon.keyExpiries(),
    configReload: () => reloading.state(),
    retryAt: (run) => daemon.retryAt(run),
    queue: daemon.queue,
    worker: fleet?.worker,
  })
  registerNoticeMetrics(metrics.registry, notifier)
  try {
    // The index first, the port after it: the first scrape after a restart is answered with the truth. Runs come last:
    // a second daemon on this port must not have begun one.
    await daemon.prepare(context.signal)
    assertNotAborted(context.signal, 'the command')
    http =
      config.http.listen === null || fleet?.may.includes('serve') === false
        ? null
        : await startHttp({
            installation,
            orders: daemon.queue,
            metrics: () => metrics.text(),
            planned,
            queueView: () => daemon.queue.view(),
            keyExpiries: () => daemon.keyExpiries(),
            configReload: () => reloading.state(),
            isReady: () => daemon.isReady(),
            refresh: () => daemon.refresh(),
            version,
          })
    if (http?.certificateExpiresAt != null) registerCertificateMetric(metrics.registry, http.certificateExpiresAt)
    try {
      notifier.start()
      daemon.start()
      onStarted()
      announce(log, daemon.planned(), installation, http?.address ?? null)
      await untilAborted(context.signal)
      log.info({ graceSeconds: config.daemon.graceMs / 1000 }, 'stopping')
    } finally {
      await daemon.stop(config.daemon.graceMs)
      await notifier.close(noticesGraceMs)
      await http?.close()
    }
  } finally {
    await daemon.stop(0)
  }
  log.info('stopped')
  return stopped
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted)
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
