import { existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CatalogBackup } from '../../src/catalog/catalog.ts'
import type { Clock } from '../../src/clock.ts'
import { encodeHold, holdLeaseMs } from '../../src/domain/hold.ts'
import type { Manifest } from '../../src/domain/manifest.ts'
import { PgproofError } from '../../src/errors.ts'
import { readDrillKeys } from '../../src/jobs/installation.ts'
import { type PruneResult, runPrune } from '../../src/jobs/prune.ts'
import { runVerify } from '../../src/jobs/verify.ts'
import { backupFolder, holdKey } from '../../src/storage/object-keys.ts'
import { manifestAt, rolesManifestAt, signal, storeBackup } from '../catalog/stored.ts'
import { type CliFolder, cliFolder, type Started, waitFor } from '../commands/cli.ts'
import { type TestInstallation, testDatabase, testInstallation, testUrl } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { descendantsOf, isRunning } from '../support/processes.ts'
import { restoreTo, targetName } from '../support/restoring.ts'
import { standIn } from '../support/stand-ins.ts'
import { namedStore } from '../support/store-sets.ts'

type Scene = TestInstallation & {
  readonly manifests: readonly Manifest[]
  /** As a restore in another process would. Returns what ends it. */
  hold(manifest: Manifest | undefined, store?: MemoryStore): () => void
  wait(minutes: number): void
  prune(isDryRun?: boolean): Promise<PruneResult>
  /** Days of the manifests that are there, of this kind. */
  days(kind?: 'backups' | 'roles', store?: MemoryStore): string[]
}

/** Three backups of `main/app` and of the roles, of which the policy keeps the last. */
async function scene(others: readonly MemoryStore[] = []): Promise<Scene> {
  let now = new Date('2026-11-14T12:00:00Z')
  const clock: Clock = { now: () => now, monotonicMs: () => now.getTime(), sleep: async () => {} }
  const settings = { PGPROOF_SERVERS__0__RETENTION__LAST: '1', PGPROOF_SERVERS__0__ROLES_RETENTION__LAST: '1' }
  const test = await testInstallation(settings, {
    clock,
    store: new MemoryStore(clock),
    others: others.map((store, index) => namedStore(store, `other${index}`)),
  })
  const times = [12, 13, 14].map((day) => `2026-11-${day}T02:00:00Z`)
  const manifests = times.map((time) => manifestAt(time))
  for (const store of [test.store, ...others])
    for (const manifest of [...manifests, ...times.map((time) => rolesManifestAt(time))])
      await storeBackup(store, manifest)
  let holds = 0
  return {
    ...test,
    manifests,
    hold: (manifest = manifestAt(''), store = test.store) => {
      holds += 1
      const key = holdKey(`00000000-0000-4000-8000-00000000000${holds}`)
      const folders = [backupFolder(manifest)]
      const body = Buffer.from(encodeHold({ by: 'restore', host: 'db2', since: now, now, folders }))
      store.objects.set(key, { body, modifiedAt: now })
      return () => void store.objects.delete(key)
    },
    wait: (minutes) => {
      now = new Date(now.getTime() + minutes * 60_000)
    },
    prune: (isDryRun = false) => runPrune({ isDryRun }, test.installation, signal),
    days: (kind = 'backups', store = test.store) =>
      store
        .keys()
        .filter((key) => key.startsWith(`${kind}/`) && key.endsWith('/manifest.json'))
        .map((key) => key.split('/').at(-2)?.slice(6, 8) ?? ''),
    [Symbol.asyncDispose]: test[Symbol.asyncDispose],
  }
}

const reason = {
  rule: 'held',
  detail: expect.stringMatching(
    /^a restore on db2 reads it since 2026-11-14 12:00 UTC; if it was killed, until \d\d:\d\d UTC$/,
  ),
}

describe('a backup that another process reads', () => {
  it('is kept with the reason, and the roles that it needs; when the reader has ended, it goes', async () => {
    await using test = await scene()
    const release = test.hold(test.manifests[0])
    const { plan } = await test.prune(true)
    expect(plan.groups[0]?.decisions.map(({ reasons }) => reasons.at(-1) ?? null)).toMatchObject([{}, null, reason])
    await test.prune()
    expect(test.days()).toEqual(['12', '14'])
    expect(test.store.keys().filter((key) => key.startsWith('holds/'))).toHaveLength(1)
    release()
    await test.prune()
    expect(test.days()).toEqual(['14'])
  })

  it('in one of two stores - it is kept there, and goes from the other', async () => {
    const other = new MemoryStore()
    await using test = await scene([other])
    test.hold(test.manifests[0], other)
    await test.prune()
    expect([test.days(), test.days('backups', other)]).toEqual([['14'], ['12', '14']])
  })

  it('whose reader was killed - it goes when the lease has run out, and so does the hold', async () => {
    await using test = await scene()
    test.hold(test.manifests[0])
    test.wait(34)
    await test.prune()
    expect(test.days()).toEqual(['12', '14'])
    test.wait(2)
    await test.prune(true)
    expect(test.store.keys().filter((key) => key.startsWith('holds/'))).toHaveLength(1)
    await test.prune()
    expect(test.days()).toEqual(['14'])
    expect(test.store.keys().filter((key) => key.startsWith('holds/'))).toEqual([])
  })
})

