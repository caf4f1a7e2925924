import { describe, expect, it } from 'vitest'
import type { Run } from '../../src/catalog/runs.ts'
import type { FleetConfig } from '../../src/config/fleet-config.ts'
import { entryOf, queuesFor } from '../../src/fleet/entry-of.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import type { Order } from '../../src/jobs/orders.ts'
import { serverConfig } from '../metrics/made-up-catalog.ts'
import { backup, dueBackup } from './in-process.ts'

const run: Run = {
  ...{ id: 'id', job: 'backup', server: 'main', database: 'shop', trigger: 'schedule', attempt: 1, state: 'queued' },
  ...{ queuedAt: new Date(0), startedAt: null, finishedAt: null, label: null, error: null, progress: null },
}

/** An installation in which the last backup took so many minutes. */
function lastTook(minutes: number | null, label?: string): Installation {
  const startedAt = '2026-11-20T00:00:00.000Z'
  const finishedAt = new Date(Date.parse(startedAt) + (minutes ?? 0) * 60_000).toISOString()
  const server = { ...serverConfig('main', { databases: ['shop'], backupDeadlineMs: 7_200_000 }), label }
  return {
    config: { servers: [server], drill: { deadlineMs: 3_600_000 } },
    catalog: { newest: () => (minutes === null ? undefined : { manifest: { startedAt, finishedAt } }) },
    storeId: 'store',
  } as unknown as Installation
}

const queueOf = (order: Order, installation: Installation): string => entryOf(run, order, 0, installation, 'a').queue

describe('the queue that an order goes to', () => {
  it('a backup - by how long the last one took; with the label of its server', () => {
    expect(queueOf(dueBackup('shop'), lastTook(null))).toBe('backup')
    expect(queueOf(dueBackup('shop'), lastTook(30))).toBe('backup')
    expect(queueOf(dueBackup('shop'), lastTook(31))).toBe('backup-large')
    expect(queueOf(dueBackup('shop'), lastTook(31, 'eu'))).toBe('backup-large.eu')
    expect(queueOf({ ...backup('shop'), job: 'roles' }, lastTook(31, 'eu'))).toBe('backup.eu')
    expect(queueOf({ ...backup('shop'), job: 'drill' }, lastTook(31, 'eu'))).toBe('drill.eu')
  })

  it('what a person orders - before everything else; what a schedule orders - after what waits of the same server', () => {
    const priority = (order: Order, waits: number): number => entryOf(run, order, waits, lastTook(1), 'a').priority
    expect(priority(backup('shop'), 99)).toBeGreaterThan(priority(dueBackup('shop'), 0))
    expect(priority(dueBackup('shop'), 1)).toBeGreaterThan(priority(dueBackup('shop'), 2))
  })

  it('an entry counts as lost an hour after its own deadline', () => {
    expect(entryOf(run, dueBackup('shop'), 0, lastTook(1), 'a').expireSeconds).toBe(7200 + 3600)
  })
})

describe('the queues that a worker takes from', () => {
  const all: Pick<FleetConfig, 'may' | 'labels'> = { may: ['backup', 'drill', 'prune', 'sync', 'serve'], labels: [] }
  const from = (fleet: typeof all, most: number, taken: number, takenByLong: number): string =>
    queuesFor(fleet, { most, taken, takenByLong }).join(' ')

  it('all places free - large backups first, for they take longest; drills after every backup', () => {
    expect(from(all, 4, 0, 0)).toBe('backup-large backup prune drill sync')
  })

  it('large ones and drills have all but one place - the last one is kept for what is quick', () => {
    expect(from(all, 4, 3, 3)).toBe('backup prune')
    expect(from(all, 4, 3, 2)).toBe('backup-large backup prune drill sync')
  })

  it('one place alone - quick ones first; none free - nothing', () => {
    expect(from(all, 1, 0, 0)).toBe('backup backup-large prune drill sync')
    expect(from(all, 1, 1, 0)).toBe('')
  })

  it('by its duties and labels - nothing else', () => {
    expect(from({ may: ['drill'], labels: ['eu'] }, 2, 0, 0)).toBe('drill drill.eu')
    expect(from({ may: ['backup'], labels: ['eu'] }, 2, 0, 0)).toBe('backup-large backup-large.eu backup backup.eu')
    expect(from({ may: ['serve'], labels: [] }, 2, 0, 0)).toBe('')
  })
})
