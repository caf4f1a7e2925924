import type { PlannedJob } from '../catalog/runs.ts'
import type { HttpConfig } from '../config/config.ts'
import type { Installation } from '../jobs/installation.ts'
import type { Orders } from '../jobs/orders.ts'

/** What the HTTP API works with. */
export type HttpParts = {
  readonly config: HttpConfig
  readonly installation: Installation
  readonly orders: Orders
  /** Everything in Prometheus' text format. */
  readonly metrics: () => Promise<string>
  readonly planned: () => readonly PlannedJob[]
  readonly isReady: () => { readonly ready: boolean; readonly reasons: readonly string[] }
  readonly version: string
  /** How long a request may take to arrive; 30 seconds. Tests shorten it. */
  readonly requestTimeoutMs?: number
}
