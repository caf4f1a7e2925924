import { describe, expect, it } from 'vitest'
import { createPainter } from '../../src/commands/print.ts'
import { type DatabaseStanding, readStandings, worriesOf, worstFirst } from '../../src/commands/standing.ts'
import { statusAnswer } from '../../src/commands/status.ts'
import { historyGapLines } from '../../src/commands/wording.ts'
import type { ServerConfig } from '../../src/config/config.ts'
import type { DrillReport } from '../../src/domain/drill-report.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { backupFolder } from '../../src/storage/object-keys.ts'
import { clock, manifestAt, present, reportOf, signal } from '../catalog/stored.ts'
import { madeUpCatalog, serverConfig } from '../metrics/made-up-catalog.ts'
import { storeSetOf } from '../support/store-sets.ts'

const day = (number: number): string => `2026-11-${String(number).padStart(2, '0')}T02:00:00Z`

type Held = {
  readonly manifests?: readonly Manifest[]
  readonly reports?: readonly DrillReport[]
  /** Whose dumps are gone. */
  readonly cut?: readonly Manifest[]
}

/** By a server with an RPO of 26 hours and an RTO of half an hour, unless other settings are given. */
async function standingsOf(
  { cut = [], ...contents }: Held,
  settings: Partial<ServerConfig> = { objectives: { rpoMs: 26 * 3_600_000, rtoMs: 1_800_000 } },
): Promise<DatabaseStanding[]> {
  const { catalog, store } = await madeUpCatalog(clock, contents)
  for (const manifest of cut) store.objects.delete(`${backupFolder(manifest)}${manifest.objects.dump.name}`)
  await catalog.refresh(storeSetOf(store), signal)
  const servers = [serverConfig('main', settings)]
  const config = { isStoreOnly: false, servers, drill: { pick: 'random' }, timezone: 'UTC' }
  return readStandings(config as unknown as Parameters<typeof readStandings>[0], catalog, present)
}

const worries = async (held: Held): Promise<string[]> => (await standingsOf(held)).flatMap(worriesOf)

describe('what worries of a database', () => {
  const fresh = manifestAt(day(20))

  it('a restore that took longer than its objective - by how much; not the forecast besides', async () => {
    const slow = reportOf(fresh, day(20), { restoreTimeSeconds: 2410 })
    expect(await worries({ manifests: [fresh], reports: [slow] })).toEqual([
      'main/app: the last restore took 40 min 10 s, the objective is 30m',
    ])
  })

  it('a backup that has grown since its drill - that a restore would take too long', async () => {
    const small = manifestAt(day(19))
    const grown = { ...fresh, dump: { ...fresh.dump, bytes: small.dump.bytes * 3 } }
    const drill = reportOf(small, day(19), { restoreTimeSeconds: 1200 })
    expect(await worries({ manifests: [small, grown], reports: [drill] })).toEqual([
      'main/app: a restore would take about 1 h 00 min, the objective is 30m',
    ])
  })

  it('the only backup is whole and failed its drill - nothing can be restored, and why', async () => {
    const drilled = await worries({
      manifests: [fresh],
      reports: [
        reportOf(fresh, day(20), { verdict: 'failed', reason: { code: 'X', message: 'it differs', hint: '' } }),
      ],
    })
    expect(drilled).toEqual([
      'main/app: none of its backups can be restored: those that are whole failed a drill',
      'main/app: the last drill failed: it differs',
    ])
  })

  it('eight backups without their dumps - five by name, and how many more; none of them can be restored', async () => {
    const cut = [12, 13, 14, 15, 16, 17, 18, 19].map((number) => manifestAt(day(number)))
    const names = cut.toReversed().slice(0, 5)
    const lines = [
      ...names.map(({ label }) => `main/app: backup ${label}: dump.zst.pgp is missing`),
      'main/app: objects of 3 more of its backups are missing or cut short',
    ]
    expect(await worries({ manifests: cut, cut })).toEqual(['main/app: none of its backups can be restored', ...lines])
    const whole = await worries({ manifests: [...cut, fresh], cut, reports: [reportOf(fresh, day(20))] })
    expect(whole).toEqual(lines)
  })
})

