import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { canMount } from '../storage/own-mounts.ts'
import { type Fault, type ProxiedRequest, startFaultProxy } from '../support/fault-proxy.ts'
import { testDatabase } from '../support/installation.ts'
import { makeUserBucket, type Statement, serverWithUsers, type UserBucket } from '../support/rgw-users.ts'
import type { S3Server } from '../support/s3-server.ts'
import { backupsInto, fillWithNoise, leftOnServer } from './bucket-backup.ts'

// A store that takes nothing more from one moment to the next, in the middle of a whole backup: a policy that somebody
// changed, a quota, an unpaid bill, a disk that the kernel remounted.

const { signal } = new AbortController()
const mebibyte = 2 ** 20
let database: Awaited<ReturnType<typeof testDatabase>>
beforeAll(async () => {
  database = await testDatabase('template0')
  await fillWithNoise(database.url)
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
})

const expectFreeLock = () => expect.poll(() => leftOnServer(database.name), { timeout: 10_000 }).toEqual([])

describe('a bucket that turns read-only in the middle of a backup', () => {
  let server: S3Server
  let bucket: UserBucket
  beforeAll(async () => {
    server = await serverWithUsers()
  })
  afterAll(async () => {
    await server.stop()
  })

  /** The writer's store, on a way on which every request is noted and some are answered by the proxy. */
  const openBucket = async (faultOf: (request: ProxiedRequest) => Fault | undefined = () => undefined) => {
    bucket = await makeUserBucket(server)
    await bucket.grant({ writer: [everything] })
    const asked: string[] = []
    const proxy = await startFaultProxy(server.endpoint, {
      faultOf: (request) => {
        asked.push(request.operation)
        return faultOf(request)
      },
      refuses: () => false,
      outageMs: () => 0,
    })
    const over = { endpoint: proxy.endpoint, partsInFlight: 1 }
    const store = new S3Store(bucket.settings('writer', over), { clock: systemClock, log: silentLog })
    const close = async () => {
      await store.close()
      await proxy.stop()
      await bucket.remove()
    }
    return { store, asked, [Symbol.asyncDispose]: close }
  }
  const denied: Fault = { kind: 'answer', status: 403, code: 'AccessDenied', isEarly: false }

  it('its policy is changed after 8 MB - STORE_DENIED, the lock is free, no backup more; what is left is swept', async () => {
    await using line = await openBucket()
    await using into = await backupsInto(line.store, database.name)
    const earlier = await into.backup()
    after(line.store, 8 * mebibyte, () => bucket.grant({ writer: [reading] }))
    await expect(into.backup()).rejects.toMatchObject({
      code: 'STORE_DENIED',
      exitCode: 11,
      message: expect.stringMatching(/^the store refused UploadPart of backups\/.*AccessDenied/),
    })
    await expectFreeLock()
    // Those who may not write may not end an upload either; it was tried.
    expect(line.asked.filter((operation) => operation === 'AbortMultipartUpload')).not.toEqual([])
    expect(await into.labels()).toEqual([earlier.label])
    expect(into.lastRun()).toMatchObject({ state: 'failed', error: { code: 'STORE_DENIED' } })
    const newObjects = (await bucket.contents()).filter((key) => !key.includes(`/${earlier.label}/`))
    expect(newObjects).toEqual([expect.stringMatching(/\/dump\.zst\.pgp \(unfinished\)$/)])

    await bucket.grant({ writer: [everything] })
    const { label } = await into.backup()
    expect(await into.labels()).toHaveLength(2)
    expect(await line.store.sweepUnfinished(new Date(Date.now() + 60_000), { signal })).toBe(1)
    const labels = new Set((await bucket.contents()).map((key) => key.split('/').at(-2)))
    expect(labels).toEqual(new Set([earlier.label, label]))
  })

  it.each([
    ['the second part', ({ operation, path }: ProxiedRequest) => operation === 'UploadPart' && /[^1]$/.test(path)],
    ['the end of the upload', ({ operation }: ProxiedRequest) => operation === 'CompleteMultipartUpload'],
    ['the evidence', ({ path }: ProxiedRequest) => path.endsWith('evidence.json.pgp')],
    ['the manifest', ({ path }: ProxiedRequest) => path.endsWith('manifest.json')],
  ])(
    'it takes nothing from %s on, but may be cleared up - STORE_DENIED, and nothing at all is left',
    async (_what, isMoment) => {
      const state = { hasTurned: false, isHealed: false }
      await using line = await openBucket((request) => {
        const isWrite = /^(?:PutObject|CreateMultipartUpload|UploadPart|CompleteMultipartUpload)$/.test(
          request.operation,
        )
        if (isWrite && isMoment(request)) state.hasTurned = true
        return isWrite && state.hasTurned && !state.isHealed ? denied : undefined
      })
      await using into = await backupsInto(line.store, database.name)
      await expect(into.backup()).rejects.toMatchObject({ code: 'STORE_DENIED' })
      expect(await bucket.contents()).toEqual([])
      await expectFreeLock()
      state.isHealed = true
      const { label } = await into.backup()
      expect(await into.labels()).toEqual([label])
    },
  )

  it('it takes no manifest and lets nothing be removed - STORE_DENIED, objects without a manifest are no backup', async () => {
    const state = { isHealed: false }
    await using line = await openBucket(({ operation, path }) => {
      const isRefused = operation === 'DeleteObject' || (operation === 'PutObject' && path.endsWith('manifest.json'))
      return isRefused && !state.isHealed ? denied : undefined
    })
    await using into = await backupsInto(line.store, database.name)
    await expect(into.backup()).rejects.toMatchObject({ code: 'STORE_DENIED' })
    expect(line.asked).toContain('DeleteObject')
    expect((await bucket.contents()).map((key) => key.split('/').at(-1)).sort()).toEqual([
      'RECOVERY.md',
      'dump.zst.pgp',
      'evidence.json.pgp',
    ])
    expect(await into.labels()).toEqual([])
    await expectFreeLock()
    state.isHealed = true
    const { label } = await into.backup()
    expect(await into.labels()).toEqual([label])
  })
})

