import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { pluralWords } from './compose-several.ts'
import type { Condition } from './condition.ts'
import { type Facts, isWatched, readConditions } from './conditions.ts'
import { type Held, type Incident, judgeConditions } from './incident.ts'
import { Recoveries } from './recoveries.ts'

/** What is told of one condition, or of several of one kind at one server. */
export type ToldConditions = {
  readonly event: 'failure' | 'recovery'
  readonly isReminder: boolean
  readonly incident: Incident
  readonly conditions: readonly Condition[]
}

/** What of one kind and server comes within this time is told together; the first one is told at once. */
const gatherMs = 10 * 60_000

/** What is wrong without a run, since when, and what is told of it. */
export class ConditionIncidents {
  readonly #tell: (told: ToldConditions) => void
  readonly #recoveries = new Recoveries<Condition>()
  readonly #told = new Map<string, Date>()
  #held: ReadonlyMap<string, Held<Condition>> = new Map()

  constructor(tell: (told: ToldConditions) => void) {
    this.#tell = tell
  }

  look(facts: Facts): void {
    const { now } = facts
    const { held, tell } = judgeConditions(this.#held, readConditions(facts), {
      now,
      newId: randomUUID,
      exists: (condition) => isWatched(condition, facts),
      waits: (condition) => now.getTime() - (this.#told.get(likeness(condition))?.getTime() ?? 0) < gatherMs,
    })
    const holding = new Map(held)
    const failures = tell.filter(({ event }) => event === 'failure')
    const groups = Map.groupBy(failures, ({ condition, isReminder }) => `${likeness(condition)} ${isReminder}`)
    for (const alike of groups.values()) {
      const [first] = alike
      assert(first !== undefined, 'a group has a member')
      // One incident from now on, so that its end is told together, too.
      for (const { condition, incident } of alike)
        holding.set(condition.key, { condition, incident: { ...incident, id: first.incident.id } })
      if (isOfMany(first.condition)) this.#told.set(likeness(first.condition), now)
      const since = new Date(Math.min(...alike.map(({ incident }) => incident.since.getTime())))
      const conditions = alike.map(({ condition }) => condition)
      this.#tell({ ...first, incident: { ...first.incident, since }, conditions })
    }
    this.#held = holding
    for (const { event, condition, incident } of tell)
      if (event === 'recovery') this.#recoveries.add(incident, condition, now)
    const isOpen = (id: string): boolean => [...holding.values()].some(({ incident }) => incident.id === id)
    for (const { incident, items } of this.#recoveries.take(now, isOpen))
      this.#tell({ event: 'recovery', isReminder: false, incident, conditions: items })
  }
}

/** What is told together. */
function likeness(condition: Condition): string {
  const { kind, server, key } = condition
  return isOfMany(condition) ? JSON.stringify([kind, server]) : key
}

function isOfMany({ kind, database }: Condition): boolean {
  return database !== null && pluralWords[kind] !== undefined
}
