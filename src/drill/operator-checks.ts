import type { Checklist } from '../domain/checklist.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { type Connection, connect, type HeldClient } from '../postgres/connect.ts'
import type { OperatorCheck } from './drill-request.ts'

/** The operator writes for the application's settings, which `connect` puts aside; and a check must not change what it checks. */
const asTheApplication = `
  RESET search_path; RESET TimeZone; RESET DateStyle; RESET IntervalStyle; RESET extra_float_digits; RESET bytea_output;
  RESET xmlbinary; RESET lc_monetary; RESET standard_conforming_strings;
  SET default_transaction_read_only = on; SET statement_timeout = '10min'`

/** Throws VERIFY_FAILED if an answer is not `true`; a question that cannot be asked is inconclusive (QUERY_FAILED). */
export async function runOperatorChecks(
  connection: Connection,
  checks: readonly OperatorCheck[],
  snapshotTime: string,
  label: string,
  checklist: Checklist,
  signal: AbortSignal,
): Promise<void> {
  for (const { name, sql } of checks) {
    await checklist.run(`sql: ${name}`, async () => {
      await using held = await connect(connection, signal, 'pgproof check')
      await held.client.query(asTheApplication)
      const answer = await ask(held, sql.replaceAll('{{snapshotTime}}', snapshotTime), connection.database, signal)
      if (answer !== true)
        throw new PgproofError(
          'VERIFY_FAILED',
          {
            label,
            check: `sql: ${name}`,
            reason: 'the answer was not true',
          },
          { details: `answer: ${JSON.stringify(answer)}` },
        )
    })
  }
}

async function ask(held: HeldClient, sql: string, database: string, signal: AbortSignal): Promise<unknown> {
  try {
    const { rows } = await held.client.query({ text: sql, rowMode: 'array' })
    return (rows[0] as unknown[] | undefined)?.[0] ?? null
  } catch (error) {
    signal.throwIfAborted()
    throw new PgproofError('QUERY_FAILED', { database, reason: reasonOf(error) }, { cause: error })
  }
}
