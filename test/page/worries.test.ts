import { describe, expect, it } from 'vitest'
import { Catalog } from '../../src/catalog/catalog.ts'
import type { Job, PlannedJob, RunState } from '../../src/catalog/runs.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { PgproofError } from '../../src/errors.ts'
import type { Installation } from '../../src/jobs/installation.ts'
import { silentLog } from '../../src/log.ts'
import { StoreSet } from '../../src/storage/store-set.ts'
import { manifestAt, reportOf, rolesManifestAt, signal, storeBackup, storeReport } from '../catalog/stored.ts'
import { now, type ServerSettings, startTestServer, type TestServer } from '../http/test-server.ts'
import { clockAt, serverConfig } from '../metrics/made-up-catalog.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { namedStore, storeSetOf } from '../support/store-sets.ts'
import { manyStories } from './many.ts'
import { scheduleOf, storeOf } from './store.ts'
import { wordsOf } from './words-of.ts'

const older = manifestAt('2026-11-19T02:00:00Z')
const newest = manifestAt('2026-11-20T02:00:00Z')
const roles = rolesManifestAt('2026-11-20T01:00:00Z')
const passed = reportOf(newest, '2026-11-20T05:00:00Z', { restoreTimeSeconds: 200 })
const well = { manifests: [older, newest, roles], reports: [passed] }
const gone = new PgproofError('STORE_UNREACHABLE', { store: 's3://backups', reason: 'no route to host' })

async function wordsWith(settings: ServerSettings): Promise<string> {
  await using server = await startTestServer(settings)
  return await wordsOf(server)
}

/** After the store was read again; what has become of it meanwhile is up to `change`. */
async function wordsAfter(change: (server: TestServer) => unknown): Promise<string> {
  await using server = await startTestServer(well)
  await change(server)
  await server.catalog.refresh(storeSetOf(server.store, server.clock), signal).catch(() => {})
  return await wordsOf(server)
}

/** A required store `a` and another one `b` that is not, with all that `well` has in `a`, and in `b` as much as is said. */
async function twoStores(
  inOther: readonly Manifest[],
  change: (a: MemoryStore, b: MemoryStore) => void = () => {},
): Promise<Partial<Installation>> {
  const clock = clockAt(now)
  const [a, b] = [new MemoryStore(clock), new MemoryStore(clock)]
  for (const manifest of well.manifests) await storeBackup(a, manifest)
  for (const manifest of inOther) await storeBackup(b, manifest)
  for (const store of [a, b]) await storeReport(store, passed)
  const stores = new StoreSet([namedStore(a, 'a'), namedStore(b, 'b', false)], { clock, log: silentLog })
  const catalog = new Catalog({ clock })
  change(a, b)
  await catalog.refresh(stores, signal)
  return { stores, catalog }
}

