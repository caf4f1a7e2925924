import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { StoreConfig } from '../../src/config/config.ts'
import type { PgproofError } from '../../src/errors.ts'
import { checkStore } from '../../src/jobs/check-store.ts'
import type { Finding } from '../../src/jobs/findings.ts'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { signal } from '../catalog/stored.ts'
import {
  makeUserBucket,
  type RgwUser,
  type Statement,
  serverWithUsers,
  shippedPolicy,
  type UserBucket,
} from '../support/rgw-users.ts'
import type { S3Server } from '../support/s3-server.ts'
import { findingsInto, storeConfig } from './store-config.ts'

let server: S3Server
beforeAll(async () => {
  server = await serverWithUsers()
})
afterAll(async () => {
  await server.stop()
})

type Who = RgwUser | 'owner'

/** The findings of a check with these credentials, and what is in the bucket afterwards. */
async function check(
  bucket: UserBucket,
  who: { readonly writer: Who; readonly reader?: Who; readonly pruner?: Who },
  over: Partial<StoreConfig> = {},
): Promise<{ findings: Finding[]; problems: string[]; warnings: string[]; ok: string[]; left: string[] }> {
  const parts = { clock: systemClock, log: silentLog }
  const { objectLock, versions } = over
  const open = (user: Who) => new S3Store(bucket.settings(user, { objectLock, versions }), parts)
  const writer = open(who.writer)
  const store = {
    name: 'store',
    isRequired: true,
    writer,
    reader: who.reader === undefined ? writer : open(who.reader),
    pruner: who.pruner === undefined ? writer : open(who.pruner),
  }
  const keys = { accessKeyId: 'a', secretAccessKey: undefined, sessionToken: undefined }
  const settings = storeConfig({
    url: `s3://${bucket.name}/some/prefix`,
    reader: who.reader === undefined ? undefined : keys,
    pruner: who.pruner === undefined ? undefined : keys,
    ...over,
  })
  const findings: Finding[] = []
  try {
    await checkStore(store, settings, { findings: findingsInto(findings), clock: systemClock }, signal)
  } finally {
    await Promise.all([...new Set([store.writer, store.reader, store.pruner])].map((one) => one.close()))
  }
  const only = (result: Finding['result']) =>
    findings.filter((finding) => finding.result === result).map(({ message }) => message)
  return {
    findings,
    problems: only('problem'),
    warnings: only('warning'),
    ok: only('ok'),
    left: await bucket.contents(),
  }
}

async function withBucket(
  options: Parameters<typeof makeUserBucket>[1],
  work: (bucket: UserBucket) => Promise<void>,
): Promise<void> {
  const bucket = await makeUserBucket(server, options)
  try {
    await work(bucket)
  } finally {
    await bucket.remove()
  }
}

/** The shipped policies for all three. */
const shipped = ({ name }: UserBucket): Record<RgwUser, Statement[]> => ({
  writer: shippedPolicy('writer', name),
  reader: shippedPolicy('reader', name),
  pruner: shippedPolicy('pruner', name),
})
const allThree = { writer: 'writer', reader: 'reader', pruner: 'pruner' } as const

/** A policy without some of its actions. */
function without(statements: readonly Statement[], ...actions: string[]): Statement[] {
  return statements
    .map((one) => ({ ...one, Action: [one.Action].flat().filter((action) => !actions.includes(action)) }))
    .filter(({ Action }) => Action.length > 0)
}

/** A policy that also allows these on every object. */
function withRights({ name }: UserBucket, statements: readonly Statement[], ...actions: string[]): Statement[] {
  return [...statements, { Effect: 'Allow', Action: actions, Resource: `arn:aws:s3:::${name}/*` }]
}

