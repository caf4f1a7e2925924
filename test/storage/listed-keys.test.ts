import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import type { ObjectInfo, ObjectStore } from '../../src/storage/object-store.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import type { HttpAnswer, HttpRequest } from '../support/scripted-http.ts'
import { collect } from './object-store.suite.ts'
import { openScripted } from './scripted-store.ts'

const { signal } = new AbortController()
/** Enough for a thread of a directory, whether in one folder or each in its own. */
const many = 420
const listings = 60
const longName = (index: number): string => `${'n'.repeat(200)}-${1000 + index}`

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pgproof-listed-'))
})
afterEach(() => {
  rmSync(root, { recursive: true, force: true })
})

/** Bytes of the heap that are not given back when of each listing one object is remembered, as a catalog does. */
async function keptBytes(store: ObjectStore): Promise<number> {
  const remembered: (ObjectInfo | undefined)[] = []
  const used = async (count: number): Promise<number> => {
    for (let index = 0; index < count; index += 1) remembered.push((await collect(store.list('a/', { signal }))).at(-1))
    collectGarbage()
    return process.memoryUsage().heapUsed
  }
  const before = await used(5)
  const after = await used(listings)
  expect(remembered.at(-1)).toMatchObject({ bytes: 3 })
  return after - before
}

/** Half of what is kept where each object that is remembered keeps a text with so many keys. */
const halfOf = (keys: number): number => (listings * keys * longName(0).length) / 2

function listPage(escapeSlash: boolean, quote: string): (request: HttpRequest) => HttpAnswer {
  return () => {
    const objects = Array.from({ length: many }, (_, index) => {
      const key = `p/a/${longName(index)}`
      const written = escapeSlash ? key.replaceAll('/', '%2F') : key
      return `<Contents><Key>${written}</Key><LastModified>2026-11-21T17:24:22.000Z</LastModified><ETag>${quote}0123456789abcdef0123456789abcdef${quote}</ETag><Size>3</Size></Contents>`
    })
    return {
      status: 200,
      body: `<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>${objects.join('')}</ListBucketResult>`,
    }
  }
}

describe('one object of each listing is remembered - the text that it was cut from is not', () => {
  it.each<[string, (index: number) => string, number]>([
    ['a folder of many files', longName, many],
    // A thread answers for so many at once.
    ['many folders', (index) => join(longName(index), 'manifest.json'), 64],
  ])('directory, %s', async (_what, nameOf, keysInText) => {
    for (let index = 0; index < many; index += 1) {
      const path = join(root, 'a', nameOf(index))
      mkdirSync(join(path, '..'), { recursive: true })
      writeFileSync(path, 'one')
    }
    const store = new DirectoryStore(`file://${root}`, { clock: systemClock })
    try {
      expect(await keptBytes(store)).toBeLessThan(halfOf(keysInText))
    } finally {
      await store.close()
    }
  })

  it.each<[string, boolean, string]>([
    ['slashes as they are', false, '&quot;'],
    ['slashes escaped, as by Ceph', true, '&quot;'],
    ['quotes as they are', false, '"'],
  ])('bucket, %s', async (_what, escapeSlash, quote) => {
    await using server = await openScripted(listPage(escapeSlash, quote))
    expect(await keptBytes(server.store)).toBeLessThan(halfOf(many))
  })

  it('bucket, pages that only the SDK reads', async () => {
    const page = listPage(false, '&quot;')
    // An element that nobody knows.
    await using server = await openScripted((request) => ({
      ...page(request),
      body: String(page(request).body).replace('<IsTruncated>', '<Other>x</Other><IsTruncated>'),
    }))
    expect(await keptBytes(server.store)).toBeLessThan(halfOf(many))
    const bySdk = server.requests.filter(({ headers }) => String(headers['user-agent'] ?? '').includes('aws-sdk'))
    expect(bySdk.length).toBeGreaterThanOrEqual(listings)
  })
})