describe('what the page says of the stores', () => {
  it('nothing of it was read yet - that what is shown is not all there is', async () => {
    const installation = { catalog: new Catalog({ clock: clockAt(now) }) }
    expect(await wordsWith({ installation })).toContain(
      'Store : it has not been read yet. Reason: what this page shows is not all there is',
    )
  })

  it('it keeps one document back - it could not be read completely, with which is no store that is away', async () => {
    const words = await wordsAfter(async ({ store }) => {
      const folder = await storeBackup(store, manifestAt('2026-11-20T11:00:00Z'))
      store.before = (operation, key) => {
        if (operation === 'get' && key.startsWith(folder)) throw gone
      }
    })
    expect(words).toContain('Store : it could not be read completely. Reason: what this page shows may not be all')
    expect(words).not.toContain('it cannot be read')
  })

  it('a required one of two is away - no backup can be taken, and that it is not ready is not said besides', async () => {
    const installation = await twoStores(well.manifests, (a) => {
      a.before = () => {
        throw gone
      }
    })
    const isReady = () => ({ ready: false, reasons: ['the store a is away'], awaited: '' })
    const words = await wordsWith({ installation, parts: { isReady } })
    expect(words).toContain(`Store a : it cannot be read: no backup can be taken without it. Reason: ${gone.message}`)
    expect(words).toContain('See that it is up and reachable from here; pgproof check says more.')
    expect(words).not.toContain('it is not ready')
  })

  it('one of two that is not required is away - soon, not now, and nothing is said of what it lacks', async () => {
    const installation = await twoStores(well.manifests, (_a, b) => {
      b.before = () => {
        throw gone
      }
    })
    const words = await wordsWith({ installation })
    expect(words).toContain('1 thing needs you soon')
    expect(words).toContain('Soon: Store b : it cannot be read (it is not required).')
    // Which backups it has nobody knows.
    expect(words).not.toContain('lacks')
  })

  it('one lacks a backup, and its clock is late - both, with what to do', async () => {
    const installation = await twoStores([newest, roles], (_a, b) => {
      b.skewSeconds = -120
    })
    const words = await wordsWith({ installation })
    expect(words).toContain('Store b : it lacks 1 backup that another store has. A sync copies them: pgproof sync .')
    expect(words).toContain('Store b : its clock differs from ours by 2 min. Set the clock that is wrong')
    expect(words).not.toContain('Store a :')
  })

  it('a manifest was overwritten - how many are damaged, and that they count as nothing', async () => {
    const words = await wordsAfter(({ store }) =>
      store.put(store.keys().find((key) => key.endsWith('manifest.json')) ?? '', Buffer.from('{}'), { signal }),
    )
    expect(words).toContain(
      'Store : 1 manifest or report cannot be read, or is not signed as demanded. Reason: they count as nothing',
    )
  })

  it('somebody removed a backup that a drill remembers - which one', async () => {
    const words = await wordsAfter(({ store }) => {
      for (const key of store.keys()) if (key.includes(`${newest.label}/`)) store.objects.delete(key)
    })
    expect(words).toContain(
      `Store : somebody other than pgproof removed, replaced or put back 1 backup. Reason: the first: ${newest.label} was removed`,
    )
  })

  it('no server is configured and the store is empty - nothing is protected, and no roles are shown', async () => {
    const words = await wordsWith({ servers: [] })
    expect(words).toContain('pgproof : it protects no database. Reason: none is planned, and the store has no backup')
    expect(words).not.toContain('Roles')
  })
})

const withoutDump = async ({ store }: TestServer, ...manifests: readonly Manifest[]): Promise<void> => {
  for (const key of store.keys())
    if (manifests.some(({ label }) => key.endsWith(`${label}/dump.zst.pgp`))) store.objects.delete(key)
}

