import { readFile } from 'node:fs/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it } from 'vitest'
import { documentSchemas } from '../scripts/document-schemas.ts'
import { encodeDrillReport } from '../src/domain/drill-report.ts'
import { encodeDrillTables } from '../src/domain/drill-tables.ts'
import { encodeFullDrillReport } from '../src/domain/full-drill-report.ts'
import { encodeManifest } from '../src/domain/manifest.ts'
import { manifestAt, reportOf, rolesManifestAt } from './catalog/stored.ts'

const at = '2026-11-20T05:00:00Z'
const manifest = manifestAt('2026-11-20T02:00:00Z', {
  omissions: [{ kind: 'foreign data', objects: 2 }],
  previous: { label: '20261119T020000Z-4f7k', sha256: 'a'.repeat(64) },
})
const report = reportOf(manifest, at, {
  signer: 'A'.repeat(40),
  forecastSeconds: 12.5,
  objective: 'missed',
  rtoSeconds: 10,
  checks: [{ name: 'restore', result: 'passed', detail: null }],
})
const { label, snapshotTime } = manifest
const { verdict, reason, environment, signer, objective, rtoSeconds, omissions } = report
const counts = { tables: 2, rows: 9, objects: 3, countOnly: 0, off: 0, differences: 0 }
const fullReport = {
  format: 1 as const,
  label: report.label,
  server: 'main',
  storeId: report.storeId,
  pgproofVersion: report.pgproofVersion,
  startedAt: at,
  finishedAt: at,
  verdict,
  reason,
  rolesBackup: { label, manifestSha256: 'a'.repeat(64), snapshotTime, passwords: 'present' as const },
  databases: [
    {
      database: 'app',
      isConfigured: true,
      backup: { label, snapshotTime, manifestSha256: 'a'.repeat(64) },
      drill: { label: report.label, sha256: 'b'.repeat(64) },
      verdict,
      reason,
      restoreTimeSeconds: 1.5,
      ...counts,
      checks: [{ name: 'restore', result: 'passed' as const }],
      omissions,
    },
  ],
  seconds: { roles: 0.1, restore: 1.5, verification: 0.2, whole: 4 },
  recoveryPoints: { oldest: snapshotTime, newest: snapshotTime },
  environment,
  rtoSeconds,
  objective,
  signer,
}
const tables = {
  format: 1 as const,
  label: report.label,
  errorDetails: null,
  notes: ['an extension of another version'],
  structure: {
    compared: 9,
    differences: [
      {
        kind: 'index',
        name: 'public.a',
        result: 'differs' as const,
        facets: [{ facet: 'definition', expected: 'x', restored: null }],
      },
    ],
  },
  tables: [],
  sequences: [],
  largeObjects: null,
}

/** What the published schema says of a document as it is stored; by a validator that is not the one pgproof uses. */
async function validate(name: string, bytes: Uint8Array): Promise<readonly string[]> {
  const schema = JSON.parse(await readFile(`docs/schemas/${name}.v1.schema.json`, 'utf8')) as object
  const ajv = new Ajv2020({ allErrors: true, formats: { 'date-time': true } })
  const check = ajv.compile(schema)
  check(JSON.parse(Buffer.from(bytes).toString()))
  return (check.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message ?? ''}`)
}

describe('the published schemas', () => {
  it('docs/schemas - are what the program itself reads by', async () => {
    for (const [path, text] of Object.entries(documentSchemas()))
      expect(await readFile(path, 'utf8'), 'stale; run: node scripts/generate-reference.ts').toBe(text)
  })

  it('documents as they are stored - valid', async () => {
    expect(await validate('drill-report', encodeDrillReport(report))).toEqual([])
    expect(await validate('drill-tables', encodeDrillTables(tables))).toEqual([])
    expect(await validate('full-drill-report', encodeFullDrillReport(fullReport))).toEqual([])
    expect(await validate('manifest', encodeManifest(manifest))).toEqual([])
    expect(await validate('manifest', encodeManifest(rolesManifestAt('2026-11-15T03:00:00Z')))).toEqual([])
  })

  it('another verdict, a key too many, a newer format, a field that is missing - each is refused', async () => {
    const { verdict: _gone, ...without } = report
    const wrong = [{ ...report, verdict: 'good' }, { ...report, note: '' }, { ...report, format: 2 }, without]
    for (const document of wrong)
      expect(await validate('drill-report', Buffer.from(JSON.stringify(document)))).toHaveLength(1)
  })
})