describe('check of a bucket', () => {
  it('one credential that may do everything - everything works, throughput is told, and nothing is left', async () => {
    await withBucket({}, async (bucket) => {
      const { problems, warnings, ok, left } = await check(bucket, { writer: 'owner' })
      expect({ problems, warnings, left }).toEqual({ problems: [], warnings: [], left: [] })
      expect(ok).toEqual([
        expect.stringMatching(/^a probe of 6 MiB: written at [\d,.]+ MiB\/s, read at [\d,.]+ MiB\/s$/),
        `s3://${bucket.name}/some/prefix: writing, listing, refusing a key that is taken, reading, deleting, ` +
          'a multipart upload, a ranged read, removing it, giving up a write and listing unfinished uploads work',
      ])
    })
  })

  it('the shipped policies - each allows what it must, nothing more is found, nothing is left', async () => {
    await withBucket({}, async (bucket) => {
      await bucket.grant(shipped(bucket))
      const { problems, warnings, left } = await check(bucket, allThree)
      expect({ problems, warnings, left }).toEqual({ problems: [], warnings: [], left: [] })
    })
  })

  it.each([
    [{ writer: 's3:PutObject' }, 'a write by the credentials for writing fails: the store refused PutObject of'],
    [{ writer: 's3:ListBucket' }, 'a write by the credentials for writing fails: the store refused HeadObject of'],
    [
      { writer: 's3:ListBucketMultipartUploads' },
      'listing unfinished uploads by the credentials for writing fails: the store refused ListMultipartUploads: AccessDenied',
    ],
    [{ reader: 's3:ListBucket' }, 'a listing by the credentials for reading fails: the store refused ListObjectsV2 of'],
    [{ reader: 's3:GetObject' }, 'reading by the credentials for reading fails: the store refused HeadObject of'],
    [{ pruner: 's3:DeleteObject' }, 'a delete by the credentials for pruning fails: the store refused DeleteObject of'],
  ] as const)('a right is missing: %o - named with who needs it', async (missing, message) => {
    await withBucket({}, async (bucket) => {
      const [[user, action]] = Object.entries(missing) as [[RgwUser, string]]
      const grants = shipped(bucket)
      await bucket.grant({ ...grants, [user]: without(grants[user], action) })
      const { findings } = await check(bucket, allThree)
      const problem = findings.find(({ result }) => result === 'problem')
      expect(problem?.message).toContain(message)
      expect(problem?.hint).toContain(action)
      expect(problem?.hint).toContain('docs/rights.md')
    })
  })

  it('a writer that may not abort - the parts that stay are named, and the pruner takes them away', async () => {
    await withBucket({}, async (bucket) => {
      const grants = shipped(bucket)
      await bucket.grant({ ...grants, writer: without(grants.writer, 's3:AbortMultipartUpload') })
      const { problems, left } = await check(bucket, allThree)
      expect(problems).toEqual([
        expect.stringContaining('giving up a multipart upload by the credentials for writing fails: the store refused'),
      ])
      expect(left).toEqual([])
    })
  })

  it('nor may the pruner - the same is said, and the upload that was begun stays', async () => {
    await withBucket({}, async (bucket) => {
      const grants = shipped(bucket)
      const writer = without(grants.writer, 's3:AbortMultipartUpload')
      await bucket.grant({ ...grants, writer, pruner: without(grants.pruner, 's3:AbortMultipartUpload') })
      const { problems, left } = await check(bucket, allThree)
      expect(problems).toEqual([
        expect.stringContaining('giving up a multipart upload by the credentials for writing fails: the store refused'),
      ])
      expect(left).toEqual([expect.stringMatching(/\/given-up\/dump\.zst\.pgp \(unfinished\)$/)])
    })
  })

  it('a reader that may write and delete, a pruner that may read and write - warnings, and nothing is left', async () => {
    await withBucket({}, async (bucket) => {
      const grants = shipped(bucket)
      await bucket.grant({
        ...grants,
        reader: withRights(bucket, grants.reader, 's3:PutObject', 's3:DeleteObject'),
        pruner: withRights(bucket, grants.pruner, 's3:PutObject', 's3:GetObject'),
      })
      const { problems, warnings, left } = await check(bucket, allThree)
      expect({ problems, warnings, left }).toEqual({
        problems: [],
        warnings: [
          'the credentials for reading can write and delete',
          'the credentials for pruning can read and write objects',
        ],
        left: [],
      })
    })
  })

  it('a key that the server does not know - refused once, in the words of the server', async () => {
    await withBucket({}, async (bucket) => {
      const { problems } = await check(bucket, allThree)
      expect(problems[0]).toMatch(/^a write by the credentials for writing fails: the store refused .*AccessDenied/)
    })
  })

  it('a bucket that is not there - said once', async () => {
    await withBucket({}, async (bucket) => {
      const gone = {
        ...bucket,
        settings: () => bucket.settings('owner', { url: 's3://no-such-bucket-here/some/prefix' }),
      }
      await expect(check(gone, { writer: 'owner' })).rejects.toMatchObject({ code: 'STORE_BUCKET_MISSING' })
    })
  })
})