describe('what the page says of a database', () => {
  it('the dumps of all its backups are gone - none is whole, and it comes before one that is merely too old', async () => {
    await using server = await startTestServer({
      ...well,
      manifests: [...well.manifests, manifestAt('2026-11-10T02:00:00Z', { database: 'aged' })],
    })
    await withoutDump(server, older, newest)
    await server.catalog.refresh(storeSetOf(server.store, server.clock), signal)
    const words = await wordsOf(server)
    expect(words).toContain(
      'main/app : no backup of it is whole. Reason: dump.zst.pgp is missing Order one: pgproof backup main/app .',
    )
    const databases = words.slice(words.indexOf('Databases'))
    expect(databases.indexOf('main/app')).toBeLessThan(databases.indexOf('main/aged'))
  })

  it('the dump of the newest is gone, and the one before it is within the objective - it is not whole, there and among its facts', async () => {
    const later = manifestAt('2026-11-20T10:00:00Z')
    await using server = await startTestServer({ ...well, manifests: [...well.manifests, later] })
    await withoutDump(server, later)
    await server.catalog.refresh(storeSetOf(server.store, server.clock), signal)
    const words = await wordsOf(server)
    expect(words).toContain('main/app : its newest backup is not whole. Reason: dump.zst.pgp is missing')
    expect(words).toMatch(/Newest backup \S+ , Fri 20 Nov 10:00, \S+ KiB in the store dump\.zst\.pgp is missing/)
  })

  it('no objective, and nothing schedules backups of it - what to set, or what to remove', async () => {
    const words = await wordsWith({ ...well, servers: [serverConfig('main')] })
    expect(words).toContain(
      'main/app : nothing schedules backups of it, and it has no objective. Set schedule.backup and objectives.rpo of its server, or remove its backups.',
    )
  })

  describe('no objective', () => {
    const interval = 21_600
    const planned = (job: 'backup' | 'roles', intervalSeconds: number): PlannedJob => {
      const database = job === 'backup' ? 'app' : null
      return { job, server: 'main', database, nextAt: new Date(now), intervalSeconds, pausedUntil: null }
    }
    const scheduled = (...jobs: readonly PlannedJob[]): Promise<string> =>
      wordsWith({ ...well, servers: [serverConfig('main')], parts: { planned: () => jobs } })

    it('its backups stopped - how old the last one is and how often one is due, there and among its facts', async () => {
      const words = await scheduled(planned('backup', interval))
      expect(words).toContain('1 thing needs you now')
      expect(words).toMatch(/main\/app : its last backup is 10 h old; one is due every 6 h\. Order one:/)
      expect(words).toMatch(/Last backup 10 h ago due every 6 h/)
    })

    it('its backups stopped because somebody paused them - both', async () => {
      const pausedUntil = new Date(Date.parse(now) + 3_600_000)
      const words = await scheduled({ ...planned('backup', interval), pausedUntil })
      expect(words).toContain('main/app : its last backup is 10 h old; one is due every 6 h')
    })

    it('the last one is as old as its schedule allows - all is well', async () => {
      expect(await scheduled(planned('backup', 8 * 3600))).toContain('All is well')
    })

    it('of two databases one has no backup yet - it has none; nothing about its age', async () => {
      const of = { ...planned('backup', 86_400), database: 'new' }
      const words = await scheduled(planned('backup', 86_400), of)
      expect(words).toContain('main/new : it has no backup at all')
      expect(words).not.toContain('one is due every')
    })

    it('backups of the roles stopped - how old the last one is, soon and not now', async () => {
      const words = await scheduled(planned('backup', 86_400), planned('roles', interval))
      expect(words).toContain('Soon: Roles of main : their last backup is 11 h old; one is due every 6 h')
      const fine = await scheduled(planned('backup', 86_400), planned('roles', 8 * 3600))
      expect(fine).toContain('All is well')
    })

    it('roles were never backed up - a worry where that is scheduled, and none where it may be meant', async () => {
      const settings = (...jobs: readonly PlannedJob[]) => ({
        manifests: [older, newest],
        reports: [passed],
        parts: { planned: () => [planned('backup', 86_400), ...jobs] },
      })
      expect(await wordsWith(settings(planned('roles', 86_400)))).toContain(
        'Soon: Roles of main : they have no backup: a restore needs them.',
      )
      expect(await wordsWith(settings())).toContain('All is well')
    })
  })

  it('its only backup failed a drill, and the next drill was inconclusive - that it is bad still', async () => {
    const reason = { code: 'EVIDENCE_MISMATCH', message: '1 difference', hint: 'Keep it.' }
    const failed = reportOf(newest, '2026-11-20T05:00:00Z', { verdict: 'failed', reason })
    const only = { manifests: [newest, roles], reports: [failed] }
    const title = 'main/app : every backup of it that is whole has failed a drill'
    expect(await wordsWith(only)).not.toContain(title)
    await using server = await startTestServer(only)
    const at = new Date(Date.parse(now) - 60_000)
    const refused = { code: 'DUMP_FAILED', message: 'pg_dump ended', hint: 'Look at its output.' }
    server.catalog.addRun({
      ...{ id: 'run', job: 'backup', server: 'main', database: 'app', trigger: 'cli', attempt: 1, label: null },
      ...{ state: 'failed', queuedAt: at, startedAt: at, finishedAt: at, error: refused, progress: null },
    })
    expect(await wordsOf(server)).toContain(`${title}. Reason: the last try failed: pg_dump ended DUMP_FAILED`)
    const full = { code: 'SPOOL_FULL', message: 'the spool has 1 GB left', hint: 'Make room.' }
    const inconclusive = reportOf(newest, '2026-11-20T06:00:00Z', { verdict: 'inconclusive', reason: full })
    expect(await wordsWith({ ...only, reports: [failed, inconclusive] })).toContain(title)
  })

  it('its last drill was inconclusive - that it says nothing about the backup, and why', async () => {
    const reason = { code: 'SPOOL_FULL', message: 'the spool has 1 GB left', hint: 'Make room.' }
    const inconclusive = reportOf(newest, '2026-11-20T06:00:00Z', { verdict: 'inconclusive', reason })
    const words = await wordsWith({ ...well, reports: [passed, inconclusive] })
    expect(words).toContain(
      'main/app : its last drill was inconclusive: it says nothing about the backup. Reason: the spool has 1 GB left SPOOL_FULL Make room.',
    )
  })

  it('it grew since its last drill, which took nearly as long as is promised - the next restore is forecast to take longer', async () => {
    const large = manifestAt('2026-11-20T10:00:00Z', { dump: { ...newest.dump, bytes: 4 * newest.dump.bytes } })
    const slow = { ...passed, restoreTimeSeconds: 1200 }
    const words = await wordsWith({ ...well, manifests: [newest, roles, large], reports: [slow] })
    expect(words).toContain(
      'main/app : its next restore is forecast to take 1 h 20 min; the objective is 30 min. Give drills more CPU',
    )
  })

  it('more than a page holds, all on one server - those that need somebody in a list, the others folded away', async () => {
    const stories = manyStories.slice(0, 70).map((story) => ({ ...story, server: 'main' }))
    const words = await wordsWith({
      ...storeOf(stories.map((story, index) => (index === 5 ? { ...story, ageHours: 50 } : story))),
      parts: { planned: () => scheduleOf(stories) },
    })
    expect(words).toMatch(/30 days main\/tenant_005 needs you now .* 69 that are well main\/tenant_000/)
    expect(words).not.toContain('main 70 databases')
  })

  it('more than a page holds, and one has never passed a drill - its server says so of it', async () => {
    const stories = manyStories
      .slice(0, 70)
      .map((story, index) => (index === 9 ? { ...story, drillEvery: 100 } : story))
    const words = await wordsWith({ ...storeOf(stories), parts: { planned: () => scheduleOf(stories) } })
    expect(words).toMatch(/pg-10 7 databases Last backup oldest .*? ago Last passed drill 1 never/)
  })
})

