import { expect, it } from 'vitest'
import { moveTables } from '../../src/postgres/move-tables.ts'
import { codeOf, openSandbox } from './sandbox.ts'

it('the schema that tables are to be moved into is there - RESTORE_FAILED, and they are where they were', async () => {
  await using sandbox = await openSandbox('CREATE TABLE t (); CREATE SCHEMA copy')
  const move = { schema: 'copy', comment: 'of t', gone: new Set<string>() }
  expect(await codeOf(moveTables(sandbox.client, [{ schema: 'public', name: 't' }], move))).toBe('RESTORE_FAILED')
  expect(await sandbox.sql("SELECT relnamespace::regnamespace::text AS of FROM pg_class WHERE relname = 't'")).toEqual([
    { of: 'public' },
  ])
})
