import type { Place } from './facts.ts'
import type { Level } from './words.ts'

/** Something that somebody has to do something about; plain text throughout. */
export type Worry = {
  /** `bad`: now, in the night as well. `warn`: soon. */
  readonly level: Extract<Level, 'bad' | 'warn'>
  /** Null where it is of no one database. */
  readonly place: Place | null
  /** Where it is, if not at a database: a store, a server. */
  readonly about: string
  readonly title: string
  /** Why, in the words of the register of errors where it knows. */
  readonly detail?: string | undefined
  readonly hint?: string | undefined
  readonly code?: string | undefined
}
