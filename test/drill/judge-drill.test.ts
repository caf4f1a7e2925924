import { cpus, totalmem } from 'node:os'
import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { Clock } from '../../src/clock.ts'
import { Checklist } from '../../src/domain/checklist.ts'
import { type DrillReport, encodeDrillReport } from '../../src/domain/drill-report.ts'
import type { DrillTables } from '../../src/domain/drill-tables.ts'
import { type DrillFindings, type JudgeInput, judgeDrill, publicReason } from '../../src/drill/drill-verdict.ts'
import { type ErrorCode, PgproofError, register } from '../../src/errors.ts'
import { createPhases } from '../../src/restore/phases.ts'
import { version } from '../../src/version.ts'
import { labelAt, manifestAt, present, reportOf } from '../catalog/stored.ts'

type Changes = {
  readonly request?: Partial<JudgeInput['request']>
  readonly findings?: Partial<DrillFindings>
  readonly error?: PgproofError
  readonly checklist?: Checklist
  readonly catalog?: Catalog
}

const clock: Clock = { now: () => present, monotonicMs: () => 0, sleep: async () => {} }
const manifest = manifestAt('2026-11-20T05:00:00Z', { omissions: [{ kind: 'unlogged', objects: 2 }] })

/** The report of a drill of `main/app`, as the store's schema takes it. */
function judge({
  request,
  findings,
  error,
  checklist = new Checklist(),
  catalog = new Catalog({ clock }),
}: Changes = {}) {
  const report = judgeDrill({
    request: {
      server: 'main',
      database: 'app',
      backup: null,
      rule: 'random',
      seed: 7,
      scratch: { kind: 'embedded' },
      jobs: 3,
      rtoMs: null,
      queuedSeconds: 1.5,
      ...request,
    },
    copy: 'second',
    picked: { manifest, manifestSha256: 'a'.repeat(64) },
    label: labelAt('2026-11-20T06:00:00Z'),
    startedAt: new Date('2026-11-20T06:00:00Z'),
    checklist,
    phases: createPhases(clock, () => {}),
    findings: {
      tables: null,
      serverVersion: null,
      reach: null,
      rolesBackup: null,
      restoreMs: null,
      notes: [],
      ...findings,
    },
    error: error ?? null,
    parts: { catalog, clock, storeId: 'id' },
  } as unknown as JudgeInput)
  encodeDrillReport(report)
  return report
}

type Table = DrillTables['tables'][number]

function tablesOf(more: Partial<DrillTables> = {}): DrillTables {
  return {
    format: 1,
    label: labelAt('2026-11-20T06:00:00Z'),
    errorDetails: null,
    notes: [],
    structure: { compared: 40, differences: [] },
    tables: [],
    sequences: [],
    largeObjects: null,
    ...more,
  }
}

const table = (result: Table['result'], compared: Table['compared'], restoredRows: number | null): Table => ({
  schema: 'public',
  name: 't',
  expectedRows: 5,
  restoredRows,
  expectedDigest: null,
  restoredDigest: null,
  compared,
  result,
})

