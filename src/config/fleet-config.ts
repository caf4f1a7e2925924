import { hostname } from 'node:os'
import type { workerDuties } from './fleet-keys.ts'
import type { Settings } from './schema.ts'
import { Secret } from './secret.ts'
import { resolveSslFiles } from './server-url.ts'

/** How this process takes part in a fleet. */
export type FleetConfig = {
  /** Names user, host and database, and holds no password. */
  readonly url: string
  readonly password: Secret | undefined
  readonly schema: string
  readonly worker: string
  readonly labels: readonly string[]
  readonly may: readonly WorkerDuty[]
  /** In the whole fleet; undefined: no limit. */
  readonly maxBackups: number | undefined
  readonly heartbeatMs: number
}

export type WorkerDuty = (typeof workerDuties)[number]

/** `read` gives the text of the secret file that a key of the section names. */
export function buildFleet(
  fleet: NonNullable<Settings['fleet']>,
  absolute: (path: string) => string,
  read: (key: string) => string | undefined,
): FleetConfig {
  const password = fleet.url.password ?? read('passwordFile')
  return {
    url: resolveSslFiles(fleet.url.url, absolute),
    password: password === undefined ? undefined : new Secret(password),
    schema: fleet.schema,
    worker: fleet.worker ?? hostLabel(),
    labels: fleet.labels,
    may: fleet.may,
    maxBackups: fleet.maxBackups,
    heartbeatMs: fleet.heartbeat,
  }
}

/** As a label may be. */
function hostLabel(): string {
  return (
    hostname()
      .replaceAll(/[^A-Za-z0-9_-]/g, '-')
      .slice(0, 63) || 'worker'
  )
}