describe('a directory that turns read-only in the middle of a backup', () => {
  it('its file system is remounted after the dump - STORE_READ_ONLY, no backup; the next one succeeds', async () => {
    if (process.getuid?.() !== 0 || !(await canMount()))
      throw new Error('a file system is remounted, which only root may do: run this as root, as CI does')
    const home = mkdtempSync(join(tmpdir(), 'pgproof-read-only-'))
    const root = join(home, 'store')
    mkdirSync(root)
    const mount = (...words: readonly string[]) => execFileSync('mount', [...words, root])
    mount('-t', 'tmpfs', 'tmpfs')
    try {
      const store = new DirectoryStore(`file://${root}`, { clock: systemClock })
      await using into = await backupsInto(store, database.name)
      const { put } = store
      store.put = async (...given) => {
        mount('-o', 'remount,ro')
        await put.apply(store, given)
      }
      await expect(into.backup()).rejects.toMatchObject({
        code: 'STORE_READ_ONLY',
        exitCode: 11,
        message: expect.stringContaining('read-only'),
      })
      await expectFreeLock()
      expect(await into.labels()).toEqual([])
      store.put = put
      mount('-o', 'remount,rw')
      const { label } = await into.backup()
      expect(await into.labels()).toEqual([label])
      const names = readdirSync(root, { recursive: true }).map(String)
      expect(names.filter((name) => name.endsWith('.part'))).toEqual([])
    } finally {
      execFileSync('umount', ['-l', root])
      rmSync(home, { recursive: true })
    }
  })
})

const everything: Statement = { Effect: 'Allow', Action: 's3:*', Resource: ['arn:aws:s3:::*', 'arn:aws:s3:::*/*'] }
const reading: Statement = { ...everything, Action: ['s3:GetObject', 's3:ListBucket', 's3:ListBucketMultipartUploads'] }

/** Does something, once, when so much of the next stream has passed on its way into the store. */
function after(store: ObjectStore, bytes: number, action: () => Promise<void>): void {
  const { write } = store
  store.write = async (key, source, options) => {
    store.write = write
    const watched = async function* () {
      let left = bytes
      for await (const chunk of source) {
        yield chunk
        const before = left
        left -= chunk.length
        if (before > 0 && left <= 0) await action()
      }
    }
    return await write.call(store, key, watched(), options)
  }
}