describe('check of a bucket that keeps versions', () => {
  it('nothing asks for versions - a warning that a prune frees nothing, and the probes leave no version', async () => {
    await withBucket({ versioning: true }, async (bucket) => {
      await bucket.grant(shipped(bucket))
      const { problems, warnings, left } = await check(bucket, allThree)
      expect({ problems, warnings, left }).toEqual({
        problems: [],
        warnings: [
          'the bucket keeps versions: what is overwritten or deleted stays, and a prune frees nothing by itself',
        ],
        left: [],
      })
    })
  })

  it('versions may not be removed - only a few bytes stay, no large probe is written', async () => {
    await withBucket({ versioning: true }, async (bucket) => {
      const grants = shipped(bucket)
      await bucket.grant({ ...grants, pruner: without(grants.pruner, 's3:DeleteObjectVersion') })
      const { problems, ok, left } = await check(bucket, allThree)
      expect(problems).toEqual([])
      expect(ok[0]).toMatch(/^no large probe is written, because it could not be removed/)
      expect(left).toEqual([
        expect.stringMatching(/manifest\.json$/),
        expect.stringMatching(/manifest\.json \(marker\)$/),
      ])
    })
  })

  it('`versions: remove` - versions go with the objects, and nothing is said', async () => {
    await withBucket({ versioning: true }, async (bucket) => {
      await bucket.grant(shipped(bucket))
      const { problems, warnings, left } = await check(bucket, allThree, { versions: 'remove' })
      expect({ problems, warnings, left }).toEqual({ problems: [], warnings: [], left: [] })
    })
  })

  it.each(['keep', 'remove'] as const)(
    'Object Lock, `versions: %s` - a few bytes stay until it ends, no large probe is written',
    async (versions) => {
      await withBucket({ objectLock: true }, async (bucket) => {
        const objectLock = { mode: 'governance', forMs: 3_600_000 } as const
        const { problems, warnings, ok, left } = await check(bucket, { writer: 'owner' }, { objectLock, versions })
        expect({ problems, warnings }).toEqual({ problems: [], warnings: [] })
        expect(ok).toContainEqual(
          expect.stringMatching(/^Object Lock holds what is written; a probe of 14 bytes stays until \d{4}-.*Z$/),
        )
        expect(left.filter((key) => !key.endsWith('(marker)'))).toHaveLength(1)
      })
    },
  )
})

describe('the shipped policies', () => {
  it('what each user must not do, and everything outside the prefix - refused', async () => {
    await withBucket({ versioning: true }, async (bucket) => {
      await bucket.grant(shipped(bucket))
      const parts = { clock: systemClock, log: silentLog }
      const stores = {
        writer: new S3Store(bucket.settings('writer'), parts),
        reader: new S3Store(bucket.settings('reader'), parts),
        pruner: new S3Store(bucket.settings('pruner'), parts),
      }
      const outsiders: S3Store[] = []
      const beside = { url: `s3://${bucket.name}/some/prefix-beside` }
      const key = 'backups/main/app/label/dump.zst.pgp'
      const x = Buffer.from('x')
      try {
        await stores.writer.put(key, x, { signal })
        expect(Buffer.from(await stores.reader.get(key, { signal }))).toEqual(x)
        const neighbour = new S3Store(bucket.settings('owner', beside), parts)
        await neighbour.put(key, x, { signal })
        await neighbour.close()
        const [version] = await stores.pruner.probe.versions(key, { signal })
        const id = version?.id
        const refused: Record<string, () => Promise<unknown>> = {
          'the writer deletes': () => stores.writer.delete(key, { signal }),
          'the writer removes a version': () => stores.writer.probe.removeVersion(key, id, { signal }),
          'the reader writes': () => stores.reader.put(`${key}.2`, x, { signal }),
          'the reader deletes': () => stores.reader.delete(key, { signal }),
          'the reader removes a version': () => stores.reader.probe.removeVersion(key, id, { signal }),
          'the pruner reads': () => stores.pruner.get(key, { signal }),
          'the pruner writes': () => stores.pruner.put(`${key}.2`, x, { signal }),
        }
        for (const user of ['writer', 'reader', 'pruner'] as const) {
          const outside = new S3Store(bucket.settings(user, beside), parts)
          outsiders.push(outside)
          Object.assign(refused, {
            [`the ${user} writes beside the prefix`]: () => outside.put(key, x, { signal }),
            [`the ${user} reads beside the prefix`]: () => outside.get(key, { signal }),
            [`the ${user} deletes beside the prefix`]: () => outside.delete(key, { signal }),
          })
        }
        const answers = Object.entries(refused).map(async ([what, attempt]) => {
          const code = await attempt().then(
            () => 'done',
            (error: PgproofError) => error.code,
          )
          return [what, code]
        })
        expect(Object.fromEntries(await Promise.all(answers))).toEqual(
          Object.fromEntries(Object.keys(refused).map((what) => [what, 'STORE_DENIED'])),
        )
        expect(await stores.pruner.delete(key, { signal })).toBe('hidden')
      } finally {
        await Promise.all([...Object.values(stores), ...outsiders].map((store) => store.close()))
      }
    })
  })
})

