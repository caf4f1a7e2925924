import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { clock, manifestAt, recordOf, sha256Of } from './stored.ts'

/** A chain of nightly backups, each naming the one before it. */
function chain(length: number): Manifest[] {
  const manifests: Manifest[] = []
  for (let day = 1; day <= length; day += 1) {
    const before = manifests.at(-1)
    const previous = before === undefined ? null : { label: before.label, sha256: sha256Of(before) }
    manifests.push(manifestAt(`2026-11-${String(day).padStart(2, '0')}T02:00:00Z`, { previous }))
  }
  return manifests
}

function gapsOf(stored: readonly Manifest[], pruned: readonly Manifest[] = []) {
  const catalog = new Catalog({ clock })
  for (const manifest of stored) catalog.addBackup(manifest, sha256Of(manifest), false)
  if (pruned.length > 0) catalog.addPrune(recordOf(pruned))
  return catalog.historyGaps()
}

describe('the chain of manifests', () => {
  const all = chain(6)

  it('whole - no gap', () => {
    expect(gapsOf(all)).toEqual([])
  })

  it('pruned, as the record says - no gap', () => {
    expect(gapsOf([all[0], all[4], all[5]] as Manifest[], [all[1], all[2], all[3]] as Manifest[])).toEqual([])
  })

  it('a backup that somebody removed - a gap, at the one after it', () => {
    expect(gapsOf(all.filter((_, index) => index !== 2))).toEqual([
      {
        kind: 'database',
        server: 'main',
        database: 'app',
        label: all[3]?.label,
        previousLabel: all[2]?.label,
        found: 'removed',
      },
    ])
  })

  it('a backup that somebody replaced - a gap', () => {
    const replaced = all.map((manifest, index) => (index === 2 ? { ...manifest, pgproofVersion: '9.9.9' } : manifest))
    expect(gapsOf(replaced)).toMatchObject([{ previousLabel: all[2]?.label, found: 'replaced' }])
  })

  it('a record that names another manifest under that label - does not excuse the removal', () => {
    const other = { ...(all[2] as Manifest), pgproofVersion: '9.9.9' }
    expect(
      gapsOf(
        all.filter((_, index) => index !== 2),
        [other],
      ),
    ).toMatchObject([{ found: 'removed' }])
  })
})
