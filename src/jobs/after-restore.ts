import type { Evidence, TableContents } from '../domain/evidence.ts'
import { PgproofError } from '../errors.ts'
import { type Connection, connect } from '../postgres/connect.ts'
import { quotedName } from '../postgres/tables.ts'
import type { Phases } from './drill-verdict.ts'

/** Throws EXTENSION_MISSING before anything is restored: the server is lacking then, not the backup. */
export async function assertExtensions(
  connection: Connection,
  extensions: Evidence['extensions'],
  signal: AbortSignal,
): Promise<void> {
  await using held = await connect(connection, signal, 'pgproof drill')
  const { rows } = await held.client.query<{ name: string }>('SELECT name FROM pg_catalog.pg_available_extensions')
  const available = new Set(rows.map(({ name }) => name))
  const missing = extensions.map(({ name }) => name).filter((name) => !available.has(name))
  if (missing.length === 0) return
  const packages = missing.map((name) => `the package of ${name} for the scratch server’s major`).join(', ')
  throw new PgproofError('EXTENSION_MISSING', { extensions: missing.join(', '), packages })
}

/**
 * What a restored database needs before it serves: planner statistics. Then one row of the largest table is asked for,
 * as an application would; from the fetch to its answer is the restore time.
 */
export async function analyzeAndAsk(
  connection: Connection,
  tables: readonly TableContents[],
  phases: Phases,
  signal: AbortSignal,
): Promise<void> {
  await using held = await connect(connection, signal, 'pgproof drill')
  await phases.time('analyze', () => held.client.query('ANALYZE'))
  const [largest] = [...tables].sort((one, other) => (other.rows ?? 0) - (one.rows ?? 0))
  const question = largest === undefined ? 'SELECT 1' : `SELECT 1 FROM ${quotedName(largest)} LIMIT 1`
  await phases.time('query', () => held.client.query(question))
}
