import type { PlannedJob } from '../catalog/runs.ts'
import type { Installation } from '../jobs/installation.ts'
import type { Orders } from '../jobs/orders.ts'
import type { QueueView } from '../jobs/queue-view.ts'
import type { Readiness } from '../jobs/readiness.ts'
import type { ConfigReload, KeyExpiry } from '../metrics/scrape.ts'

/** What the HTTP API works with. */
export type HttpParts = {
  /** Tokens and the rate limit are those of its configuration at each request; address and TLS those at the start. */
  readonly installation: Installation
  readonly orders: Orders
  /** Everything in Prometheus' text format. */
  readonly metrics: () => Promise<string>
  readonly planned: () => readonly PlannedJob[]
  /** What the queue and its workers are doing. */
  readonly queueView: () => QueueView
  /** Of the OpenPGP keys. */
  readonly keyExpiries: () => readonly KeyExpiry[]
  /** What became of the last reload of the configuration. */
  readonly configReload: () => ConfigReload
  readonly isReady: () => Readiness
  /** Reads the stores again; false if they do not answer. */
  readonly refresh?: () => Promise<boolean>
  readonly version: string
  /** How long a request may take to arrive; 30 seconds. Tests shorten it. */
  readonly requestTimeoutMs?: number
  /** How often renewed certificate files are looked for; a minute. Tests shorten it. */
  readonly certificateLookMs?: number
}
