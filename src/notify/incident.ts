import { isFinished, type Run } from '../catalog/runs.ts'

/** A failure that lasts: of a job at its place, or a condition. */
export type Incident = {
  /** The same in everything that is told of it. */
  readonly id: string
  readonly since: Date
  /** When it was told last; null before. */
  readonly toldAt: Date | null
}

export type RunQuestion = {
  /** When it is tried again; null: it is not. */
  readonly retryAt: Date | null
  /** Whether a drill showed that a backup cannot be relied on. */
  readonly isVerdict: boolean
  /** For a new incident. */
  readonly newId: () => string
}

export type RunAnswer = {
  readonly incident: Incident | null
  /** What is to be told now. */
  readonly tell: 'failure' | 'recovery' | 'success' | null
}

/** A failure that is tried again is told as well once it has lasted for this long: somebody may want to help. */
const quietMs = 3_600_000

/**
 * What a run means after what was known of its job and place. A failure is told once nothing more will be tried or after an
 * hour, and not again for those that follow; a drill's verdict `failed` is always told: each is about another backup.
 */
export function judgeRun(before: Incident | null, run: Run, { retryAt, isVerdict, newId }: RunQuestion): RunAnswer {
  // Whoever cancels knows it.
  if (!isFinished(run) || run.state === 'cancelled') return { incident: before, tell: null }
  if (run.state === 'succeeded') return { incident: null, tell: before?.toldAt == null ? 'success' : 'recovery' }
  const at = run.finishedAt ?? run.queuedAt
  const incident = before ?? { id: newId(), since: at, toldAt: null }
  const isHopeless = retryAt === null || isQuietOver(incident, at)
  const isNews = isVerdict || (isHopeless && incident.toldAt === null)
  return isNews ? { incident: { ...incident, toldAt: at }, tell: 'failure' } : { incident, tell: null }
}

/** Whether a failure has lasted for so long that it is told, whatever is tried yet: what is tried may hang. */
export function isQuietOver({ since }: Incident, now: Date): boolean {
  return now.getTime() - since.getTime() >= quietMs
}

/** Whether an incident that was told and lasts is told again. */
export function isReminderDue({ toldAt }: Incident, everyMs: number, now: Date): boolean {
  return toldAt !== null && now.getTime() - toldAt.getTime() >= everyMs
}

/** Something that holds now and should not. */
export type Holding = {
  /** One for each thing that can be wrong. */
  readonly key: string
  /** Since when, if that is known better than by having looked. */
  readonly since: Date | null
  /** It must have lasted so long before it is told. */
  readonly patienceMs: number
  readonly remindEveryMs: number
  /** Told anew when it rises. */
  readonly level: number
}

/** What is known of one condition. */
export type Held<C extends Holding> = { readonly condition: C; readonly incident: Incident }

export type ConditionsAnswer<C extends Holding> = {
  readonly held: ReadonlyMap<string, Held<C>>
  readonly tell: readonly {
    readonly event: 'failure' | 'recovery'
    readonly isReminder: boolean
    readonly condition: C
    readonly incident: Incident
  }[]
}

export type ConditionsQuestion<C extends Holding> = {
  readonly now: Date
  readonly newId: () => string
  /** Whether the thing is still there: what was taken out of the configuration has not recovered. */
  readonly exists: (condition: C) => boolean
  /** Whether one that is to be told for the first time is to wait, because something like it has just been told. */
  readonly waits?: (condition: C) => boolean
}

/** The conditions that hold now, after those that held before. */
export function judgeConditions<C extends Holding>(
  before: ReadonlyMap<string, Held<C>>,
  current: readonly C[],
  { now, newId, exists, waits = () => false }: ConditionsQuestion<C>,
): ConditionsAnswer<C> {
  const held = new Map<string, Held<C>>()
  const tell: ConditionsAnswer<C>['tell'][number][] = []
  for (const condition of current) {
    const known = before.get(condition.key)
    const incident = known?.incident ?? { id: newId(), since: condition.since ?? now, toldAt: null }
    const isWorse = known !== undefined && condition.level > known.condition.level
    const isReminder = !isWorse && isReminderDue(incident, condition.remindEveryMs, now)
    const isRipe = now.getTime() - incident.since.getTime() >= condition.patienceMs
    const isFirst = incident.toldAt === null && isRipe && !waits(condition)
    const isTold = isFirst || isReminder || (isWorse && incident.toldAt !== null)
    const after = isTold ? { ...incident, toldAt: now } : incident
    if (isTold) tell.push({ event: 'failure', isReminder, condition, incident: after })
    held.set(condition.key, { condition, incident: after })
  }
  for (const [key, { condition, incident }] of before)
    if (!held.has(key) && incident.toldAt !== null && exists(condition))
      tell.push({ event: 'recovery', isReminder: false, condition, incident })
  return { held, tell }
}
