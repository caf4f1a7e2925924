import type { ClientConfig } from 'pg'
import type { FleetConfig } from '../config/fleet-config.ts'
import { PgproofError } from '../errors.ts'
import { type Connection, connect, driverSettings, type HeldClient, parseConnectionUrl } from '../postgres/connect.ts'
import { controlName, controlReason } from './control-words.ts'

export function controlConnection({ url, password }: Pick<FleetConfig, 'url' | 'password'>): Connection {
  return parseConnectionUrl(controlName, url, password && (() => password.reveal()))
}

/**
 * A session that lasts until its scope ends; only the opening has a deadline, in milliseconds. Throws what `connect`
 * throws.
 */
export async function openControl(
  connection: Connection,
  applicationName: string,
  withinMs = openWithinMs,
): Promise<HeldClient> {
  const opening = new AbortController()
  // The signal goes on to end what the session does later, so it must not fire once the session is open.
  const timer = setTimeout(() => opening.abort(new Error(tooLate(withinMs))), withinMs)
  try {
    return await connect(connection, opening.signal, applicationName)
  } finally {
    clearTimeout(timer)
  }
}

export const openWithinMs = 20_000

/**
 * Throws if no answer has come so many milliseconds after the question. One that came while this process was busy counts:
 * timers that ran out meanwhile fire before anything is read, so what has arrived is read first.
 */
export async function answerWithin<T>(answer: Promise<T>, withinMs: number): Promise<T> {
  const late = Promise.withResolvers<never>()
  const giveUp = (): void => late.reject(new Error(tooLate(withinMs)))
  const timer = setTimeout(() => setImmediate(giveUp), withinMs)
  try {
    return await Promise.race([answer, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

function tooLate(ms: number): string {
  return `no answer within ${ms / 1000} s`
}

/** For a pool of connections, after one has shown that they can be opened, and how. Throws FLEET_UNREACHABLE. */
export async function poolConfig(connection: Connection): Promise<ClientConfig> {
  try {
    await using held = await openControl(connection, 'pgproof fleet')
    return driverSettings(connection, held)
  } catch (error) {
    throw new PgproofError('FLEET_UNREACHABLE', { reason: controlReason(error) }, { cause: error })
  }
}
