import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { DrillReport } from '../../src/domain/drill-report.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { clock, manifestAt, reportOf, rolesManifestAt, sha256Of } from './stored.ts'

const manifest = manifestAt('2026-11-10T02:00:00Z')
const at = (day: number): string => `2026-11-${day}T05:00:00Z`

function proofAfter(reports: readonly DrillReport[], of: Manifest = manifest) {
  const catalog = new Catalog({ clock })
  catalog.addBackup({ manifest: of, manifestSha256: sha256Of(of), hasSignature: false }, ['store'])
  for (const report of reports) catalog.addDrill(report, ['store'])
  const [backup] = catalog.backups()
  return {
    verified: backup?.verifiedAt?.getUTCDate() ?? null,
    drilled: backup?.lastDrilledAt?.getUTCDate() ?? null,
    verdict: backup?.lastVerdict ?? null,
    isKnownBad: backup?.isKnownBad,
    newestVerified: of.database === null ? undefined : catalog.newest('main', 'app', 'verified')?.manifest.label,
  }
}

describe('what is proven of a backup', () => {
  it('no drill - nothing', () => {
    expect(proofAfter([])).toEqual({ verified: null, drilled: null, verdict: null, isKnownBad: false })
  })

  it('passed - verified at the end of that drill', () => {
    expect(proofAfter([reportOf(manifest, at(12))])).toEqual({
      verified: 12,
      drilled: 12,
      verdict: 'passed',
      isKnownBad: false,
      newestVerified: manifest.label,
    })
  })

  it('inconclusive - drilled, but it says nothing about the backup', () => {
    const inconclusive = reportOf(manifest, at(13), { verdict: 'inconclusive' })
    expect(proofAfter([inconclusive])).toMatchObject({ verified: null, drilled: 13, verdict: 'inconclusive' })
    expect(proofAfter([reportOf(manifest, at(12)), inconclusive])).toMatchObject({ verified: 12, drilled: 13 })
  })

  it('failed after it had passed - the proof is taken back; passed again - proven again', () => {
    const failed = reportOf(manifest, at(13), { verdict: 'failed' })
    expect(proofAfter([failed, reportOf(manifest, at(12))])).toMatchObject({ verified: null, verdict: 'failed' })
    expect(proofAfter([failed, reportOf(manifest, at(14))])).toMatchObject({ verified: 14, verdict: 'passed' })
  })

  it('failed, then inconclusive - still known to be bad; a drill that passed is what takes that back', () => {
    const failed = reportOf(manifest, at(12), { verdict: 'failed' })
    const inconclusive = reportOf(manifest, at(13), { verdict: 'inconclusive' })
    expect(proofAfter([failed, inconclusive])).toMatchObject({ verdict: 'inconclusive', isKnownBad: true })
    expect(proofAfter([failed, inconclusive, reportOf(manifest, at(14))])).toMatchObject({ isKnownBad: false })
    expect(proofAfter([reportOf(manifest, at(12)), inconclusive])).toMatchObject({ isKnownBad: false })
    expect(proofAfter([inconclusive])).toMatchObject({ isKnownBad: false })
  })

  it('inconclusive was known, and a failed one before it only afterwards - known to be bad from then on', () => {
    const catalog = new Catalog({ clock })
    catalog.addBackup({ manifest, manifestSha256: sha256Of(manifest), hasSignature: false }, ['store'])
    catalog.addDrill(reportOf(manifest, at(13), { verdict: 'inconclusive' }), ['store'])
    expect(catalog.backups()).toMatchObject([{ isKnownBad: false }])
    catalog.addDrill(reportOf(manifest, at(12), { verdict: 'failed' }), ['store'])
    expect(catalog.backups()).toMatchObject([{ isKnownBad: true }])
  })

  it('a report of another manifest under the same label - does not count', () => {
    const other = reportOf({ ...manifest, pgproofVersion: '9.9.9' }, at(12))
    expect(proofAfter([other])).toMatchObject({ verified: null, drilled: null })
  })

  it('a report of another database with a backup of the same label - does not count', () => {
    expect(proofAfter([reportOf({ ...manifest, database: 'other' }, at(12))])).toMatchObject({ verified: null })
  })

  it('a roles backup - proven by drills that passed with it; a failed one takes nothing back', () => {
    const roles = rolesManifestAt('2026-11-09T03:00:00Z')
    const drilled = { label: roles.label, manifestSha256: sha256Of(roles) }
    const passed = reportOf(manifest, at(12), { rolesBackup: drilled })
    const failed = reportOf(manifest, at(13), { rolesBackup: drilled, verdict: 'failed' })
    expect(proofAfter([reportOf(manifest, at(12))], roles)).toMatchObject({ verified: null })
    expect(proofAfter([passed, failed], roles)).toMatchObject({ verified: 12, drilled: 13, verdict: 'failed' })
    expect(proofAfter([failed], roles)).toMatchObject({ verified: null, drilled: 13, isKnownBad: false })
  })

  it('a report with another roles manifest under the same label - does not count for the roles backup', () => {
    const roles = rolesManifestAt('2026-11-09T03:00:00Z')
    const manifestSha256 = sha256Of({ ...roles, pgproofVersion: '9.9.9' })
    const passed = reportOf(manifest, at(12), { rolesBackup: { label: roles.label, manifestSha256 } })
    expect(proofAfter([passed], roles)).toMatchObject({ verified: null, drilled: null })
  })
})
