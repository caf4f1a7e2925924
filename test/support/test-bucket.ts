import { randomBytes } from 'node:crypto'
import { ListMultipartUploadsCommand } from '@aws-sdk/client-s3'
import { type Clock, systemClock } from '../../src/clock.ts'
import type { StoreSettings } from '../../src/storage/store-settings.ts'
import { createBucket, removeBucket, type S3Server, s3ServerOfEnvironment, testClient } from './s3-server.ts'

/** A bucket of its own for one test file, on the server of the environment or another one. */
export type TestBucket = {
  readonly name: string
  readonly server: Omit<S3Server, 'stop'>
  /** Settings of a store in it; `over` replaces any of them. */
  settings(over?: Partial<StoreSettings>): StoreSettings
  /** Keys of all multipart uploads that are neither completed nor aborted. */
  unfinished(): Promise<string[]>
  remove(): Promise<void>
}

export async function makeTestBucket(
  options: { readonly objectLock?: boolean; readonly server?: Omit<S3Server, 'stop'> } = {},
): Promise<TestBucket> {
  const { server = s3ServerOfEnvironment() } = options
  const name = `pgproof-test-${randomBytes(6).toString('hex')}`
  await createBucket(server, name, options)
  const client = testClient(server)
  return {
    name,
    server,
    settings: (over = {}) => ({
      url: `s3://${name}/some/prefix`,
      endpoint: server.endpoint,
      region: server.region,
      provider: server.provider,
      accessKeyId: server.accessKeyId,
      secretAccessKey: () => server.secretAccessKey,
      partSizeBytes: 5 * 2 ** 20,
      ...over,
    }),
    unfinished: async () => {
      const page = await client.send(new ListMultipartUploadsCommand({ Bucket: name }))
      return (page.Uploads ?? []).map(({ Key }) => Key ?? '')
    },
    remove: async () => {
      client.destroy()
      await removeBucket(server, name)
    },
  }
}

/** The real time, but pauses last a fiftieth: for retries that would otherwise be waited for. */
export const hurriedClock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 50, signal) }
