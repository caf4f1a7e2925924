import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import type { S3Timeouts } from '../../src/storage/s3-connection.ts'
import type { StoreSettings } from '../../src/storage/store-settings.ts'
import { measureBytes } from '../../src/streams/measure.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { hurriedClock, makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { chunks, collect, hashed, oddChunks, sha256 } from './object-store.suite.ts'

const run = promisify(execFile)
const mebibyte = 2 ** 20
const short: S3Timeouts = { connectMs: 500, idleMs: 700, answerMs: 20_000 }

describe('S3 over a line that fails', () => {
  const { signal } = new AbortController()
  let bucket: TestBucket
  let proxy: TcpProxy
  let store: S3Store

  beforeAll(async () => {
    bucket = await makeTestBucket()
  })
  afterAll(async () => {
    await bucket.remove()
  })
  beforeEach(async () => {
    const { hostname, port } = new URL(bucket.server.endpoint)
    proxy = await startTcpProxy({ host: hostname, port: Number(port) })
    store = behindProxy()
  })
  afterEach(async () => {
    await store.close()
    await proxy.stop()
  })

  const behindProxy = (timeouts: S3Timeouts = short, over: Partial<StoreSettings> = {}) =>
    new S3Store(bucket.settings({ endpoint: `http://127.0.0.1:${proxy.port}`, ...over }), {
      clock: hurriedClock,
      log: silentLog,
      timeouts,
    })
  const keys = async (prefix: string) => (await collect(store.list(prefix, { signal }))).map(({ key }) => key)
  /** Writes an object and returns what reading it must give. */
  const stored = async (key: string, bytes: number) => {
    const sent = createHash('sha256')
    await store.write(key, hashed(chunks(bytes, 100_000), sent), { signal })
    return { bytes, sha256: sent.digest('hex') }
  }

  it.each([
    ['once', 1],
    ['seven times', 7],
  ])('download cut %s - resumed where it was cut, bytes identical', async (_often, times) => {
    const expected = await stored('download', 16 * mebibyte)
    proxy.cutAfter(1_500_000, 'toClient', times)
    expect(await sha256(await store.read('download', { signal }))).toEqual(expected)
    expect(proxy.cuts()).toBe(times)
  })

  it('download from an offset, cut seven times - resumed where it was cut, bytes identical', async () => {
    const offset = 3_000_001
    await stored('from-offset', 16 * mebibyte)
    const whole = Buffer.concat(await collect(chunks(16 * mebibyte, 100_000)))
    proxy.cutAfter(1_500_000, 'toClient', 7)
    const expected = { bytes: whole.length - offset, sha256: measureBytes(whole.subarray(offset)).sha256 }
    expect(await sha256(await store.read('from-offset', { signal, offset }))).toEqual(expected)
    expect(proxy.cuts()).toBe(7)
  })

  it('small object cut in its body - read again, complete', async () => {
    await store.put('small', Buffer.alloc(300_000, 7), { signal })
    proxy.cutAfter(100_000, 'toClient')
    expect(await store.get('small', { signal })).toEqual(Buffer.alloc(300_000, 7))
    expect(proxy.cuts()).toBe(1)
  })

  it('download cut and the store gone for good - the stream errors with STORE_UNREACHABLE, it does not end', async () => {
    await stored('gone', 8 * mebibyte)
    const stream = await store.read('gone', { signal })
    stream.once('data', () => proxy.setMode('refuse'))
    await expect(sha256(stream)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
  })

  it('object replaced while a cut download waits - STORE_FAILED instead of a mixture', async () => {
    // Larger than what the sockets on the way can hold.
    await stored('replaced', 48 * mebibyte)
    const stream = await store.read('replaced', { signal })
    proxy.setMode('stall')
    const direct = new S3Store(bucket.settings(), { clock: hurriedClock, log: silentLog })
    await direct.write('replaced', oddChunks(48 * mebibyte), { signal })
    await direct.close()
    proxy.setMode('refuse')
    proxy.setMode('forward')
    await expect(sha256(stream)).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('replaced while it was read'),
    })
  })

  it('download stalls - goes on over another connection after the idle time-out, bytes identical', async () => {
    const expected = await stored('stalled', 48 * mebibyte)
    const stream = await store.read('stalled', { signal })
    const before = proxy.connections()
    proxy.stallCurrent()
    expect(await sha256(stream)).toEqual(expected)
    expect(proxy.connections()).toBeGreaterThan(before)
  })

  it('reader slower than the idle time-out - the store closes the line meanwhile, bytes identical', async () => {
    const expected = await stored('slow', 4 * mebibyte)
    const stream = await store.read('slow', { signal })
    const hash = createHash('sha256')
    let bytes = 0
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (bytes === 0) await new Promise((resolve) => setTimeout(resolve, 2 * short.idleMs))
      hash.update(chunk)
      bytes += chunk.length
    }
    expect({ bytes, sha256: hash.digest('hex') }).toEqual(expected)
  })

  it('abort while a download is stalled - ends at once with CANCELLED', async () => {
    await stored('stalled-abort', 8 * mebibyte)
    const patientStore = behindProxy({ connectMs: 5_000, idleMs: 60_000, answerMs: 60_000 })
    const controller = new AbortController()
    const stream = await patientStore.read('stalled-abort', { signal: controller.signal })
    stream.once('data', () => {
      proxy.setMode('stall')
      setTimeout(() => controller.abort(), 100)
    })
    await expect(sha256(stream)).rejects.toMatchObject({ code: 'CANCELLED' })
    await patientStore.close()
  })

  it.each([
    ['once', 1],
    ['four times', 4],
  ])('upload cut %s in a part - the part is sent again, bytes identical, nothing unfinished', async (_often, times) => {
    await store.head('warm-up', { signal })
    proxy.cutAfter(3 * mebibyte, 'toServer', times)
    const expected = await stored('upload/dump', 22 * mebibyte + 3)
    expect(proxy.cuts()).toBe(times)
    expect(await sha256(await store.read('upload/dump', { signal }))).toEqual(expected)
    expect(await bucket.unfinished()).toEqual([])
  })

  it('every part is cut - STORE_UNREACHABLE, no object, nothing unfinished, the source is ended', async () => {
    await store.head('warm-up', { signal })
    let isSourceEnded = false
    const source = (async function* () {
      try {
        yield* chunks(40 * mebibyte, 100_000)
      } finally {
        isSourceEnded = true
      }
    })()
    proxy.cutAfter(2 * mebibyte, 'toServer', 1_000_000)
    await expect(store.write('never/dump', source, { signal })).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    expect(isSourceEnded).toBe(true)
    expect(await keys('never/')).toEqual([])
    expect(await bucket.unfinished()).toEqual([])
  })

  it('upload stalls - parts are sent again over another connection after the idle time-out, bytes identical', async () => {
    await store.head('warm-up', { signal })
    let seen = 0
    proxy.onRequest = (chunk) => {
      seen += chunk.length
      if (seen < 8 * mebibyte) return
      proxy.onRequest = undefined
      before = proxy.connections()
      proxy.stallCurrent()
    }
    let before = 0
    const expected = await stored('stall/dump', 16 * mebibyte)
    expect(before).toBeGreaterThan(0)
    expect(proxy.connections()).toBeGreaterThan(before)
    expect(await sha256(await store.read('stall/dump', { signal }))).toEqual(expected)
    expect(await bucket.unfinished()).toEqual([])
  })

  it('store gone for good while uploading - STORE_UNREACHABLE; the upload it could not abort is swept later', async () => {
    await store.head('warm-up', { signal })
    let seen = 0
    proxy.onRequest = (chunk) => {
      seen += chunk.length
      if (seen > 8 * mebibyte) proxy.setMode('refuse')
    }
    await expect(store.write('lost/dump', chunks(40 * mebibyte, 100_000), { signal })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
    })
    proxy.onRequest = undefined
    proxy.setMode('forward')
    expect(await keys('lost/')).toEqual([])
    expect(await store.sweepUnfinished(new Date(Date.now() + 60_000), { signal })).toBe(1)
    expect(await bucket.unfinished()).toEqual([])
  })

  it('answer of CompleteMultipartUpload lost - the object says it was completed, the write succeeds', async () => {
    dropOnce(proxy, /^POST [^ ]*[?&]uploadId=/)
    const expected = await stored('complete/dump', 11 * mebibyte)
    expect(proxy.cuts()).toBe(1)
    expect(await sha256(await store.read('complete/dump', { signal }))).toEqual(expected)
    expect(await bucket.unfinished()).toEqual([])
  })

  it('answer of CreateMultipartUpload lost - the second try is used, the first is not left unfinished', async () => {
    dropOnce(proxy, /^POST [^ ]*[?&]uploads/)
    const expected = await stored('create/dump', 11 * mebibyte)
    expect(proxy.cuts()).toBe(1)
    expect(await sha256(await store.read('create/dump', { signal }))).toEqual(expected)
    expect(await bucket.unfinished()).toEqual([])
  })

  it('answer of AbortMultipartUpload lost - asked again, nothing unfinished', async () => {
    dropOnce(proxy, /^DELETE [^ ]*[?&]uploadId=/)
    const source = (async function* () {
      yield* chunks(11 * mebibyte, 100_000)
      throw new Error('midway')
    })()
    await expect(store.write('abort/dump', source, { signal })).rejects.toThrow('midway')
    expect(proxy.cuts()).toBe(1)
    expect(await bucket.unfinished()).toEqual([])
  })

  it('answer of a put if absent lost - the repetition finds its own object and succeeds', async () => {
    await store.head('warm-up', { signal })
    dropOnce(proxy, /^PUT /)
    await store.put('put/marker', Buffer.from('mine'), { signal, ifAbsent: true })
    expect(proxy.cuts()).toBe(1)
    expect(Buffer.from(await store.get('put/marker', { signal })).toString()).toBe('mine')
  })

  it('abort while CompleteMultipartUpload hangs - CANCELLED, and the object is not there', async () => {
    const patientStore = behindProxy({ connectMs: 5_000, idleMs: 60_000, answerMs: 60_000 })
    const controller = new AbortController()
    proxy.onRequest = (chunk) => {
      if (!/^POST [^ ]*[?&]uploadId=/.test(chunk.toString('latin1'))) return
      proxy.setMode('stall')
      setTimeout(() => {
        proxy.setMode('forward')
        controller.abort()
      }, 200)
    }
    await expect(
      patientStore.write('hang/dump', chunks(11 * mebibyte, 100_000), { signal: controller.signal }),
    ).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(await keys('hang/')).toEqual([])
    expect(await bucket.unfinished()).toEqual([])
    await patientStore.close()
  })

  it('small object - a single PutObject; large object - parts of equal size', async () => {
    const lines: string[] = []
    proxy.onRequest = (chunk) => {
      const text = chunk.toString('latin1')
      const line = /^(?:PUT|POST) [^ ]+/.exec(text)?.[0]
      if (line !== undefined) lines.push(`${line} ${/content-length: (\d+)/i.exec(text)?.[1]}`)
    }
    await store.write('shape/small', chunks(5 * mebibyte, 100_000), { signal })
    const small = lines.splice(0)
    await store.write('shape/large', chunks(17 * mebibyte, 100_000), { signal })
    expect(small).toEqual([`PUT /${bucket.name}/some/prefix/shape/small?x-id=PutObject ${5 * mebibyte}`])
    const sizes = lines.flatMap((line) => (line.includes('x-id=UploadPart') ? [Number(line.split(' ').at(-1))] : []))
    expect(sizes).toEqual([5, 5, 5, 2].map((size) => size * mebibyte))
  })

  it.each([
    ['nothing answered yet', false],
    ['it has answered before', true],
  ])('store silent, %s - STORE_UNREACHABLE after the idle time-outs', async (_before, hasAnswered) => {
    const hasty = behindProxy({ ...short, idleMs: 300 })
    if (hasAnswered) await hasty.head('warm-up', { signal })
    proxy.setMode('stall')
    const started = performance.now()
    await expect(hasty.head('a', { signal })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('timed out after 300 ms'),
    })
    const attempts = hasAnswered ? 8 : 3
    expect(performance.now() - started).toBeGreaterThan(attempts * 300 * 0.9)
    await hasty.close()
  })

  it('answer does not begin in time although the line is busy - STORE_UNREACHABLE', async () => {
    proxy.setMode('stall')
    const limited = behindProxy({ connectMs: 500, idleMs: 60_000, answerMs: 300 })
    await expect(limited.head('a', { signal })).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    await limited.close()
  })

  it('server does not accept the connection - STORE_UNREACHABLE after the connection time-out', async () => {
    await using full = await startFullListener()
    const unconnected = new S3Store(bucket.settings({ endpoint: `http://127.0.0.1:${full.port}` }), {
      clock: hurriedClock,
      log: silentLog,
      timeouts: { connectMs: 300, idleMs: 60_000, answerMs: 60_000 },
    })
    await expect(unconnected.head('a', { signal })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('300 ms'),
    })
    await unconnected.close()
  })

  it('TLS by a private authority - refused at once with STORE_UNREACHABLE, accepted with its CA file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'pgproof-tls-'))
    const [keyFile, caFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    await run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', '/CN=store', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', keyFile, '-out', caFile],
    ])
    const { hostname, port } = new URL(bucket.server.endpoint)
    const tls = { key: await readFile(keyFile, 'utf8'), cert: await readFile(caFile, 'utf8') }
    const secure = await startTcpProxy({ host: hostname, port: Number(port) }, tls)
    const endpoint = `https://127.0.0.1:${secure.port}`

    const wary = behindProxy(short, { endpoint })
    await expect(wary.head('a', { signal })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringContaining('certificate'),
    })
    expect(secure.connections()).toBeLessThanOrEqual(1)
    const trusting = behindProxy(short, { endpoint, caFile })
    const sent = createHash('sha256')
    await trusting.write('tls/dump', hashed(chunks(11 * mebibyte, 100_000), sent), { signal })
    secure.cutAfter(1_000_000, 'toClient', 3)
    expect((await sha256(await trusting.read('tls/dump', { signal }))).sha256).toBe(sent.digest('hex'))
    expect(secure.cuts()).toBe(3)

    await Promise.all([wary.close(), trusting.close(), secure.stop()])
    await rm(folder, { recursive: true })
  })

  it('600 MB in parts of 8 MiB - memory grows by the part buffers, not with the object', async () => {
    const { stdout } = await run(process.execPath, [join(import.meta.dirname, 's3-memory.child.ts'), bucket.name])
    const { bytes, growthBytes } = JSON.parse(stdout) as { bytes: number; growthBytes: number }
    expect(bytes).toBe(600_000_000)
    expect(growthBytes).toBeLessThan(120 * mebibyte)
  })
})

/** Loses the answer to the first request that matches: the server acts on it, the client does not hear. */
function dropOnce(proxy: TcpProxy, pattern: RegExp): void {
  proxy.dropAnswer = (chunk) => {
    if (!pattern.test(chunk.toString('latin1'))) return false
    proxy.dropAnswer = undefined
    return true
  }
}

/** A server that listens but is asleep, its queue full: further connections are neither accepted nor refused. */
async function startFullListener(): Promise<{ port: number } & AsyncDisposable> {
  const program = `const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    require('node:fs').writeSync(1, String(server.address().port))
    process.kill(process.pid, 'SIGSTOP')
  })`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [data] = (await once(child.stdout, 'data')) as [Buffer]
  const port = Number(data)
  const sockets: Socket[] = []
  // Until one of them stays unconnected, the queue has room.
  for (let isFull = false; !isFull; ) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    sockets.push(socket)
    isFull = await Promise.race([
      once(socket, 'connect').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 300)),
    ])
  }
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      child.kill('SIGKILL')
      await once(child, 'close')
    },
  }
}
