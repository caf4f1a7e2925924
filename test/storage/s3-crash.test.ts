import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { CreateMultipartUploadCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { openStore } from '../../src/storage/open-store.ts'
import { testClient } from '../support/s3-server.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { collect } from './object-store.suite.ts'

describe('S3 after a crash', () => {
  const { signal } = new AbortController()
  let bucket: TestBucket
  beforeAll(async () => {
    bucket = await makeTestBucket()
  })
  afterAll(async () => {
    await bucket.remove()
  })

  it('process killed midway in an upload - nothing visible; a sweep removes it when it is old, and no neighbour', async () => {
    const client = testClient(bucket.server)
    for (const Key of ['some/prefix2/backups/dump', 'some/pre', 'elsewhere/dump'])
      await client.send(new CreateMultipartUploadCommand({ Bucket: bucket.name, Key }))
    client.destroy()
    const child = spawn(
      process.execPath,
      [join(import.meta.dirname, 's3-crash.child.ts'), `s3://${bucket.name}/some/prefix`],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    expect(String((await once(child.stdout, 'data'))[0])).toContain('midway')
    child.kill('SIGKILL')
    await once(child, 'close')

    const store = await openStore(bucket.settings(), { clock: systemClock, log: silentLog })
    expect(await collect(store.list('', { signal }))).toEqual([])
    expect(await bucket.unfinished()).toContain('some/prefix/backups/dump')
    expect(await store.sweepUnfinished(new Date(Date.now() - 86_400_000), { signal })).toBe(0)
    expect(await bucket.unfinished()).toContain('some/prefix/backups/dump')
    expect(await store.sweepUnfinished(new Date(Date.now() + 60_000), { signal })).toBe(1)
    expect((await bucket.unfinished()).toSorted()).toEqual(['elsewhere/dump', 'some/pre', 'some/prefix2/backups/dump'])
    await store.close()
  })
})
