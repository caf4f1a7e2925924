import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { Checklist } from '../../src/domain/checklist.ts'
import { encodeDrillReport } from '../../src/domain/drill-report.ts'
import { type JudgeInput, judgeDrill } from '../../src/drill/drill-verdict.ts'
import { type ErrorCode, PgproofError } from '../../src/errors.ts'
import { createPhases } from '../../src/restore/phases.ts'
import { clock, labelAt, manifestAt } from '../catalog/stored.ts'

const telling = 'patients_hiv'

/** The plain report of a drill that ended with this error at its last rung. */
async function reportOf(error: PgproofError): Promise<string> {
  const checklist = new Checklist()
  await checklist.run('restore', () => Promise.reject(error)).catch(() => {})
  const input = {
    request: {
      server: 'main',
      database: 'app',
      backup: null,
      rule: 'latest',
      scratch: { kind: 'embedded' },
      jobs: 1,
      rtoMs: null,
      queuedSeconds: 0,
    },
    copy: 'store',
    picked: { manifest: manifestAt('2026-11-20T05:00:00Z'), manifestSha256: 'a'.repeat(64) },
    label: labelAt('2026-11-20T06:00:00Z'),
    startedAt: clock.now(),
    checklist,
    phases: createPhases(clock, () => {}),
    findings: { tables: null, serverVersion: null, reach: null, rolesBackup: null, restoreMs: null, notes: [] },
    error,
    parts: { catalog: new Catalog({ clock }), clock, storeId: 'store' },
  } as unknown as JudgeInput
  return Buffer.from(encodeDrillReport(judgeDrill(input))).toString()
}

describe('the plain report', () => {
  it.each<[ErrorCode, Record<string, string>]>([
    ['EVIDENCE_MISMATCH', { count: '1 difference', tables: telling }],
    ['QUERY_FAILED', { database: 'app', reason: `relation "${telling}" does not exist` }],
    ['RESTORE_FAILED', { outcome: `the restored database: ${telling}` }],
    ['ROLES_FAILED', { reason: `role "${telling}" already exists` }],
    ['ROLES_MISSING', { role: telling }],
    ['SCRATCH_FAILED', { reason: `permission denied for table ${telling}` }],
    ['LIBRARY_NOT_LOADED', { library: 'pg_cron', reason: `could not execute ${telling}` }],
    ['NAME_INVALID', { kind: 'table', database: 'app', reason: telling }],
    ['SERVER_UNREACHABLE', { server: 'scratch', reason: `role "${telling}" is not permitted to log in` }],
    ['INTERNAL', { reason: `${telling} is not iterable` }],
  ])('%s, of which the message quotes PostgreSQL - what failed, and no name', async (code, values) => {
    const error = new PgproofError(code, values, { details: telling })
    expect(error.message).toContain(telling)
    const report = await reportOf(error)
    expect(report).toContain(code)
    expect(report).not.toContain(telling)
  })

  it('a message that names nothing of the database - whole', async () => {
    const values = { label: 'x', check: 'amcheck', reason: '3 findings' }
    const report = await reportOf(new PgproofError('VERIFY_FAILED', values, { details: `index public.${telling}` }))
    expect(report).toContain('3 findings')
    expect(report).not.toContain(telling)
  })
})
