/** What `import … from 'pgproof'` gives: the jobs of the command line as functions. docs/library.md describes them. */

export type { DrillReport } from './domain/drill-report.ts'
export type { DrillTables } from './domain/drill-tables.ts'
export type { Manifest } from './domain/manifest.ts'
export type { RestoreResult } from './domain/restore-result.ts'
export { type ErrorCode, PgproofError } from './errors.ts'
export { type BackupOptions, backup } from './library/backup.ts'
export { type DrillOptions, drill } from './library/drill.ts'
export { type MigrationAdapter, type MigrationAdapterOptions, migrationAdapter } from './library/migration-adapter.ts'
export type { PgproofOptions, RestoreManner, RestoreProgress } from './library/options.ts'
export type { BackupOutcome, DrillOutcome } from './library/outcome.ts'
export { type RestoreOrder, restore } from './library/restore.ts'
