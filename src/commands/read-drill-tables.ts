import { createHash } from 'node:crypto'
import type { DrillReport } from '../domain/drill-report.ts'
import { type DrillTables, decodeDrillTables } from '../domain/drill-tables.ts'
import { decryptBytes } from '../encryption/decrypt.ts'
import { PgproofError } from '../errors.ts'
import { type Installation, readDrillKeys } from '../jobs/installation.ts'
import { drillTablesKey } from '../storage/object-keys.ts'

/** More than the names and digests of any number of tables that a server can hold. */
const mostBytes = 512 << 20

/**
 * The table-by-table part of a drill's report, checked against the report. Null if the report has none. Throws
 * OBJECT_MISMATCH, STORE_… and keys' errors.
 */
export async function readDrillTables(
  report: DrillReport,
  installation: Installation,
  signal: AbortSignal,
): Promise<DrillTables | null> {
  if (report.tablesSha256 === null) return null
  const { keys } = await readDrillKeys(installation, 'reading the tables of a drill')
  const key = drillTablesKey(report.server, report.database, report.label)
  const encrypted = await installation.store.get(key, { signal, maxBytes: mostBytes })
  if (createHash('sha256').update(encrypted).digest('hex') !== report.tablesSha256)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'its SHA-256 is not the one in the drill report' })
  const tables = decodeDrillTables(await decryptBytes(encrypted, keys, key), key)
  if (tables.label !== report.label)
    throw new PgproofError('STORE_FORMAT_INVALID', { what: key, reason: 'it belongs to another drill' })
  return tables
}