describe('the report that a drill makes', () => {
  it('passed - what was drilled, where, when and with what', () => {
    const reach = { network: 'none', notIsolated: ['files'] } as const
    const rolesBackup = { label: labelAt('2026-11-19T05:00:00Z'), manifestSha256: 'b'.repeat(64) }
    const findings = { serverVersion: '17.2', reach: { ...reach, notIsolated: [...reach.notIsolated] }, rolesBackup }
    expect(judge({ findings: { ...findings, restoreMs: 1234.4 } })).toEqual({
      format: 1,
      label: '20261120T060000Z-4f7k',
      server: 'main',
      database: 'app',
      storeId: 'id',
      store: 'second',
      pgproofVersion: version,
      backup: {
        label: manifest.label,
        snapshotTime: manifest.snapshotTime,
        manifestSha256: 'a'.repeat(64),
        dumpBytes: 8000,
      },
      rolesBackup,
      pick: { rule: 'random', seed: 7 },
      startedAt: '2026-11-20T06:00:00.000Z',
      finishedAt: present.toISOString(),
      verdict: 'passed',
      reason: null,
      checks: new Checklist().results(),
      phases: [{ name: 'queue', seconds: 1.5 }],
      restoreTimeSeconds: 1.234,
      rtoSeconds: null,
      forecastSeconds: 1.234,
      objective: 'none',
      environment: {
        scratch: 'embedded',
        serverVersion: '17.2',
        network: 'none',
        notIsolated: ['files'],
        jobs: 3,
        cpus: cpus().length,
        cpuModel: cpus()[0]?.model,
        memoryBytes: totalmem(),
      },
      compared: { tables: 0, rows: 0, objects: 0, countOnly: 0, off: 0, differences: 0 },
      omissions: [{ kind: 'unlogged', objects: 2 }],
      signer: null,
      tablesSha256: null,
    })
  })

  it('before any server was there - nothing is claimed of one', () => {
    const { environment, restoreTimeSeconds, forecastSeconds } = judge()
    expect(environment).toMatchObject({ serverVersion: null, network: null, notIsolated: null })
    expect([restoreTimeSeconds, forecastSeconds]).toEqual([null, null])
  })

  it.each([
    [{ rule: 'latest' }, { rule: 'latest', seed: null }],
    [
      { rule: 'random', seed: 0 },
      { rule: 'random', seed: 0 },
    ],
    [
      { rule: 'random', backup: 'x' },
      { rule: 'named', seed: null },
    ],
    [
      { rule: 'latest', backup: 'x' },
      { rule: 'named', seed: null },
    ],
  ] as const)(
    'ordered by %j - says how the backup was chosen, with the seed only where it decided',
    (request, pick) => {
      expect(judge({ request }).pick).toEqual(pick)
    },
  )

  it.each([
    [null, 5000, 'none'],
    [null, null, 'none'],
    [5000, null, 'unmeasured'],
    [5000, 4999, 'met'],
    [5000, 5000, 'met'],
    [5000, 5001, 'missed'],
  ] as const)('an RTO of %j ms and a restore of %j ms - %s', (rtoMs, restoreMs, objective) => {
    const report = judge({ request: { rtoMs }, findings: { restoreMs } })
    expect(report.objective).toBe(objective)
    expect(report.rtoSeconds).toBe(rtoMs === null ? null : 5)
  })

  it('what was compared - counted by what was taken of each table, and every difference once', () => {
    const tables = tablesOf({
      structure: {
        compared: 40,
        differences: [{ kind: 'table', name: 'x', result: 'missing', facets: [] }],
      },
      tables: [
        table('equal', 'rows and digest', 5),
        table('equal', 'rows', 7),
        table('equal', 'rows and digest', 1),
        table('not compared', 'rows', 100),
        table('rows differ', 'rows and digest', 4),
        table('digest differs', 'rows and digest', 5),
        table('missing', 'nothing', null),
        table('unexpected', 'nothing', 9),
        table('not compared', 'nothing', null),
        table('not compared', 'nothing', null),
        table('not compared', 'nothing', null),
      ],
      sequences: (['equal', 'ahead', 'behind', 'beyond', 'missing', 'unexpected'] as const).map((result) => ({
        schema: 'public',
        name: result,
        expectedNext: null,
        restoredNext: null,
        result,
      })),
      largeObjects: {
        expected: { count: 1, digest: null },
        restored: { count: 2, digest: null },
        result: 'count differs',
      },
    })
    expect(judge({ findings: { tables } }).compared).toEqual({
      tables: 6,
      rows: 131,
      objects: 40,
      countOnly: 2,
      off: 3,
      differences: 1 + 4 + 4 + 1,
    })
  })

  it('large objects that are equal, or a structure that was not reached - no difference', () => {
    const largeObjects = {
      expected: { count: 1, digest: null },
      restored: { count: 1, digest: null },
      result: 'equal' as const,
    }
    const { compared } = judge({ findings: { tables: tablesOf({ largeObjects, structure: null }) } })
    expect(compared).toMatchObject({ objects: 0, differences: 0 })
    expect(judge({ findings: { tables: tablesOf() } }).compared).toMatchObject({ objects: 40, differences: 0 })
  })
})

