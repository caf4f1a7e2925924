export type OpenedSession = { readonly database: string; readonly pid: number }

/** The sessions that were opened last, at most so many: a daemon opens them for years. */
export class OpenedSessions {
  readonly #sessions: OpenedSession[] = []
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  add(session: OpenedSession): void {
    this.#sessions.push(session)
    if (this.#sessions.length > this.#most) this.#sessions.shift()
  }

  /** The oldest first. */
  all(): readonly OpenedSession[] {
    return [...this.#sessions]
  }
}
