import { describe, expect, it } from 'vitest'
import { fullDrillPage } from '../../src/commands/full-drill-page.ts'
import { createPainter } from '../../src/commands/print.ts'
import type { FullDrillDatabase, FullDrillReport } from '../../src/domain/full-drill-report.ts'
import { manifestAt, reportOf, sha256Of } from '../catalog/stored.ts'

const manifest = manifestAt('2026-11-20T02:00:00Z')
const drill = reportOf(manifest, '2026-11-20T05:00:00Z')

const database: FullDrillDatabase = {
  ...{ database: 'app', isConfigured: true, verdict: 'passed', reason: null, restoreTimeSeconds: 20 },
  backup: { label: manifest.label, snapshotTime: manifest.snapshotTime, manifestSha256: sha256Of(manifest) },
  drill: { label: drill.label, sha256: 'b'.repeat(64) },
  ...{ tables: 3, rows: 100, objects: 9, countOnly: 0, off: 0, differences: 0 },
  checks: [{ name: 'restore', result: 'passed' }],
  omissions: [],
}

const report: FullDrillReport = {
  ...{ format: 1, label: drill.label, server: 'main', storeId: 'store', pgproofVersion: '0.1.0' },
  ...{ startedAt: drill.startedAt, finishedAt: drill.finishedAt, verdict: 'passed', reason: null },
  ...{ rolesBackup: null, databases: [database] },
  seconds: { roles: 0, restore: 20, verification: 1, whole: 25 },
  recoveryPoints: { oldest: manifest.snapshotTime, newest: manifest.snapshotTime },
  ...{ environment: drill.environment, rtoSeconds: null, objective: 'none', signer: null },
}

const pageOf = (changes: Partial<FullDrillReport>): string =>
  fullDrillPage({ report: { ...report, ...changes }, storeUrl: 'file:///backups' }, createPainter(false))

describe('the page of a full drill', () => {
  it.each([
    [null, 'none', 'the restores together 20.0 s (no objective is configured)'],
    [1800, 'met', 'the restores together 20.0 s, within the objective of 30m'],
    [10, 'missed', 'the restores together 20.0 s, MORE than the objective of 10s'],
    [1800, 'unmeasured', 'the restores together 20.0 s as far as they came, against an objective of 30m'],
  ] as const)('an objective of %s seconds, %s - said after how long it took', (rtoSeconds, objective, expected) => {
    expect(pageOf({ rtoSeconds, objective })).toContain(`It took 25.0 s; ${expected}.\n`)
  })

  it('two databases that did not pass - at which check and why, and where to look or what to do', () => {
    const differs = { code: 'EVIDENCE_MISMATCH', message: 'table a\u001b[2J differs', hint: 'Take a new one.' }
    const missing = { code: 'NO_BACKUP', message: 'there is no backup of database b', hint: 'Take one.' }
    const checks = [
      { name: 'restore', result: 'passed' as const },
      { name: 'row counts', result: 'failed' as const },
      { name: 'digests', result: 'inconclusive' as const },
    ]
    const nothing = { backup: null, drill: null, restoreTimeSeconds: null, checks: [] }
    const databases = [
      { ...database, verdict: 'failed' as const, reason: differs, checks },
      { ...database, database: 'b', verdict: 'failed' as const, reason: missing, ...nothing },
    ]
    const text = pageOf({ verdict: 'failed', reason: differs, databases })
    expect(text).toContain('Server main cannot be rebuilt as a whole from this store: 0 of 2 databases of server main')
    expect(text).toContain(
      [
        'What did not pass',
        '  app (row counts, digests): table a\\x1b[2J differs',
        `    See \`pgproof show ${drill.label}\`.`,
        '  b: there is no backup of database b',
        '    Take one.\n',
      ].join('\n'),
    )
  })

  it('no backup at all - nothing restored or compared, and no instant is claimed', () => {
    const reason = { code: 'NO_BACKUP', message: 'there is no backup', hint: 'Take one.' }
    const nothing = { backup: null, drill: null, restoreTimeSeconds: null, checks: [] }
    const databases = [{ ...database, verdict: 'failed' as const, reason, ...nothing }]
    const text = pageOf({ verdict: 'failed', reason, databases, recoveryPoints: null })
    expect(text).toContain('Nothing was restored, so nothing was compared.')
    expect(text).not.toContain('Of which instant')
  })

  it('what a backup does not hold - named with its database, like what no full drill can know', () => {
    const omissions = [{ kind: 'foreign data', objects: 2 }]
    const databases = [database, { ...database, database: 'b\u001b[2J', omissions }]
    expect(pageOf({ databases })).toContain(
      'Not in the backups\n  b\\x1b[2J: foreign data (2)\n  Databases without any backup are not known to a full drill',
    )
  })
})
