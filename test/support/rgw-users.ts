import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
} from '@aws-sdk/client-s3'
import type { StoreSettings } from '../../src/storage/store-settings.ts'
import { createBucket, removeBucket, type S3Server, s3ServerOfEnvironment, startCeph, testClient } from './s3-server.ts'

/** The users that scripts/ceph-rgw.sh makes; they may do nothing but what a bucket's policy gives them. */
export const rgwUsers = { writer: 'pgproof-writer', reader: 'pgproof-reader', pruner: 'pgproof-pruner' } as const
export type RgwUser = keyof typeof rgwUsers

export type Statement = {
  readonly Effect: 'Allow' | 'Deny'
  readonly Action: string | readonly string[]
  readonly Resource: string | readonly string[]
  readonly [more: string]: unknown
}

/** A bucket on a server that knows users and policies, and what stands in it. */
export type UserBucket = {
  readonly name: string
  /** Settings of a store under `some/prefix`, with the keys of a user or of the bucket's owner. */
  settings(user: RgwUser | 'owner', over?: Partial<StoreSettings>): StoreSettings
  /** Gives each user these statements, and takes what it had. */
  grant(grants: Partial<Record<RgwUser, readonly Statement[]>>): Promise<void>
  /** As an administrator may do with a bucket that once kept versions. */
  suspendVersioning(): Promise<void>
  /** Every version and delete marker, as `key` or `key (marker)`, and every unfinished upload, as `key (unfinished)`. */
  contents(): Promise<string[]>
  remove(): Promise<void>
}

/**
 * The server of the environment if it knows the users, else a gateway of our own. Throws where neither can be had: rights
 * that nobody tried are worth nothing.
 */
export async function serverWithUsers(): Promise<S3Server> {
  const given = s3ServerOfEnvironment()
  if (await knowsUsers(given)) return { ...given, stop: async () => {} }
  return await startCeph()
}

export async function makeUserBucket(
  server: S3Server,
  options: { readonly versioning?: boolean; readonly objectLock?: boolean } = {},
): Promise<UserBucket> {
  const name = `pgproof-rights-${randomBytes(6).toString('hex')}`
  await createBucket(server, name, options)
  const owner = testClient(server)
  const setVersioning = async (Status: 'Enabled' | 'Suspended'): Promise<void> => {
    await owner.send(new PutBucketVersioningCommand({ Bucket: name, VersioningConfiguration: { Status } }))
  }
  if (options.versioning === true) await setVersioning('Enabled')
  return {
    name,
    settings: (user, over = {}) => ({
      url: `s3://${name}/some/prefix`,
      endpoint: server.endpoint,
      region: server.region,
      provider: server.provider,
      accessKeyId: user === 'owner' ? server.accessKeyId : rgwUsers[user],
      secretAccessKey: () => (user === 'owner' ? server.secretAccessKey : secretOf(user)),
      partSizeBytes: 5 * 2 ** 20,
      ...over,
    }),
    grant: async (grants) => {
      const statements = Object.entries(grants).flatMap(([user, list]) =>
        list.map((statement) => ({
          ...statement,
          Principal: { AWS: [`arn:aws:iam:::user/${rgwUsers[user as RgwUser]}`] },
        })),
      )
      const policy = { Version: '2012-10-17', Statement: statements }
      await owner.send(new PutBucketPolicyCommand({ Bucket: name, Policy: JSON.stringify(policy) }))
    },
    suspendVersioning: async () => await setVersioning('Suspended'),
    contents: async () => {
      const objects = await owner.send(new ListObjectVersionsCommand({ Bucket: name }))
      const uploads = await owner.send(new ListMultipartUploadsCommand({ Bucket: name }))
      return [
        ...(objects.Versions ?? []).map(({ Key }) => `${Key}`),
        ...(objects.DeleteMarkers ?? []).map(({ Key }) => `${Key} (marker)`),
        ...(uploads.Uploads ?? []).map(({ Key }) => `${Key} (unfinished)`),
      ]
    },
    remove: async () => {
      owner.destroy()
      await removeBucket(server, name)
    },
  }
}

/** The statements of a policy that pgproof ships, `config/policies/<name>.json`, for a store of `makeUserBucket`. */
export function shippedPolicy(name: RgwUser, bucket: string): Statement[] {
  const text = readFileSync(new URL(`../../config/policies/${name}.json`, import.meta.url), 'utf8')
  const policy = JSON.parse(text.replaceAll('BUCKET', bucket).replaceAll('PREFIX', 'some/prefix')) as {
    Statement: Statement[]
  }
  return policy.Statement
}

async function knowsUsers(server: Omit<S3Server, 'stop'>): Promise<boolean> {
  for (const user of Object.keys(rgwUsers) as RgwUser[]) {
    const client = testClient({ ...server, accessKeyId: rgwUsers[user], secretAccessKey: secretOf(user) })
    try {
      await client.send(new ListBucketsCommand())
    } catch {
      return false
    } finally {
      client.destroy()
    }
  }
  return true
}

function secretOf(user: RgwUser): string {
  return `${rgwUsers[user]}-secret`
}
