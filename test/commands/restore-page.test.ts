import { describe, expect, it } from 'vitest'
import { createPainter } from '../../src/commands/print.ts'
import { restorePage } from '../../src/commands/restore-page.ts'
import type { RestoreResult } from '../../src/domain/restore-result.ts'
import { PgproofError } from '../../src/errors.ts'

const result: RestoreResult = {
  backup: {
    label: '20261120T020000Z-4f7k',
    server: 'main',
    database: 'shop',
    snapshotTime: '2026-11-20T02:00:00Z',
    version: '15.4',
  },
  target: { server: 'db:5432', database: 'shop', version: '15.4' },
  outcome: 'created',
  aside: null,
  undo: [],
  roles: null,
  phases: [],
  seconds: 3,
  checks: [],
  tables: null,
  counts: { tables: 1, rows: 2, largeObjects: 0 },
  omissions: [],
  schedulers: [],
  subscriptions: [],
  notes: [],
  error: null,
}
const page = (changes: Partial<RestoreResult>): string => restorePage({ ...result, ...changes }, createPainter(false))

describe('the page of a restore', () => {
  it('with a subscription in place of another database - how to enable it, that the old one goes on, whose slot it is', () => {
    const text = page({ outcome: 'replaced', aside: 'shop_before', undo: ['BEGIN;'], subscriptions: ['inbound'] })
    expect(text).toContain('ALTER SUBSCRIPTION inbound ENABLE;')
    expect(text).toContain('ALTER SUBSCRIPTION inbound REFRESH PUBLICATION WITH (copy_data = false);')
    expect(text).toContain('ALTER SUBSCRIPTION inbound SET (slot_name = NONE);')
    expect(text).toContain('changes still arrive in shop_before')
  })

  it('without subscriptions - no word of any', () => {
    expect(page({ outcome: 'replaced', aside: 'shop_before', undo: ['BEGIN;'] })).not.toMatch(/subscription/i)
  })

  it('kept apart - not called restored, and no next steps of a database that serves', () => {
    const values = { reason: 'table t differs', name: 'pgproof_restore_x_shop' }
    const text = page({ outcome: 'kept apart', error: new PgproofError('RESTORED_DIFFERS', values) })
    expect(text).toMatch(/^NOT PUT IN PLACE {2}main\/shop as of /)
    expect(text).not.toMatch(/RESTORED|What to do next/)
  })

  it('with a scheduler inside - says that its jobs run again, among what to do next', () => {
    const next = page({ schedulers: ['pg_cron'] }).split('What to do next\n')[1]
    expect(next).toContain(
      '  pg_cron is in it: its jobs run again from now on; look at them first if this is a copy.\n',
    )
  })
})
