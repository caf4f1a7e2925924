import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import { sharedNames } from '../../src/catalog/shared-names.ts'
import { clockAt } from '../metrics/made-up-catalog.ts'
import { manifestAt } from './stored.ts'

/** Backups of `main`, the oldest first, each of the PostgreSQL server of that number. */
function backupsOf(servers: readonly number[]): Catalog {
  const catalog = new Catalog({ clock: clockAt('2026-11-20T12:00:00Z') })
  for (const [index, server] of servers.entries()) {
    const manifest = manifestAt(new Date(Date.UTC(2026, 9, 1 + index)).toISOString())
    const source = { ...manifest.source, systemIdentifier: `${server}` }
    const backup = { manifest: { ...manifest, source }, manifestSha256: `${index}`, hasSignature: false }
    catalog.addBackup(backup, ['store'])
  }
  return catalog
}

describe('one name for two servers', () => {
  it.each([
    ['one server', [1, 1, 1]],
    ['one that was replaced by another', [1, 1, 2, 2]],
    ['no backup', []],
    ['two that took turns long ago', [1, 2, 1, ...Array.from({ length: 60 }, () => 2)]],
  ])('%s - no worry', (_what, servers) => {
    expect(sharedNames(backupsOf(servers))).toEqual([])
  })

  it('two installations under one prefix that take turns - named with both', () => {
    expect(sharedNames(backupsOf([1, 2, 1, 2]))).toEqual([{ server: 'main', systemIdentifiers: ['2', '1'] }])
  })
})