describe('a reader that begins while a prune removes', () => {
  it('after the plan - what it reads is kept, with its roles; the rest goes', async () => {
    await using test = await scene()
    test.store.before = (operation, key) => {
      if (operation === 'put' && key.startsWith('prunes/')) test.hold(test.manifests[0])
    }
    const { removed } = await test.prune()
    expect(test.days()).toEqual(['12', '14'])
    expect(test.days('roles')).toEqual(['12', '13', '14'])
    expect(removed[0]?.backups).toEqual([test.manifests[1]?.label])
  })

  it('between the last look and the removal of the manifest - everything that the manifest names stays until it has ended', async () => {
    await using test = await scene()
    const first = test.manifests[0]
    const folder = backupFolder(first as Manifest)
    const release: (() => void)[] = []
    test.store.before = (operation, key) => {
      if (operation === 'delete' && key === `${folder}manifest.json`) release.push(test.hold(first))
    }
    await test.prune()
    expect(release).toHaveLength(1)
    expect(test.days()).toEqual(['14'])
    const left = (): string[] => test.store.keys().filter((key) => key.startsWith(folder))
    expect(left().map((key) => key.slice(folder.length))).toEqual(['RECOVERY.md', 'dump.zst.pgp', 'evidence.json.pgp'])
    // It is a leftover now, and is held as well.
    expect((await test.prune()).plan.orphanFolders).toEqual([])
    expect(left()).toHaveLength(3)
    release[0]?.()
    expect((await test.prune()).removed[0]?.leftovers).toEqual([folder])
    expect(left()).toEqual([])
  })

  it('while a leftover is removed - it stays', async () => {
    await using test = await scene()
    const [first] = test.manifests
    const folder = backupFolder(first as Manifest)
    test.store.before = (operation, key) => {
      if (operation === 'delete' && key === `${folder}manifest.json`) test.hold(first)()
      if (operation === 'delete' && key === `${folder}dump.zst.pgp`)
        throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'gone' })
    }
    await expect(test.prune()).rejects.toMatchObject({ code: 'PRUNE_INCOMPLETE' })
    let looks = 0
    test.store.before = (operation, key) => {
      if (operation !== 'list' || key !== 'holds/') return
      looks += 1
      if (looks === 2) test.hold(first)
    }
    const { plan, removed } = await test.prune()
    expect(plan.orphanFolders).toMatchObject([{ store: 'store', folder }])
    expect(removed[0]?.leftovers).toEqual([])
    expect(test.store.objects.has(`${folder}dump.zst.pgp`)).toBe(true)
  })
})

describe('holds that cannot be read', () => {
  it('when the plan is made - nothing is removed', async () => {
    await using test = await scene()
    test.store.before = (operation, key) => {
      if (operation === 'list' && key === 'holds/')
        throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'gone' })
    }
    await expect(test.prune()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect(test.days()).toEqual(['12', '13', '14'])
  })

  it('right before a removal - PRUNE_INCOMPLETE, that backup stays whole', async () => {
    await using test = await scene()
    let looks = 0
    test.store.before = (operation, key) => {
      if (operation !== 'list' || key !== 'holds/') return
      looks += 1
      if (looks === 2) throw new PgproofError('STORE_UNREACHABLE', { store: 'memory', reason: 'gone' })
    }
    await expect(test.prune()).rejects.toMatchObject({ code: 'PRUNE_INCOMPLETE' })
    expect(test.days()).toHaveLength(2)
    expect(test.days('roles')).toEqual(['12', '13', '14'])
  })
})

