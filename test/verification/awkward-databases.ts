import type { AwkwardDatabase } from './awkward.ts'
import { awkwardPrograms } from './awkward-programs.ts'
import { awkwardCron, awkwardSettings } from './awkward-settings.ts'
import { awkwardTables } from './awkward-tables.ts'
import { awkwardTypes } from './awkward-types.ts'

/** Every one is healthy: its backup must pass its drill with every table compared. */
export const awkwardDatabases: readonly AwkwardDatabase[] = [
  ...awkwardTypes,
  ...awkwardTables,
  ...awkwardPrograms,
  ...awkwardSettings,
  awkwardCron,
]