describe('what the page says of prunes, syncs and the configuration', () => {
  const error = { code: 'STORE_UNREACHABLE', message: 'no route to host', hint: 'Look at the network.' }

  async function wordsOfEnded(...ended: readonly (readonly [Job, string, RunState])[]): Promise<string> {
    await using server = await startTestServer(well)
    for (const [index, [job, name, state]] of ended.entries()) {
      const at = new Date(Date.parse(now) - 60_000 * (ended.length - index))
      server.catalog.addRun({
        ...{ id: `run-${index}`, job, server: name, database: null, trigger: 'schedule', attempt: 1, label: null },
        ...{ state: 'running', queuedAt: at, startedAt: at, finishedAt: null, error: null, progress: null },
      })
      server.catalog.updateRun(`run-${index}`, { state, finishedAt: at, error: state === 'failed' ? error : null })
    }
    return await wordsOf(server)
  }

  it('a prune failed twice, and a sync of everything - each place once, with the reason', async () => {
    const words = await wordsOfEnded(['prune', 'main', 'failed'], ['prune', 'main', 'failed'], ['sync', '', 'failed'])
    expect(words).toContain('2 things need you soon')
    expect(words).toContain('The prune of main : the last one failed. Reason: no route to host STORE_UNREACHABLE')
    expect(words).toContain('The sync : the last one failed. Reason: no route to host STORE_UNREACHABLE')
  })

  it('a prune of a server failed, and the one of everything succeeded since - no worry', async () => {
    expect(await wordsOfEnded(['prune', 'main', 'failed'], ['prune', '', 'succeeded'])).toContain('All is well')
  })

  it('a prune failed and succeeded since - no worry', async () => {
    expect(await wordsOfEnded(['prune', '', 'failed'], ['prune', '', 'succeeded'])).toContain('All is well')
  })

  it.each([
    [[], false, 'the new one was refused, and the old one is in force. The log says what is wrong'],
    [['http.listen', 'spool'], false, 'what changed of http.listen, spool waits for a restart. Restart the daemon'],
  ] as const)(
    'a new configuration, of which %j wait for a restart; read well: %s - said, with what to do',
    async (needsRestart, isSuccessful, title) => {
      const configReload = () => ({ isSuccessful, needsRestart, lastSuccessAt: new Date(now) })
      expect(await wordsWith({ ...well, parts: { configReload } })).toContain(`Configuration : ${title}`)
    },
  )
})
