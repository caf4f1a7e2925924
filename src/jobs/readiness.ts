/** Whether the daemon can do what it is there for. */
export type Readiness = {
  readonly ready: boolean
  /** What is amiss while it is not. */
  readonly reasons: readonly string[]
  /** By when it will be: `as soon as …`. */
  readonly awaited: string
}
