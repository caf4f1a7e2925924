import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Daemon } from '../../src/daemon/daemon.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { PgproofError } from '../../src/errors.ts'
import type { Queue } from '../../src/jobs/orders.ts'
import { createLog } from '../../src/log.ts'
import { signal, storeBackup } from '../catalog/stored.ts'
import { soundManifestAt, twoStores } from '../jobs/two-stores.ts'
import { testInstallation } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { idleQueue } from '../support/queue-views.ts'
import { namedStore } from '../support/store-sets.ts'

const settings = { PGPROOF_SERVERS__0__DATABASES: 'app' }

describe('a daemon whose queue has a fault', () => {
  it('a look for what is due fails by it - said, and the next look goes on', async () => {
    await using test = await testInstallation(settings)
    const lines: string[] = []
    const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
    let isFaulty = false
    let looks = 0
    const queue: Queue = {
      order: () => expect.unreachable(),
      cancel: () => expect.unreachable(),
      position: () => null,
      hasTurn: () => {
        if (isFaulty) throw new TypeError('undefined is not a queue')
        return false
      },
      start: () => {},
      look: () => {
        looks += 1
      },
      isBusy: () => false,
      view: () => idleQueue(new Date()),
      close: async () => {},
    }
    const daemon = new Daemon({ ...test.installation, log }, () => queue)
    await daemon.prepare(signal)
    isFaulty = true
    daemon.start()
    const line = '"reason":"undefined is not a queue","msg":"the scheduler stumbled; it tries again"'
    await expect.poll(() => lines.join('')).toContain(line)
    expect(looks).toBe(0)
    isFaulty = false
    const look = (): number => {
      daemon.wake()
      return looks
    }
    await expect.poll(look).toBeGreaterThan(0)
    await daemon.stop(0)
  })
})

describe('a daemon that has not been started yet', () => {
  it('the configuration is read again - no run begins and nothing is read before the start, what is due begins with it', async () => {
    const due = { ...settings, PGPROOF_SERVERS__0__SCHEDULE__BACKUP: '* * * * *' }
    await using test = await testInstallation(due)
    const storeCreatedAt = new Date(0)
    const { catalog } = test.installation
    const daemon = new Daemon({ ...test.installation, storeCreatedAt })
    await daemon.prepare(signal)
    const before = test.store.calls.length
    daemon.reload()
    // Whatever it began would have asked the store by now.
    await new Promise((resume) => setImmediate(resume))
    expect(test.store.calls).toHaveLength(before)
    expect(catalog.runs()).toEqual([])
    daemon.start()
    await expect.poll(() => catalog.runs().map(({ job }) => job)).toContain('backup')
    await daemon.stop(0)
  })

  it('one of two stores lacks a backup - the sync begins with the start, not before', async () => {
    await using test = await twoStores()
    await storeBackup(test.a, soundManifestAt('2026-11-18T02:00:00Z'))
    const { catalog } = test.installation
    const daemon = new Daemon(test.installation)
    await daemon.prepare(signal)
    expect(catalog.runs()).toEqual([])
    daemon.start()
    await expect.poll(() => catalog.runs().map(({ job, state }) => `${job} ${state}`)).toContain('sync succeeded')
    await daemon.stop(0)
  })
})

describe('a daemon that was asked what it knows', () => {
  it('a key is gone from the disk - the log says so, the dates that were known stay', async () => {
    await using test = await testInstallation(settings)
    const lines: string[] = []
    const log = createLog({ level: 'info', format: 'json' }, (line) => lines.push(line))
    const daemon = new Daemon({ ...test.installation, log })
    await daemon.prepare(signal)
    const known = daemon.keyExpiries()
    expect(known.map(({ use }) => use)).toEqual(['recipient', 'private'])
    await rm(join(test.folder, 'backup.pub.asc'))
    await daemon.prepare(signal)
    expect(daemon.keyExpiries()).toEqual(known)
    expect(lines.join('')).toMatch(/"level":"warn".*backup\.pub\.asc.*"a key cannot be used"/)
    await daemon.stop(0)
  })

  it('a key has expired and another file is broken when it starts - the dates are told all the same', async () => {
    await using test = await testInstallation(settings)
    const made = new Date(test.installation.clock.now().getTime() - 3_600_000)
    const expired = await generateKeyPair({
      name: 'old',
      kind: 'ecc',
      use: 'backup',
      now: made,
      expiresAfterMs: 60_000,
    })
    await writeFile(join(test.folder, 'backup.pub.asc'), expired.publicKey)
    await writeFile(join(test.folder, 'backup.key.asc'), 'no key', { mode: 0o600 })
    const daemon = new Daemon(test.installation)
    await daemon.prepare(signal)
    const [only, ...others] = daemon.keyExpiries()
    expect([only?.use, others]).toEqual(['recipient', []])
    expect(Math.abs((only?.expiresAt?.getTime() ?? 0) - made.getTime() - 60_000)).toBeLessThan(1000)
    await daemon.stop(0)
  })

  it('told to stop - not ready, and why', async () => {
    await using test = await testInstallation(settings)
    const daemon = new Daemon(test.installation)
    await daemon.prepare(signal)
    expect(daemon.isReady()).toEqual({ ready: true, reasons: [], awaited: '' })
    await daemon.stop(0)
    expect(daemon.isReady()).toEqual({
      ...{ ready: false, reasons: ['it is shutting down'], awaited: 'it is started again' },
    })
  })

  it('one of two required stores is away - not ready, by its reason', async () => {
    const away = new MemoryStore()
    away.before = () => {
      throw new PgproofError('STORE_UNREACHABLE', { store: 's3://second', reason: 'no route to host' })
    }
    await using test = await testInstallation(settings, { others: [namedStore(away, 'second')] })
    const daemon = new Daemon(test.installation)
    await daemon.prepare(signal)
    expect(daemon.isReady()).toMatchObject({
      ...{ ready: false, reasons: [expect.stringContaining('s3://second')], awaited: 'it can read the store' },
    })
    away.before = () => {}
    await daemon.refresh()
    expect(daemon.isReady().ready).toBe(true)
    await daemon.stop(0)
  })
})
