import { expect, it } from 'vitest'
import { pickRolesBackup, rolesNeeded } from '../../src/domain/roles-needed.ts'
import { cpuMilliseconds } from '../support/cpu-time.ts'

// Weekly roles, newest first; the labels are their days.
const roles = ['2026-11-15', '2026-11-08', '2026-11-01', '2026-10-25'].map((label) => rolesOf(label))

it.each([
  ['newer than all of them', '2026-11-20', '2026-11-15'],
  ['with one that is eight days younger to the instant', '2026-11-07', '2026-11-15'],
  ['with one that is eight days and a moment younger', '2026-11-06', '2026-11-08'],
  ['older than the first of them by a week', '2026-10-18', '2026-10-25'],
  ['older than everything by months - the newest, as nothing fits', '2026-03-01', '2026-11-15'],
])('pickRolesBackup: a backup %s - %s takes the roles of %s', (_, snapshot, expected) => {
  expect(pickRolesBackup(at(snapshot), roles)?.label).toBe(expected)
})

it('pickRolesBackup: there are none - none', () => {
  expect(pickRolesBackup(at('2026-11-20'), [])).toBeUndefined()
})

it('rolesNeeded: database backups of all ages - what a restore of each takes, with how many and the newest of them', () => {
  const databases = ['2026-10-18', '2026-11-20', '2026-11-18', '2026-11-19', '2026-10-29'].map((label) =>
    rolesOf(label),
  )
  expect(Object.fromEntries(rolesNeeded(databases, roles.toReversed()))).toEqual({
    '2026-11-15': 'by 3 backups, the newest 2026-11-20',
    '2026-11-01': 'by backup 2026-10-29',
    '2026-10-25': 'by backup 2026-10-18',
  })
})

it('rolesNeeded: the roles backup that a restore takes is bad - needed, and so is the next good one', () => {
  const damaged = roles.map((one) => ({ ...one, isGood: one.label !== '2026-11-15' }))
  expect([...rolesNeeded([rolesOf('2026-11-20')], damaged).keys()]).toEqual(['2026-11-15', '2026-11-08'])
})

it('rolesNeeded: labels in another order than the snapshots, as by clocks that differ - by the snapshots', () => {
  const one = { ...rolesOf('2026-11-15'), label: 'a' }
  const databases = [
    { ...rolesOf('2026-11-20'), label: 'x' },
    { ...rolesOf('2026-11-19'), label: 'y' },
  ]
  for (const older of ['b', '2026-11-08'])
    expect([...rolesNeeded(databases, [{ ...rolesOf('2026-11-08'), label: older }, one])]).toEqual([
      ['a', 'by 2 backups, the newest x'],
    ])
})

it('rolesNeeded: two of one instant, in whatever order they come - the later label is the newer one', () => {
  const twins = (...labels: readonly string[]) => labels.map((label) => ({ ...rolesOf('2026-11-15'), label }))
  for (const [one, other] of [
    ['p', 'q'],
    ['q', 'p'],
  ] as const)
    expect([...rolesNeeded(twins(one, other), twins(one, other))]).toEqual([['q', 'by 2 backups, the newest q']])
})

it('rolesNeeded: no database backup, or no roles - nothing is needed', () => {
  expect(rolesNeeded([], roles).size).toBe(0)
  expect(rolesNeeded([rolesOf('2026-11-20')], []).size).toBe(0)
})

it('rolesNeeded: 10,000 backups and ten years of weekly roles - within 100 ms', () => {
  const many = Array.from({ length: 520 }, (_, index) => rolesAt(index * 7 * 24))
  const databases = Array.from({ length: 10_000 }, (_, index) => rolesAt(index * 8))
  expect(cpuMilliseconds(() => rolesNeeded(databases, many))).toBeLessThan(100)
})

function at(day: string): Date {
  return new Date(`${day}T02:00:00Z`)
}

function rolesOf(label: string): { label: string; snapshotTime: Date; isGood: boolean } {
  return { label, snapshotTime: at(label), isGood: true }
}

function rolesAt(hoursAgo: number): { label: string; snapshotTime: Date; isGood: boolean } {
  const snapshotTime = new Date(Date.UTC(2026, 10, 20) - hoursAgo * 3_600_000)
  return { label: snapshotTime.toISOString(), snapshotTime, isGood: true }
}