describe('a backup whose schedule alone says how old it may be', () => {
  const daily = { schedule: { backup: '0 2 * * *' } }
  const held = (number: number) => {
    const backup = manifestAt(day(number))
    return { manifests: [backup], reports: [reportOf(backup, day(number))] }
  }
  const worriesBy = async (settings: Partial<ServerConfig>, number: number): Promise<string[]> =>
    (await standingsOf(held(number), settings)).flatMap(worriesOf)

  it('the last of a daily one was taken three days ago - how old it is, and how often one is due', async () => {
    expect(await worriesBy(daily, 17)).toEqual([
      expect.stringMatching(/^main\/app: the newest backup is \S.* old, one is due every 1d$/),
    ])
  })

  it.each([
    ['it was taken tonight', daily, 20],
    ['one is due each Tuesday', { schedule: { backup: '0 2 * * 2' } }, 17],
    ['none is scheduled', {}, 17],
    ['the objective allows it', { ...daily, objectives: { rpoMs: 10 * 86_400_000 } }, 17],
    ['the database is excluded by now', { ...daily, exclude: ['app'] }, 17],
  ])('%s - no worry', async (_, settings, number) => {
    expect(await worriesBy(settings, number)).toEqual([])
  })

  it('among those that are well - it comes first', async () => {
    const [late, well] = [manifestAt(day(17), { database: 'late' }), manifestAt(day(20))]
    const reports = [reportOf(late, day(20)), reportOf(well, day(20))]
    const standings = await standingsOf({ manifests: [well, late], reports }, daily)
    expect(worstFirst(standings).map(({ database }) => database)).toEqual(['late', 'app'])
  })
})

describe('the order of the status', () => {
  it('what worries most first: none, failed, too old, cut short, never proven, too slow, well', async () => {
    const of = (database: string, number = 20): Manifest => manifestAt(day(number), { database })
    const failed = { verdict: 'failed' as const, reason: { code: 'X', message: 'it differs', hint: '' } }
    const manifests = ['well', 'slow', 'unproven', 'cut', 'failed', 'none'].map((database) => of(database))
    const old = of('old', 10)
    const cutOlder = of('cut', 19)
    const gone = manifests.filter(({ database }) => database === 'none')
    const reports = manifests.flatMap((manifest) => {
      if (['unproven', 'none'].includes(manifest.database ?? '')) return []
      const slow = manifest.database === 'slow' ? { restoreTimeSeconds: 9000 } : {}
      return [reportOf(manifest, day(20), manifest.database === 'failed' ? failed : slow)]
    })
    const held = { manifests: [...manifests, old, cutOlder], reports, cut: [...gone, cutOlder] }
    const names = worstFirst(await standingsOf(held)).map(({ database }) => database)
    expect(names).toEqual(['none', 'failed', 'old', 'cut', 'unproven', 'slow', 'well'])
  })
})

describe('the status', () => {
  it('of a server whose databases nobody has backed up - says so, and worries', () => {
    const facts = {
      now: present,
      standings: [],
      roles: [{ server: 'main', newest: undefined, intervalSeconds: null }],
      stores: ['file:///b'],
    }
    const more = { storeId: null, stores: [] }
    const answer = statusAnswer({ ...facts, worries: [], knowsRuns: false }, more, createPainter(false))
    expect(answer.text).toMatch(/^No backup of any database yet\.\n/)
    expect(answer.text).toContain('What worries\n  main: no database was ever backed up')
    expect(answer.document).toMatchObject({ databases: [], worries: ['main: no database was ever backed up'] })
  })
})

describe('what somebody else did to the history', () => {
  it.each([
    ['removed', 'backup 1 is gone and no prune removed it'],
    ['replaced', 'backup 1 is not the one it was: its manifest was replaced'],
    ['returned', 'backup 1 was pruned and is there again: somebody put it back'],
  ] as const)('%s - what it was, and who noticed, three by name', (found, text) => {
    const witnesses = [
      { by: 'manifest' as const, label: '2' },
      ...['3', '4', '5', '6'].map((label) => ({ by: 'drill report' as const, label })),
    ]
    const gap = { kind: 'database' as const, server: 'main', database: 'app', label: '1', found, witnesses }
    expect(historyGapLines({ historyGaps: () => [gap] })).toEqual([
      `main/app: ${text} (noticed by the manifest of backup 2, which follows it; the report of drill 3; the report of drill 4; 2 more)`,
    ])
  })
})