describe('a restore at a terminal, and a prune in another process', () => {
  let source: Awaited<ReturnType<typeof testDatabase>>
  let folder: CliFolder
  beforeAll(async () => {
    source = await testDatabase()
    const servers = [{ name: 'main', url: testUrl(), databases: [source.name], retention: { last: 2 } }]
    folder = await cliFolder([source.name], { servers })
  })
  afterAll(async () => {
    await folder[Symbol.asyncDispose]()
    await source[Symbol.asyncDispose]()
  })

  const backUp = async (): Promise<string> => {
    const { document } = await folder.json(['backup'])
    return String(document['runs']?.[0]?.['label'])
  }
  const labels = (): string[] =>
    folder
      .objects()
      .filter((path) => path.endsWith('/manifest.json'))
      .map((path) => path.split('/').at(-2) ?? '')
      .sort()
  const holds = (): string[] => folder.objects().filter((path) => path.includes('/holds/'))

  /** Stands still in the middle of the restore until the file `go` is there. */
  const startRestore = async (label: string, to: string): Promise<Started> => {
    for (const name of ['stuck', 'go']) rmSync(join(folder.path, name), { force: true })
    const script = `case "$*" in *--section=post-data*) touch ${folder.path}/stuck; while [ ! -e ${folder.path}/go ]; do sleep 0.1; done;; esac; exec "$REAL" "$@"`
    const env = { PGPROOF_POSTGRES__BIN_DIRS: standIn(folder.path, 'pg_restore', script) }
    const started = folder.start(['restore', label, '--to', to, '--create'], { env })
    await waitFor(`the restore in its middle: ${started.stderr()}`, () => existsSync(join(folder.path, 'stuck')))
    return started
  }

  it('the policy would remove what is restored - kept with the reason until the restore has ended, then removed', async () => {
    await using target = targetName(testUrl())
    const oldest = await backUp()
    const others = [await backUp()]
    const { child, result } = await startRestore(oldest, target.url)
    // Each backup is followed by a prune of its own.
    others.push(await backUp())
    expect(labels()).toEqual([oldest, ...others].sort())
    const { stdout } = await folder.run(['prune'])
    expect(stdout).toMatch(
      new RegExp(
        `keep +${oldest} .* held: a restore on ${hostname()} reads it since .* UTC; if it was killed, until (\\d{4}-\\d\\d-\\d\\d )?\\d\\d:\\d\\d UTC`,
      ),
    )
    expect(labels()).toContain(oldest)
    expect(holds()).toHaveLength(1)

    expect(child.exitCode).toBeNull()
    writeFileSync(join(folder.path, 'go'), '')
    expect(await result).toMatchObject({ code: 0 })
    expect(holds()).toEqual([])
    expect((await folder.run(['prune'])).stdout).toContain(oldest)
    expect(labels()).toEqual(others.sort())
  })

  it.each([
    ['Ctrl-C', 'SIGINT', 130, 0],
    ['SIGKILL', 'SIGKILL', null, 1],
  ] as const)('%s - the hold is gone at once, or when its lease has run out', async (_, kill, code, left) => {
    await using target = targetName(testUrl())
    const [oldest = ''] = labels()
    const { child, result } = await startRestore(oldest, target.url)
    const started = descendantsOf(child.pid ?? 0)
    child.kill(kill)
    expect((await result).code).toBe(code)
    for (const pid of started) if (isRunning(pid)) process.kill(pid, 'SIGKILL')
    await waitFor('its programs to end', () => started.every((pid) => !isRunning(pid)))
    expect(holds()).toHaveLength(left)

    await backUp()
    expect(labels().includes(oldest)).toBe(left === 1)
    for (const path of holds()) {
      // As if it had been written before the lease, and the five minutes for clocks that differ.
      const then = new Date(Date.now() - holdLeaseMs - 6 * 60_000)
      const hold = JSON.parse(readFileSync(path, 'utf8'))
      const until = new Date(Date.parse(hold.until) - holdLeaseMs - 6 * 60_000).toISOString()
      writeFileSync(path, JSON.stringify({ ...hold, until }))
      utimesSync(path, then, then)
    }
    await folder.run(['prune'])
    expect(labels()).not.toContain(oldest)
    expect(holds()).toEqual([])
  })
})

describe('what reads a backup', () => {
  it('a drill, a verification, a restore - says so before it reads the manifest, with its roles, and no longer than it reads', async () => {
    await using database = await testDatabase()
    await using test = await testInstallation()
    await using target = targetName(testUrl())
    await test.run('roles')
    const { backup } = await test.run('backup', database.name)
    const folder = backupFolder(backup?.manifest as Manifest)
    const ways = {
      drill: async () => expect((await test.run('drill', database.name)).error).toBeNull(),
      verification: async () => {
        const { installation } = test
        const [stored] = installation.catalog.backups({ kind: 'database' })
        const keys = await readDrillKeys(installation, 'a verification')
        const request = { ...keys, spoolRoot: installation.config.drill.spool, binDirs: [] }
        expect(await runVerify(stored as CatalogBackup, request, installation, signal)).toMatchObject({ error: null })
      },
      restore: () => restoreTo(test, target.url, { roles: true }),
    }
    for (const [by, read] of Object.entries(ways)) {
      test.store.calls.length = 0
      let said: { by: string; folders: string[] } | undefined
      test.store.before = (operation, key) => {
        const [hold] = test.store.keys().filter((one) => one.startsWith('holds/'))
        if (operation === 'get' && key === `${folder}manifest.json`) said ??= JSON.parse(test.store.text(hold ?? ''))
      }
      await read()
      const folders = [folder, ...(by === 'verification' ? [] : [expect.stringMatching(/^roles\/main\//)])]
      expect(said).toMatchObject({ by, folders })
      expect(test.store.keys().filter((key) => key.startsWith('holds/'))).toEqual([])
      const kept = test.store.calls.filter((call) => / (?:holds|backups|roles)\//.test(call))
      expect(kept.at(-1)).toMatch(/^delete holds\//)
    }
  })
})