describe('check with `appendOnly`', () => {
  const append = { isAppendOnly: true } as const

  it('a versioned bucket and the shipped policies - the writer can neither delete nor destroy', async () => {
    await withBucket({ versioning: true }, async (bucket) => {
      await bucket.grant(shipped(bucket))
      const { problems, warnings, ok, left } = await check(bucket, allThree, append)
      expect({ problems, warnings, left }).toEqual({ problems: [], warnings: [], left: [] })
      expect(ok).toContain(
        'overwriting hides what is there: the bucket keeps the earlier version, and the writer cannot remove it',
      )
      expect(ok.at(-1)).toContain('refusing the writer’s deletes')
    })
  })

  it('a bucket without versions - the writer can overwrite, which is a problem', async () => {
    await withBucket({}, async (bucket) => {
      await bucket.grant(shipped(bucket))
      const { problems, left } = await check(bucket, allThree, append)
      expect(problems).toEqual(['`appendOnly` is set, and the credentials for writing can overwrite'])
      expect(left).toEqual([])
    })
  })

  it('a bucket whose versioning was turned off again - what is overwritten is gone, which is a problem', async () => {
    await withBucket({ versioning: true }, async (bucket) => {
      await bucket.grant(shipped(bucket))
      await bucket.suspendVersioning()
      const { problems } = await check(bucket, allThree, append)
      expect(problems).toEqual(['`appendOnly` is set, and the credentials for writing can overwrite'])
    })
  })

  it.each([
    [{ versioning: false }, ['s3:DeleteObject'], ['overwrite', 'delete']],
    [{ versioning: true }, ['s3:DeleteObject'], ['hide objects behind a delete marker']],
    [{ versioning: true }, ['s3:DeleteObjectVersion'], ['remove the versions that the bucket keeps']],
  ] as const)('bucket %o, a writer with %o - each way to destroy is named', async (options, rights, ways) => {
    await withBucket(options, async (bucket) => {
      const grants = shipped(bucket)
      await bucket.grant({ ...grants, writer: withRights(bucket, grants.writer, ...rights) })
      const { problems, left } = await check(bucket, allThree, append)
      expect(problems).toEqual(ways.map((way) => `\`appendOnly\` is set, and the credentials for writing can ${way}`))
      expect(left).toEqual([])
    })
  })

  it('nobody may delete - a warning, and a probe of a few bytes stays', async () => {
    await withBucket({ versioning: true }, async (bucket) => {
      await bucket.grant(shipped(bucket))
      const { problems, warnings, left } = await check(bucket, { writer: 'writer', reader: 'reader' }, append)
      expect(problems).toEqual([])
      expect(warnings).toEqual([expect.stringMatching(/no credentials for pruning: nothing is ever removed/)])
      expect(left).toHaveLength(2)
    })
  })
})
