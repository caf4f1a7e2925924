import { expect, it } from 'vitest'
import { retentionIn } from '../../src/config/retention-in.ts'
import { configFolder, least } from './folder.ts'

it('what a store keeps - its own policy before that of the server; of a server that is not configured nothing is decided', async () => {
  await using folder = await configFolder()
  const stores = 'store: [{ name: near, url: s3://backups/a, retention: { last: 3 } }, { name: far, url: s3://b-2 }]'
  const servers = '    retention: { daily: 9 }\n    rolesRetention: { last: 5 }\n'
  const { config } = await folder.load(least.replace(/store: .*/, stores) + servers)
  const near = retentionIn('near', config)
  const far = retentionIn('far', config)
  expect([near('main', 'database')?.last, near('main', 'roles')?.last]).toEqual([3, 5])
  expect([far('main', 'database')?.daily, far('main', 'roles')?.last]).toEqual([9, 5])
  expect([near('removed', 'database'), far('removed', 'roles')]).toEqual([null, null])
})
