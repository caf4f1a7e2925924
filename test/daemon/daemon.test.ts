import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Daemon } from '../../src/daemon/daemon.ts'
import { PgproofError } from '../../src/errors.ts'
import { createLog } from '../../src/log.ts'
import { signal } from '../catalog/stored.ts'
import { testInstallation } from '../support/installation.ts'
import { MemoryStore } from '../support/memory-store.ts'
import { namedStore } from '../support/store-sets.ts'

const settings = { PGPROOF_SERVERS__0__DATABASES: 'app' }

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
