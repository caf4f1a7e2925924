import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import type { StoreSettings } from '../../src/storage/store-settings.ts'
import { type HttpAnswer, type HttpRequest, startScriptedServer } from '../support/scripted-http.ts'
import { hurriedClock } from '../support/test-bucket.ts'

export const mebibyte = 2 ** 20

/** A store on a server whose answers the test writes; pauses between retries are short. */
export async function openScripted(
  answer: (request: HttpRequest) => HttpAnswer,
  over: Partial<StoreSettings> = {},
): Promise<{ readonly store: S3Store; readonly requests: HttpRequest[] } & AsyncDisposable> {
  const server = await startScriptedServer(answer)
  const settings: StoreSettings = {
    url: 's3://bucket/p',
    endpoint: server.endpoint,
    region: 'us-east-1',
    provider: 'ceph',
    accessKeyId: 'id',
    secretAccessKey: () => 'secret',
    partSizeBytes: 5 * mebibyte,
    ...over,
  }
  return {
    store: new S3Store(settings, { clock: hurriedClock, log: silentLog }),
    requests: server.requests,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** An error as S3 words it. */
export function s3Error(status: number, code: string, message = 'because'): HttpAnswer {
  return { status, body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>` }
}

/** Answers that take whatever is written; `head` adds headers to what is told of it afterwards. */
export function takingServer(head: Readonly<Record<string, string>> = {}): (request: HttpRequest) => HttpAnswer {
  let writeId = ''
  // A part that is sent once more takes the place of the first.
  const parts = new Map<string, number>()
  return ({ method, query, headers, body }) => {
    const bytes = [...parts.values()].reduce((sum, length) => sum + length, 0)
    if (method === 'HEAD')
      return {
        status: 200,
        headers: { etag: '"e"', 'content-length': String(bytes), 'x-amz-meta-pgproof-write': writeId, ...head },
      }
    if (query.has('uploads') || (method === 'PUT' && !query.has('partNumber') && query.size <= 1)) {
      writeId = String(headers['x-amz-meta-pgproof-write'])
      parts.clear()
    }
    if (query.has('uploads')) return { status: 200, body: '<R><UploadId>u</UploadId></R>' }
    if (method === 'POST')
      return { status: 200, body: '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>' }
    if (method === 'PUT') parts.set(query.get('partNumber') ?? '', body.length)
    const checksum = headers['x-amz-checksum-crc32']
    return {
      status: 200,
      headers: { etag: '"e"', ...(checksum === undefined ? {} : { 'x-amz-checksum-crc32': String(checksum) }) },
    }
  }
}
