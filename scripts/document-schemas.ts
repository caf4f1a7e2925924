import { z } from 'zod'
import { reportSchema } from '../src/domain/drill-report.ts'
import { tablesSchema } from '../src/domain/drill-tables.ts'
import { evidenceSchema } from '../src/domain/evidence.ts'
import { fullDrillReportSchema } from '../src/domain/full-drill-report.ts'
import { manifestSchema } from '../src/domain/manifest.ts'

/** docs/schemas: the JSON documents of the store, for whoever reads them without pgproof. */
export function documentSchemas(): Readonly<Record<string, string>> {
  return {
    'docs/schemas/manifest.v1.schema.json': jsonSchema(manifestSchema, 'The manifest of a backup'),
    'docs/schemas/evidence.v1.schema.json': jsonSchema(evidenceSchema, 'What a database held at the dump’s snapshot'),
    'docs/schemas/drill-report.v1.schema.json': jsonSchema(reportSchema, 'The report of a drill'),
    'docs/schemas/drill-tables.v1.schema.json': jsonSchema(tablesSchema, 'What a drill found, object by object'),
    'docs/schemas/full-drill-report.v1.schema.json': jsonSchema(fullDrillReportSchema, 'The report of a full drill'),
  }
}

function jsonSchema(schema: z.ZodType, title: string): string {
  const { $schema, ...rest } = z.toJSONSchema(schema)
  return `${JSON.stringify({ $schema, title, ...rest }, null, 2)}\n`
}