describe('the forecast in it', () => {
  const past = (time: string, changes: Partial<DrillReport>): DrillReport =>
    reportOf(manifestAt('2026-11-19T05:00:00Z'), time, { label: labelAt(time, 'dr22'), ...changes })

  it('of this drill and those before it; one that did not pass has no say', () => {
    const catalog = new Catalog({ clock })
    const names = ['store']
    catalog.addDrill(past('2026-11-19T06:00:00Z', { restoreTimeSeconds: 3 }), names, null)
    catalog.addDrill(past('2026-11-19T07:00:00Z', { restoreTimeSeconds: 5 }), names, null)
    expect(judge({ catalog, findings: { restoreMs: 4000 } }).forecastSeconds).toBe(4)
    const error = new PgproofError('EVIDENCE_MISMATCH', { count: '1', tables: 't' })
    expect(judge({ catalog, findings: { restoreMs: 400_000 }, error }).forecastSeconds).toBe(4)
    const unsure = new PgproofError('SPOOL_FULL', {})
    expect(judge({ catalog, findings: { restoreMs: 400_000 }, error: unsure }).forecastSeconds).toBe(4)
  })
})

describe('why a drill did not pass', () => {
  it('an error that the backup is to blame for - failed; any other - inconclusive', () => {
    expect(judge({ error: new PgproofError('EVIDENCE_MISMATCH', { count: '1', tables: 't' }) }).verdict).toBe('failed')
    expect(judge({ error: new PgproofError('SPOOL_FULL', {}) }).verdict).toBe('inconclusive')
  })

  it('of every error of the register - code and hint; the message whole only if it can name nothing of the database', () => {
    const whole = Object.keys(register).filter((code) => {
      const error = new PgproofError(code as ErrorCode, {})
      const odd = Object.assign(Object.create(error) as PgproofError, { message: 'said: more\nand more' })
      const reason = publicReason(odd)
      expect(reason).toMatchObject({ code, hint: error.hint })
      expect(['said: more\nand more', 'said']).toContain(reason.message)
      return reason.message !== 'said'
    })
    expect(whole.toSorted()).toEqual([
      'CANCELLED',
      'DEADLINE_EXCEEDED',
      'DECRYPTION_FAILED',
      'EXTENSION_MISSING',
      'HISTORY_BROKEN',
      'KEY_NEEDED',
      'KEY_NO_MATCH',
      'KEY_UNREADABLE',
      'KEY_UNUSABLE',
      'LABEL_UNKNOWN',
      'LOCALE_MISSING',
      'LOCKED',
      'NO_BACKUP',
      'OBJECT_MISMATCH',
      'PASSPHRASE_WRONG',
      'PROGRAM_MISSING',
      'RECIPIENT_MISSING',
      'SCRATCH_IS_SOURCE',
      'SERVER_TOO_OLD',
      'SHUTTING_DOWN',
      'SIGNATURE_INVALID',
      'SIGNATURE_MISSING',
      'SPOOL_FULL',
      'SPOOL_UNUSABLE',
      'STORE_BUCKET_MISSING',
      'STORE_CREDENTIALS_MISSING',
      'STORE_DENIED',
      'STORE_EXISTS',
      'STORE_FAILED',
      'STORE_FORMAT_INVALID',
      'STORE_FORMAT_NEWER',
      'STORE_FULL',
      'STORE_NOT_FOUND',
      'STORE_UNMARKED',
      'STORE_UNREACHABLE',
      'VERIFY_FAILED',
    ])
  })

  it('what a check found - whole where it passed or was skipped, cut before names where it did not', () => {
    const checklist = new Checklist()
    checklist.add('passed', 'passed', '3 tables: all equal')
    checklist.add('skipped', 'skipped', 'off: not in the evidence')
    checklist.add('failed', 'failed', '1 difference: public.secret\nmore')
    checklist.add('inconclusive', 'inconclusive', 'query failed: public.secret')
    checklist.add('silent', 'failed', null)
    const details = judge({ checklist })
      .checks.filter(({ name }) => ['passed', 'skipped', 'failed', 'inconclusive', 'silent'].includes(name))
      .map(({ detail }) => detail)
    expect(details).toEqual(['3 tables: all equal', 'off: not in the evidence', '1 difference', 'query failed', null])
  })
})
