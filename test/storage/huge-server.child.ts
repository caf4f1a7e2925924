// Run by huge-stream.test.ts: an S3 server that keeps nothing but sizes, so that a stream of any length costs no disk.
// It holds clients to the rules: lengths and SHA-256 of bodies, 10,000 parts (or `maxParts`) of 5 MiB and more, equal
// ones if `equalParts` is given; an object `zeros-N` is N zeros. Prints its port; `GET /` tells what it was sent.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

type Part = { readonly bytes: number; readonly etag: string }
type Held = { readonly bytes: number; readonly parts: readonly number[]; readonly writer: string | undefined }

const maxParts = Number(process.argv[2] ?? 10_000)
const needsEqualParts = process.argv[3] === 'equalParts'
const uploads = new Map<
  string,
  { readonly path: string; readonly writer: string | undefined; parts: Map<number, Part> }
>()
const objects = new Map<string, Held>()
let receivedBytes = 0
let uploadsStarted = 0

const server = createServer((request, response) => {
  // Also when the client hangs up.
  answer(request, response).catch(() => response.destroy())
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname: path, searchParams: query } = new URL(request.url ?? '', 'http://127.0.0.1')
  const writer = request.headers['x-amz-meta-pgproof-write'] as string | undefined
  const uploadId = query.get('uploadId')
  const upload = uploadId === null ? undefined : uploads.get(uploadId)
  if (request.method === 'GET' && path === '/')
    return send(response, 200, JSON.stringify({ receivedBytes, unfinished: uploads.size, objects: [...objects] }))
  if (query.has('uploads') && request.method === 'POST') {
    uploadsStarted += 1
    uploads.set(`upload-${uploadsStarted}`, { path, writer, parts: new Map() })
    return send(response, 200, xml('InitiateMultipartUploadResult', `<UploadId>upload-${uploadsStarted}</UploadId>`))
  }
  if (uploadId !== null && (upload === undefined || upload.path !== path)) return refuse(response, 404, 'NoSuchUpload')
  if (upload !== undefined && uploadId !== null) {
    if (request.method === 'PUT') {
      const number = Number(query.get('partNumber'))
      if (!(number >= 1 && number <= maxParts)) return refuse(response, 400, 'InvalidArgument')
      const part = await discard(request)
      if (part === undefined) return refuse(response, 400, 'XAmzContentSHA256Mismatch')
      upload.parts.set(number, part)
      return send(response, 200, '', { etag: part.etag })
    }
    if (request.method === 'POST') {
      const code = await complete(request, upload)
      if (code !== undefined) return refuse(response, 400, code)
      uploads.delete(uploadId)
      return send(response, 200, xml('CompleteMultipartUploadResult', '<ETag>"whole"</ETag>'))
    }
    if (request.method === 'DELETE') uploads.delete(uploadId)
    return send(response, request.method === 'DELETE' ? 204 : 200, '')
  }
  if (request.method === 'PUT') {
    const body = await discard(request)
    if (body === undefined) return refuse(response, 400, 'XAmzContentSHA256Mismatch')
    objects.set(path, { bytes: body.bytes, parts: [body.bytes], writer })
    return send(response, 200, '', { etag: body.etag })
  }
  const zeros = /zeros-(\d+)$/.exec(path)?.[1]
  const held = zeros === undefined ? objects.get(path) : { bytes: Number(zeros), writer: undefined }
  if (request.method === 'DELETE') {
    objects.delete(path)
    return send(response, 204, '')
  }
  if (held === undefined) return refuse(response, 404, 'NoSuchKey')
  response.writeHead(200, {
    'content-length': held.bytes,
    etag: '"whole"',
    'last-modified': new Date().toUTCString(),
    ...(held.writer === undefined ? {} : { 'x-amz-meta-pgproof-write': held.writer }),
  })
  if (request.method === 'GET') await sendZeros(response, held.bytes)
  response.end()
}

/** The size of a body, which is thrown away; undefined if it is not what its length and its signed SHA-256 say. */
async function discard(request: IncomingMessage): Promise<Part | undefined> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
    receivedBytes += chunk.length
  }
  const sha256 = hash.digest('hex')
  const isAsSaid =
    Number(request.headers['content-length']) === bytes && request.headers['x-amz-content-sha256'] === sha256
  return isAsSaid ? { bytes, etag: `"${sha256.slice(0, 32)}"` } : undefined
}

/** Makes the object of all parts; else the code of what is wrong. */
async function complete(
  request: IncomingMessage,
  upload: { readonly path: string; readonly writer: string | undefined; readonly parts: ReadonlyMap<number, Part> },
): Promise<string | undefined> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  const listed = [...text.matchAll(/<Part>(.*?)<\/Part>/g)].map(([, part = '']) => ({
    number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
    etag: /<ETag>(.*?)</.exec(part)?.[1]?.replaceAll('&quot;', '"'),
  }))
  const sizes: number[] = []
  for (const [index, { number, etag }] of listed.entries()) {
    const part = upload.parts.get(number)
    if (number !== index + 1 || part === undefined || part.etag !== etag) return 'InvalidPart'
    sizes.push(part.bytes)
  }
  const whole = sizes.slice(0, -1)
  if (sizes.length === 0 || sizes.length !== upload.parts.size) return 'InvalidPart'
  if (whole.some((bytes) => bytes < 5 * 2 ** 20)) return 'EntityTooSmall'
  if (needsEqualParts && whole.some((bytes) => bytes !== sizes[0])) return 'InvalidPart'
  const bytes = sizes.reduce((total, size) => total + size, 0)
  objects.set(upload.path, { bytes, parts: sizes, writer: upload.writer })
  return undefined
}

async function sendZeros(response: ServerResponse, bytes: number): Promise<void> {
  const zeros = Buffer.alloc(2 ** 20)
  for (let left = bytes; left > 0 && !response.destroyed; left -= zeros.length)
    if (!response.write(zeros.subarray(0, Math.min(left, zeros.length)))) await once(response, 'drain')
}

function send(response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { ...headers, ...(status === 204 ? {} : { 'content-length': Buffer.byteLength(body) }) })
  response.end(body)
}

function refuse(response: ServerResponse, status: number, code: string): void {
  send(response, status, xml('Error', `<Code>${code}</Code><Message>${code}</Message>`))
}

function xml(name: string, content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name}>${content}</${name}>`
}
