import { z } from 'zod'
import { isLabel } from './backup-label.ts'
import { decodeVersioned } from './manifest.ts'

/** Says in the stores that schedules stand still, and that they go on: two kinds of objects, neither ever written over. */
export const pauseFormat = 1

/** A pause has an end, so that nobody can forget it. */
export const longestPauseMs = 30 * 86_400_000

/** How long what is over stays in the stores, for whoever asks why a night is missing. */
export const keepPausesMs = 30 * 86_400_000

export const pausableJobs = ['backup', 'roles', 'drill'] as const
export type PausableJob = (typeof pausableJobs)[number]

const label = z.string().refine(isLabel, 'not a label')
const line = z.string().regex(/^[^\p{C}\p{Zl}\p{Zp}]{1,200}$/u, 'not a line of 1 to 200 characters')
const name = z.string().min(1)

const pauseSchema = z
  .strictObject({
    format: z.literal(pauseFormat),
    kind: z.literal('pause'),
    label,
    /** Null: every server. */
    server: name.nullable(),
    /** Null: every database of the server, and its roles. */
    database: name.nullable(),
    jobs: z.array(z.enum(pausableJobs)).min(1),
    since: z.iso.datetime(),
    until: z.iso.datetime(),
    reason: line,
    /** Who asked for it: `ops@db2`, or the name of a token. */
    by: line,
  })
  .refine(({ server, database }) => server !== null || database === null, 'a database without its server')
  .refine(({ since, until }) => Date.parse(until) > Date.parse(since), 'it ends before it begins')
  .refine(({ since, until }) => Date.parse(until) - Date.parse(since) <= longestPauseMs, 'it is longer than 30 days')

const resumeSchema = z.strictObject({
  format: z.literal(pauseFormat),
  kind: z.literal('resume'),
  label,
  /** The labels of the pauses that it ends. */
  ends: z.array(label).min(1),
  at: z.iso.datetime(),
  by: line,
})

export type Pause = z.infer<typeof pauseSchema>
export type Resume = z.infer<typeof resumeSchema>
export type PauseDocument = Pause | Resume

/** Throws where a field is not what it should be. */
export function encodePause(document: PauseDocument): Uint8Array {
  const schema = document.kind === 'pause' ? pauseSchema : resumeSchema
  return Buffer.from(`${JSON.stringify(schema.parse(document), null, 2)}\n`)
}

/** Throws `STORE_FORMAT_NEWER` or `STORE_FORMAT_INVALID`; `what` names the object in the message. */
export function decodePause(bytes: Uint8Array, what: string): PauseDocument {
  const { kind } = decodeVersioned(bytes, z.looseObject({ kind: z.enum(['pause', 'resume']) }), pauseFormat, what)
  return kind === 'pause'
    ? decodeVersioned(bytes, pauseSchema, pauseFormat, what)
    : decodeVersioned(bytes, resumeSchema, pauseFormat, what)
}

/** Whether a text can be a reason or a name. */
export function isPauseLine(text: string): boolean {
  return line.safeParse(text).success
}

/** Any text as `by` takes it. */
export function toPauseLine(text: string): string {
  // By whole characters: half of one is no line.
  return [...text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, '-')].slice(0, 200).join('') || 'unknown'
}

/** The pauses that count at `now`, the one that ends last first. */
export function pausesInForce(documents: Iterable<PauseDocument>, now: Date): readonly Pause[] {
  const all = [...documents]
  const ended = new Set(all.flatMap((document) => (document.kind === 'resume' ? document.ends : [])))
  return all
    .filter((document) => document.kind === 'pause')
    .filter(({ label: own, since, until }) => {
      // By a clock that is a little behind it must hold, too; one far ahead says nothing yet.
      const hasBegun = Date.parse(since) <= now.getTime() + slackMs
      return hasBegun && now.getTime() < Date.parse(until) && !ended.has(own)
    })
    .sort((a, b) => Date.parse(b.until) - Date.parse(a.until) || (a.label < b.label ? 1 : -1))
}

const slackMs = 3_600_000

export type PausePlace = { readonly server: string; readonly database: string | null; readonly job: PausableJob }

/** Whether a pause is of that job of that place; a roles backup has no database. */
export function covers(pause: Pick<Pause, 'server' | 'database' | 'jobs'>, place: PausePlace): boolean {
  if (pause.server !== null && pause.server !== place.server) return false
  return pause.jobs.includes(place.job) && (pause.database === null || pause.database === place.database)
}

/** Whether everything that `inner` is of, `outer` is of. */
export function isWithin(
  inner: Pick<Pause, 'server' | 'database'>,
  outer: Pick<Pause, 'server' | 'database'>,
): boolean {
  if (outer.server === null) return true
  return outer.server === inner.server && (outer.database === null || outer.database === inner.database)
}

/** Whether nobody needs to know of it any more at `now`: it has been over for a month, whatever ended it. */
export function isForgettable(document: PauseDocument, now: Date): boolean {
  // A resume must outlive whatever it ends.
  const overAt = document.kind === 'pause' ? Date.parse(document.until) : Date.parse(document.at) + longestPauseMs
  return now.getTime() - overAt > keepPausesMs
}

/** `paused until 2026-11-20 06:00 UTC by ops@db2: move to the new rack`. */
export function pauseText({ until, by, reason }: Pick<Pause, 'until' | 'by' | 'reason'>): string {
  return `paused until ${new Date(until).toISOString().slice(0, 16).replace('T', ' ')} UTC by ${by}: ${reason}`
}
