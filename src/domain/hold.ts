import { z } from 'zod'
import { decodeVersioned } from './manifest.ts'

/** Says in a store which backups are being read there, so that a prune in another process leaves them. */
export const holdFormat = 1

/** How long a hold counts after it was written; whoever reads on writes another one in time. Part of the format. */
export const holdLeaseMs = 30 * 60_000

/** What reads. */
export type HoldPurpose = 'restore' | 'drill' | 'full drill' | 'verification' | 'sync'

/** Not strict, and of any format: what a newer pgproof adds is no reason to remove what it reads. */
const holdSchema = z.object({
  format: z.int().positive(),
  by: z.string().regex(/^[a-z][a-z -]{0,40}$/),
  host: z.string().regex(/^[\w.:-]{1,255}$/),
  /** When the reading began, and until when this object counts, by the reader's clock. */
  since: z.iso.datetime(),
  until: z.iso.datetime(),
  /** As `backupFolder` makes them. */
  folders: z.array(z.string()).min(1),
})

export type Hold = z.infer<typeof holdSchema>

/** `host` may be any text. */
export function encodeHold(
  hold: Pick<Hold, 'host'> & {
    readonly by: HoldPurpose
    readonly since: Date
    readonly now: Date
    readonly folders: readonly string[]
  },
): Uint8Array {
  const { by, folders } = hold
  const host = hold.host.replaceAll(/[^\w.:-]/g, '-').slice(0, 255) || 'unknown'
  const until = new Date(hold.now.getTime() + holdLeaseMs).toISOString()
  const document = { format: holdFormat, by, host, since: hold.since.toISOString(), until, folders }
  return Buffer.from(`${JSON.stringify(document, null, 2)}\n`)
}

/** Throws `STORE_FORMAT_INVALID`; `what` names the object in the message. */
export function decodeHold(bytes: Uint8Array, what: string): Hold {
  return decodeVersioned(bytes, holdSchema, Number.POSITIVE_INFINITY, what)
}

/**
 * Whether a hold that the store received at `modifiedAt` has come to its end by the store's own clock, whatever the clocks
 * of reader and pruner say. `storeNow` is what the store's clock shows now.
 */
export function hasRunOut(modifiedAt: Date, storeNow: Date): boolean {
  return storeNow.getTime() - modifiedAt.getTime() > holdLeaseMs + slackMs
}

/**
 * Whether it has come to its end by what it says itself. A file server does not always tell its clock, so both must say so.
 * A date too far ahead is a wrong clock's and says nothing.
 */
export function saysRunOut({ until }: Pick<Hold, 'until'>, now: Date): boolean {
  const aheadMs = Date.parse(until) - now.getTime()
  return aheadMs < -slackMs || aheadMs > largestSkewMs
}

/** For clocks that are a little apart, and for a renewal that takes its time. */
const slackMs = 5 * 60_000
const largestSkewMs = 24 * 3_600_000

/**
 * `a restore on db2 reads it since 2026-11-20 02:00 UTC; if it was killed, until 02:35 UTC`. Whoever reads on puts the end
 * off in time.
 */
export function holdReason({ by, host, since, until }: Omit<Hold, 'format' | 'folders'>): string {
  const minute = (time: number): string => new Date(time).toISOString().slice(0, 16).replace('T', ' ')
  const begun = minute(Date.parse(since))
  // Rounded up: at the minute that is named it is over.
  const over = minute(Date.parse(until) + slackMs + 59_999)
  const end = over.slice(0, 10) === begun.slice(0, 10) ? over.slice(11) : over
  return `a ${by} on ${host} reads it since ${begun} UTC; if it was killed, until ${end} UTC`
}
