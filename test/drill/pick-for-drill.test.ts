import { describe, expect, it } from 'vitest'
import type { CatalogBackup } from '../../src/catalog/catalog.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { storeForDrill } from '../../src/drill/pick-for-drill.ts'
import { PgproofError } from '../../src/errors.ts'
import { manifestAt, reportOf } from '../catalog/stored.ts'
import { readSeveral, type Several } from '../catalog/two-stores.ts'

const [older, newer] = [manifestAt('2026-11-19T02:00:00Z'), manifestAt('2026-11-20T02:00:00Z')]

function storeFor({ catalog }: Several, { label }: Manifest, store: string | null = null): string {
  return storeForDrill(catalog.find(label) as CatalogBackup, { server: 'main', database: 'app', store }, catalog)
}

describe('the store whose copy is drilled', () => {
  it('nothing was drilled yet - the first; after that the one from which none was', async () => {
    const backups = [older, newer]
    expect(storeFor(await readSeveral({ backups }, { backups }), newer)).toBe('a')
    const reports = [reportOf(older, '2026-11-20T05:00:00Z', { store: 'a' })]
    expect(storeFor(await readSeveral({ backups, reports }, { backups, reports }), newer)).toBe('b')
  })

  it('two backups drilled in turn, as often as there are stores - the copy of each that nobody read is next', async () => {
    const backups = [older, newer]
    const reports = [
      reportOf(older, '2026-11-20T05:00:00Z', { store: 'a' }),
      reportOf(newer, '2026-11-20T06:00:00Z', { store: 'b' }),
    ]
    const both = await readSeveral({ backups, reports }, { backups, reports })
    expect([storeFor(both, older), storeFor(both, newer)]).toEqual(['b', 'a'])
  })

  it('the one whose turn it is cannot be read - the other one, not a drill in vain; alone, or by name, it is taken', async () => {
    const backups = [older, newer]
    const reports = [reportOf(newer, '2026-11-20T05:00:00Z', { store: 'a' })]
    const both = await readSeveral({ backups: [newer], reports }, { backups, reports })
    expect(storeFor(both, newer)).toBe('b')
    const b = both.stores['b']
    if (b !== undefined)
      b.before = () => {
        throw new PgproofError('STORE_UNREACHABLE', { store: 'b', reason: 'gone' })
      }
    await both.refresh()
    expect([storeFor(both, newer), storeFor(both, older), storeFor(both, newer, 'b')]).toEqual(['a', 'b', 'b'])
  })
})
