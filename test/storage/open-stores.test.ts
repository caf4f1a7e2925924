import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { StoreConfig } from '../../src/config/config.ts'
import { createLog, silentLog } from '../../src/log.ts'
import { toDirectoryError } from '../../src/storage/directory-errors.ts'
import { assertDistinct } from '../../src/storage/distinct-directories.ts'
import { openStores } from '../../src/storage/open-stores.ts'
import { unmarkedStore } from '../../src/storage/unmarked-store.ts'
import { storeConfig } from '../jobs/store-config.ts'
import { startScriptedServer } from '../support/scripted-http.ts'
import { hurriedClock } from '../support/test-bucket.ts'
import { s3Error } from './scripted-store.ts'

const { signal } = new AbortController()

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgproof-open-'))
  mkdirSync(join(folder, 'store'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

const at = (...names: string[]) => names.map((name) => ({ name, url: `file://${folder}/${name}` }))

describe('stores that should be different directories', () => {
  it('one is a link to the other - USAGE_INVALID names both', async () => {
    symlinkSync('store', join(folder, 'link'))
    await expect(assertDistinct(at('store', 'link'), systemClock)).rejects.toMatchObject({
      code: 'USAGE_INVALID',
      message: expect.stringContaining('stores "store" and "link" are one and the same directory'),
    })
  })

  it('two directories, one that is not there, a bucket - nothing to say', async () => {
    mkdirSync(join(folder, 'other'))
    await assertDistinct(at('store', 'other', 'missing', 'gone'), systemClock)
    await assertDistinct([...at('store'), { name: 'bucket', url: 's3://bucket/prefix' }], systemClock)
  })

  it('a mount that does not answer in time - not known, so nothing to say', async () => {
    symlinkSync('store', join(folder, 'link'))
    await assertDistinct(at('store', 'link'), { ...systemClock, sleep: async () => {} })
  })
})

describe('a directory that is no store', () => {
  it('and is not there either - STORE_UNMARKED that names what to look at', async () => {
    expect(await unmarkedStore(`file://${folder}/missing/below`)).toMatchObject({
      code: 'STORE_UNMARKED',
      hint: expect.stringContaining('Check bucket and prefix, or the directory.'),
    })
  })

  it.each([
    ['ENOENT', 'STORE_NOT_FOUND'],
    ['ELOOP', 'STORE_NOT_FOUND'],
    ['EROFS', 'STORE_READ_ONLY'],
  ])('%s from its file system - %s', (code, expected) => {
    const failed = Object.assign(new Error(`${code}: because, open 'a'`), { code, syscall: 'open' })
    expect(toDirectoryError(failed, { operation: 'read of a', key: 'a', url: 'file:///a' })).toMatchObject({
      code: expected,
    })
  })
})

describe('temporary credentials', () => {
  it('their token goes along with every request', async () => {
    await using server = await startScriptedServer(() => ({ status: 200, headers: { etag: '"e"' } }))
    const secret = (text: string): StoreConfig['secretAccessKey'] =>
      ({ reveal: () => text }) as StoreConfig['secretAccessKey']
    const keys = { accessKeyId: 'id', secretAccessKey: secret('secret'), sessionToken: secret('token') }
    const settings = storeConfig({ url: 's3://bucket/p', endpoint: server.endpoint, region: 'us-east-1', ...keys })
    const stores = await openStores([settings], { clock: hurriedClock, log: silentLog })
    await stores.one('store').reader.head('a', { signal })
    await stores.close()
    expect(server.requests.map(({ headers }) => headers['x-amz-security-token'])).toEqual(['token'])
  })
})

describe('a retry', () => {
  const secretAccessKey = { reveal: () => 'secret' } as StoreConfig['secretAccessKey']

  it.each([
    [['near', 'far'], 'far'],
    [['only'], undefined],
  ])('of one of the stores %j - its line in the log names it', async (names, expected) => {
    let failures = 1
    await using server = await startScriptedServer(() =>
      failures-- > 0 ? s3Error(503, 'SlowDown') : { status: 200, headers: { etag: '"e"' } },
    )
    const { endpoint } = server
    const lines: Record<string, unknown>[] = []
    const log = createLog({ level: 'warn', format: 'json' }, (line) => lines.push(JSON.parse(line)))
    const settings = names.map((name) =>
      storeConfig({ name, url: `s3://${name}/p`, endpoint, region: 'us-east-1', accessKeyId: 'id', secretAccessKey }),
    )
    const stores = await openStores(settings, { clock: hurriedClock, log })
    await stores.one(names.at(-1) as string).reader.head('a', { signal })
    await stores.close()
    expect(lines.map(({ store, msg }) => [store, String(msg).replace(/ \d+ ms$/, '')])).toEqual([
      [expected, 'HeadObject of a failed, next try in'],
    ])
  })
})

describe('a refusal', () => {
  it('by a directory - the hint speaks of owner and mode; by a bucket, of keys', async () => {
    const refused = Object.assign(new Error("EACCES: permission denied, open 'a'"), { code: 'EACCES', syscall: 'open' })
    const error = toDirectoryError(refused, { operation: 'read of a', key: 'a', url: 'file:///a' })
    expect(error).toMatchObject({ code: 'STORE_DENIED', hint: expect.stringContaining('owner and the mode') })
    await using server = await startScriptedServer(() => s3Error(403, 'AccessDenied'))
    const secretAccessKey = { reveal: () => 'secret' } as StoreConfig['secretAccessKey']
    const keys = { endpoint: server.endpoint, region: 'us-east-1', accessKeyId: 'id', secretAccessKey }
    const stores = await openStores([storeConfig({ url: 's3://bucket/p', ...keys })], {
      clock: hurriedClock,
      log: silentLog,
    })
    await expect(stores.one('store').reader.get('a', { signal })).rejects.toMatchObject({
      code: 'STORE_DENIED',
      hint: expect.stringMatching(/^Check the access key/),
    })
    await stores.close()
  })
})
