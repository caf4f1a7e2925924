import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { databaseMetrics } from './database-metrics.ts'
import { queueMetrics } from './queue-metrics.ts'
import { registerRunMetrics } from './run-metrics.ts'
import { scheduleMetrics } from './schedule-metrics.ts'
import { type MetricsParts, readScrape, type Scrape } from './scrape.ts'
import { installationMetrics, type StoredMetric } from './stored-metrics.ts'

export type { ConfigReload, KeyExpiry, MetricsParts } from './scrape.ts'

export type Metrics = {
  readonly registry: Registry
  /** Everything in Prometheus' text format. */
  text(): Promise<string>
}

/** Every metric of pgproof and of Node. Those of backups and drills are read from the catalog at each scrape. */
export function createMetrics(parts: MetricsParts): Metrics {
  const registry = new Registry()
  const scrape = oncePerScrape(() => readScrape(parts))
  for (const metric of [...installationMetrics, ...scheduleMetrics, ...queueMetrics, ...databaseMetrics])
    registerStored(metric, registry, scrape)
  registerRunMetrics(registry, parts)
  collectDefaultMetrics({ register: registry })
  for (const name of misnamedDefaults) registry.removeSingleMetric(name)
  return { registry, text: () => registry.metrics() }
}

/** Gauges that end in `_total`, as only counters may; each repeats the sum of a metric with a label `type`. */
const misnamedDefaults = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

function registerStored(stored: StoredMetric, registry: Registry, scrape: () => Scrape): void {
  const { name, help, labels, type } = stored
  const metric: Gauge | Counter = new (type === 'gauge' ? Gauge : Counter)({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect() {
      metric.reset()
      // Without labels there is always a sample, unless it is removed.
      if (labels.length === 0) metric.remove()
      for (const sample of stored.read(scrape())) metric.inc(sample.labels, sample.value)
    },
  })
}

/** The metrics of one scrape are collected within one turn of the event loop: they all tell of the same moment. */
function oncePerScrape(read: () => Scrape): () => Scrape {
  let current: Scrape | undefined
  return () => {
    if (current === undefined) {
      current = read()
      queueMicrotask(() => {
        current = undefined
      })
    }
    return current
  }
}
