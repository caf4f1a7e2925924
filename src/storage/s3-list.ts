import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { assertNotAborted, PgproofError } from '../errors.ts'
import { eachOf } from './each-of.ts'
import { assertKeyPrefix, isObjectKey } from './key-rules.ts'
import type { ListOptions, ObjectInfo } from './object-store.ts'
import { ownText } from './own-text.ts'
import type { S3Connection } from './s3-connection.ts'
import { plainKey } from './s3-fields.ts'
import { type ListedObject, type ListPage, parseListPage } from './s3-list-page.ts'
import type { PlainAnswer } from './s3-plain-get.ts'

/** Every object below the store's prefix whose key starts with `prefix`, page after page. */
export function listObjects(s3: S3Connection, prefix: string, options: ListOptions): AsyncIterable<ObjectInfo> {
  return eachOf(listPages(s3, prefix, options))
}

async function* listPages(
  s3: S3Connection,
  prefix: string,
  { signal, after }: ListOptions,
): AsyncGenerator<readonly ObjectInfo[], void> {
  const operation = `ListObjectsV2 of ${prefix}`
  assertKeyPrefix(prefix, operation)
  const from = {
    prefix: s3.fullKey(prefix),
    ...(after === undefined ? {} : { 'start-after': s3.fullKey(after) }),
  }
  let token: string | undefined
  do {
    assertNotAborted(signal, operation)
    const query = { ...from, ...(token === undefined ? {} : { 'continuation-token': token }) }
    const page = (await plainPage(s3, operation, query, signal)) ?? (await pageBySdk(s3, prefix, query, signal))
    yield page.objects
      .map((object) => ({ ...object, key: object.key.slice(s3.prefix.length) }))
      // Others are a stranger's; so is the empty object that consoles store for a folder, whose key ends in a slash.
      .filter(({ key }) => isObjectKey(key))
      .map(remembered)
    if (page.next !== undefined && page.next === token)
      throw new PgproofError('STORE_FAILED', { operation, reason: 'no next page' })
    token = page.next
  } while (token !== undefined)
}

/** Without the page, which the catalog would keep alive with each object that it remembers. */
function remembered({ key, bytes, modifiedAt, etag }: ListedObject): ObjectInfo {
  return { key: ownText(key), bytes, modifiedAt, etag: etag === undefined ? undefined : ownText(etag) }
}

type Query = {
  readonly prefix: string
  readonly 'start-after'?: string
  readonly 'continuation-token'?: string
}

/** Much more than a thousand of the longest keys take. */
const mostPageBytes = 16 << 20

async function plainPage(
  s3: S3Connection,
  what: string,
  query: Query,
  signal: AbortSignal,
): Promise<ListPage | undefined> {
  const whole = { 'list-type': '2', 'encoding-type': 'url', ...query }
  return await s3.plainLists.get(
    { what, path: '', query: whole, maxBytes: mostPageBytes },
    (answer) => pageOf(s3, answer, query.prefix),
    signal,
  )
}

/** Throws for whatever is not simply a page. */
function pageOf(s3: S3Connection, { status, headers, body }: PlainAnswer, prefix: string): ListPage {
  if (status !== 200 || headers['content-encoding'] !== undefined) throw new Error('not simply a page')
  const page = parseListPage(body.toString('utf8'))
  if (page.objects.some(({ key }) => !key.startsWith(prefix))) throw new Error('keys that were not asked for')
  s3.noteDate(headers.date)
  return page
}

async function pageBySdk(s3: S3Connection, prefix: string, query: Query, signal: AbortSignal): Promise<ListPage> {
  const page = await s3.call('ListObjectsV2', prefix || undefined, signal, (callOptions) =>
    s3.client.send(
      new ListObjectsV2Command({
        Bucket: s3.bucket,
        Prefix: query.prefix,
        ContinuationToken: query['continuation-token'],
        StartAfter: query['start-after'],
        // Else a control character in anybody's key makes the answer no XML.
        EncodingType: 'url',
      }),
      callOptions,
    ),
  )
  const objects = (page.Contents ?? []).map(({ Key, Size, LastModified, ETag }) => ({
    key: plainKey(Key, page.EncodingType),
    bytes: Size ?? 0,
    modifiedAt: LastModified ?? new Date(0),
    etag: ETag,
  }))
  const next = page.IsTruncated === true ? page.NextContinuationToken : undefined
  if (page.IsTruncated === true && next === undefined)
    throw new PgproofError('STORE_FAILED', { operation: `ListObjectsV2 of ${prefix}`, reason: 'no next page' })
  return { objects, next }
}
