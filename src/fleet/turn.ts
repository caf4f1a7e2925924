import { PgproofError } from '../errors.ts'
import type { Connection, HeldClient } from '../postgres/connect.ts'
import { answerWithin, openControl, openWithinMs } from './control-connection.ts'
import { controlReason } from './control-words.ts'

/** How long the opening of a connection may take, and one answer, in milliseconds. */
export type TurnLimits = { readonly openMs: number; readonly answerMs: number }

const usualLimits: TurnLimits = { openMs: openWithinMs, answerMs: 10_000 }

/**
 * Whose turn it is to order what is due: whoever holds a session's advisory lock in the control database. Several at once
 * would do no harm; one is enough.
 */
export class Turn {
  readonly #connection: Connection
  readonly #key: string
  readonly #limits: TurnLimits
  #held: HeldClient | undefined
  #taking: Promise<boolean> | undefined
  #isClosed = false

  constructor(connection: Connection, schema: string, limits = usualLimits) {
    this.#connection = connection
    this.#limits = limits
    this.#key = `pgproof turn ${schema}`
  }

  /** Whether it is this process's turn, after taking it if nobody has it. Throws FLEET_UNREACHABLE. */
  async take(): Promise<boolean> {
    if (this.#isClosed) return false
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined
    })
    return await this.#taking
  }

  /** For another one. */
  async leave(): Promise<void> {
    await this.#taking?.catch(() => {})
    await this.#end()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.leave()
  }

  async #take(): Promise<boolean> {
    if (await this.#isStillHeld()) return true
    const { openMs, answerMs } = this.#limits
    try {
      const held = await openControl(this.#connection, 'pgproof turn', openMs)
      this.#held = held
      const asked = held.client.query<{ mine: boolean; version: number }>(
        `SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0)) AS mine,
                pg_catalog.current_setting('server_version_num')::int AS version`,
        [this.#key],
      )
      const { rows } = await answerWithin(asked, answerMs)
      if (rows[0]?.mine !== true) {
        await this.#end()
        return false
      }
      // A process that was stopped, not ended, must not keep the turn.
      if ((rows[0]?.version ?? 0) >= 140000)
        await answerWithin(held.client.query('SET idle_session_timeout = 60000'), answerMs)
      held.lost.catch(() => {
        if (this.#held === held) void this.#end()
      })
      return true
    } catch (error) {
      await this.#end()
      throw new PgproofError('FLEET_UNREACHABLE', { reason: controlReason(error) }, { cause: error })
    }
  }

  /** A connection that broke says nothing of the control database: that is asked over another one. */
  async #isStillHeld(): Promise<boolean> {
    if (this.#held === undefined) return false
    try {
      // Also the word that keeps the server from ending the session.
      await answerWithin(this.#held.client.query('SELECT 1'), this.#limits.answerMs)
      return true
    } catch {
      await this.#end()
      return false
    }
  }

  async #end(): Promise<void> {
    const held = this.#held
    this.#held = undefined
    await held?.[Symbol.asyncDispose]()
  }
}
