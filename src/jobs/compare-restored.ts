import type { Checklist } from '../domain/checklist.ts'
import type { DrillTables } from '../domain/drill-tables.ts'
import { drillTablesFormat } from '../domain/drill-tables.ts'
import type { Evidence, EvidenceLevel } from '../domain/evidence.ts'
import { compareSequences, compareTables } from '../domain/table-contents.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import { readLargeObjects, readSequences, takeCensus } from '../postgres/census.ts'
import { type Client, type Connection, connect, type HeldClient } from '../postgres/connect.ts'
import { listDumpedTables, tableName } from '../postgres/tables.ts'
import type { OperatorCheck } from './drill-request.ts'

/**
 * Takes the census of the restored database by the very definition that was used at the backup, and compares. Every
 * difference is collected before EVIDENCE_MISMATCH is thrown, so that the report is whole; `onTables` gets it first.
 */
export async function compareWithEvidence(
  request: {
    readonly connection: Connection
    readonly evidence: Evidence
    readonly drillLabel: string
    readonly connections: number
    readonly onTables: (tables: DrillTables) => void
  },
  checklist: Checklist,
  signal: AbortSignal,
): Promise<void> {
  const { connection, evidence } = request
  await using held = await connectSeveral(connection, request.connections, signal)
  const first = held.clients[0] as Client
  const levels = new Map<string, EvidenceLevel>(evidence.tables.map((table) => [tableName(table), table.level]))
  const restored = await takeCensus(
    held.clients,
    {
      database: connection.database,
      tables: await listDumpedTables(first, false),
      level: (table) => levels.get(tableName(table)) ?? 'count',
    },
    signal,
  )
  const tables = compareTables(evidence.tables, restored)
  const sequences = compareSequences(evidence.sequences, await readSequences(first))
  const expected = { count: evidence.largeObjects.count, digest: evidence.largeObjects.digest }
  const found = await readLargeObjects(first, expected.digest === null ? 'count' : 'digest')
  const largeObjects = {
    expected,
    restored: { count: found.count, digest: found.digest },
    result:
      found.count !== expected.count ? 'count differs' : found.digest === expected.digest ? 'equal' : 'digest differs',
  } as const
  request.onTables({
    format: drillTablesFormat,
    label: request.drillLabel,
    errorDetails: null,
    tables: [...tables],
    sequences: [...sequences],
    largeObjects,
  })

  const wrong: string[] = []
  const judge = (check: string, isAsked: boolean, differences: readonly string[], summary: string): void => {
    if (differences.length > 0)
      checklist.add(check, 'failed', `${countOf(differences)}: ${differencesText(differences)}`)
    else checklist.add(check, isAsked ? 'passed' : 'skipped', isAsked ? summary : 'not in the evidence')
    wrong.push(...differences)
  }
  const counted = tables.filter(({ compared }) => compared !== 'nothing')
  const digested = tables.filter(({ compared }) => compared === 'rows and digest')
  const isOff = (table: { schema: string; name: string }): boolean => levels.get(tableName(table)) === 'off'
  judge(
    'row counts',
    tables.length === 0 || counted.length > 0,
    tables
      .filter(({ result }) => result !== 'equal' && result !== 'digest differs')
      .filter((table) => !(table.result === 'not compared' && isOff(table)))
      .map((table) => `${tableName(table)} ${table.result}${countsOf(table)}`),
    `${counted.length} of ${tables.length} tables, every count equal`,
  )
  judge(
    'digests',
    tables.length === 0 || digested.length > 0,
    tables.filter(({ result }) => result === 'digest differs').map((table) => `${tableName(table)} digest differs`),
    `${digested.length} of ${tables.length} tables, every digest equal`,
  )
  judge(
    'sequences',
    true,
    sequences
      .filter(({ result }) => result === 'behind' || result === 'missing' || result === 'unexpected')
      .map((sequence) => `sequence ${tableName(sequence)} ${sequence.result}`),
    `${sequences.length} sequences, none behind`,
  )
  judge(
    'large objects',
    true,
    largeObjects.result === 'equal'
      ? []
      : [`large objects: ${largeObjects.result} (${expected.count} expected, ${found.count} restored)`],
    `${expected.count} large objects`,
  )
  if (wrong.length === 0) return
  throw new PgproofError(
    'EVIDENCE_MISMATCH',
    { count: countOf(wrong), tables: differencesText(wrong) },
    { details: wrong.join('\n') },
  )
}

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
      // The operator writes for the application's search_path; and a check must not change what it checks.
      await held.client.query(
        "RESET search_path; SET default_transaction_read_only = on; SET statement_timeout = '10min'",
      )
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

async function connectSeveral(
  connection: Connection,
  count: number,
  signal: AbortSignal,
): Promise<AsyncDisposable & { clients: Client[] }> {
  const held: HeldClient[] = []
  const dispose = async (): Promise<void> => {
    await Promise.all(held.map((one) => one[Symbol.asyncDispose]()))
  }
  try {
    while (held.length < count) held.push(await connect(connection, signal, 'pgproof verify'))
    return { clients: held.map(({ client }) => client), [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

function countsOf(table: { readonly expectedRows: number | null; readonly restoredRows: number | null }): string {
  return table.expectedRows === table.restoredRows
    ? ''
    : ` (${table.expectedRows ?? 'no'} expected, ${table.restoredRows ?? 'no'} restored)`
}

function countOf(differences: readonly string[]): string {
  return differences.length === 1 ? '1 difference' : `${differences.length} differences`
}

function differencesText(differences: readonly string[]): string {
  return differences.slice(0, 5).join('; ') + (differences.length > 5 ? `; and ${differences.length - 5} more` : '')
}
