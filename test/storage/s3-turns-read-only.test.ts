import { afterAll, beforeAll, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'
import { openStore } from '../../src/storage/open-store.ts'
import { makeUserBucket, type Statement, serverWithUsers, type UserBucket } from '../support/rgw-users.ts'
import type { S3Server } from '../support/s3-server.ts'

// A bucket that takes nothing more, from one moment to the next: a policy that somebody changed, a quota, an unpaid bill.

const { signal } = new AbortController()
const mebibyte = 2 ** 20
let server: S3Server
let bucket: UserBucket
let store: ObjectStore
beforeAll(async () => {
  server = await serverWithUsers()
  bucket = await makeUserBucket(server)
  store = await openStore(bucket.settings('writer', { partsInFlight: 1 }), { clock: systemClock, log: silentLog })
})
afterAll(async () => {
  await store.close()
  await bucket.remove()
  await server.stop()
})

const everything: Statement = { Effect: 'Allow', Action: 's3:*', Resource: ['arn:aws:s3:::*', 'arn:aws:s3:::*/*'] }
const reading: Statement = { ...everything, Action: ['s3:GetObject', 's3:ListBucket', 's3:ListBucketMultipartUploads'] }

it('in the middle of an upload - STORE_DENIED, what was there stays and can be read, the sweep removes what is left', async () => {
  await bucket.grant({ writer: [everything] })
  await store.put('earlier', Buffer.from('kept'), { signal })
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let part = 0; part < 6; part += 1) {
      yield Buffer.alloc(5 * mebibyte, part)
      if (part === 2) await bucket.grant({ writer: [reading] })
    }
  }
  await expect(store.write('later', source(), { signal })).rejects.toMatchObject({ code: 'STORE_DENIED', exitCode: 11 })
  expect(await store.head('later', { signal })).toBeUndefined()
  expect(Buffer.from(await store.get('earlier', { signal })).toString()).toBe('kept')
  await expect(store.delete('earlier', { signal })).rejects.toMatchObject({ code: 'STORE_DENIED' })
  await expect(store.put('other', Buffer.from('x'), { signal })).rejects.toMatchObject({ code: 'STORE_DENIED' })

  await bucket.grant({ writer: [everything] })
  await store.sweepUnfinished(new Date(Date.now() + 60_000), { signal })
  expect(await bucket.contents()).toEqual(['some/prefix/earlier'])
})
