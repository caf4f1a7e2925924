import { expect, it } from 'vitest'
import { storeWorries } from '../../src/commands/store-lines.ts'
import { manifestAt, signal, storeBackup } from '../catalog/stored.ts'
import { down, fail, twoStores } from '../jobs/two-stores.ts'
import { testInstallation } from '../support/installation.ts'

it('a store that nobody has used yet - no worry', async () => {
  await using test = await testInstallation()
  expect(storeWorries({ ...test.installation, storeId: '' })).toEqual([])
})

it('backups of two servers under one name, in turn - asks whether two installations share the store', async () => {
  await using test = await testInstallation()
  for (const [index, systemIdentifier] of ['71', '72', '71'].entries()) {
    const manifest = manifestAt(`2026-11-1${index}T02:00:00Z`)
    await storeBackup(test.store, { ...manifest, source: { ...manifest.source, systemIdentifier } })
  }
  await test.installation.catalog.refresh(test.installation.stores, signal)
  expect(storeWorries(test.installation)).toEqual([
    'main: its backups come from 2 PostgreSQL servers in turn (71, 72); do two installations share this store?',
  ])
})

it('one store does not hand out a manifest, later another store answers nothing - which one, and what is the matter', async () => {
  await using test = await twoStores()
  const manifest = manifestAt('2026-11-19T02:00:00Z')
  for (const store of [test.a, test.b]) await storeBackup(store, manifest)
  fail(test.b, ['get'], /manifest\.json$/)
  const { catalog, stores } = test.installation
  await catalog.refresh(stores, signal)
  expect(storeWorries(test.installation)).toEqual(['store b could not be read completely'])
  fail(test.b)
  await catalog.refresh(stores, signal)
  expect(storeWorries(test.installation)).toEqual([`store b cannot be read: ${down().message}`])
})
