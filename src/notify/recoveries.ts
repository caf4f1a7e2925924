import type { Incident } from './incident.ts'

type Gathered<T> = { readonly incident: Incident; readonly since: Date; readonly items: readonly T[] }

/** After this what has recovered so far is told, whether or not the rest has. */
const patienceMs = 3_600_000

/**
 * The recoveries of what was told together: a server that is back backs up one database after the other, and nobody wants
 * to be told of each.
 */
export class Recoveries<T> {
  readonly #gathered = new Map<string, Gathered<T>>()

  add(incident: Incident, item: T, now: Date): void {
    const before = this.#gathered.get(incident.id)
    this.#gathered.set(incident.id, {
      incident,
      since: before?.since ?? now,
      items: [...(before?.items ?? []), item],
    })
  }

  /** What is to be told now, and not again. `isOpen`: whether something else of that incident has not recovered yet. */
  take(now: Date, isOpen: (id: string) => boolean): readonly Gathered<T>[] {
    const due = [...this.#gathered.values()].filter(
      ({ incident, since }) => !isOpen(incident.id) || now.getTime() - since.getTime() >= patienceMs,
    )
    for (const { incident } of due) this.#gathered.delete(incident.id)
    return due
  }
}
