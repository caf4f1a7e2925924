/**
 * Answers GET and HEAD as the S3 server of which the address is given did when it was first asked, from memory: what a
 * start takes where the server's processors are not those of the client. Says its own port on stdout; ends with stdin.
 */
import { createServer, type IncomingHttpHeaders, request } from 'node:http'
import type { AddressInfo } from 'node:net'

type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: Buffer }

const origin = new URL(process.argv[2] ?? '')
const answers = new Map<string, Answer>()

const server = createServer((asked, response) => {
  const { method = '', url = '', headers } = asked
  const key = [method, url, headers.range ?? ''].join(' ')
  const give = ({ status, headers: given, body }: Answer): void => {
    response.writeHead(status, { ...given, date: new Date().toUTCString() })
    response.end(body)
  }
  const known = answers.get(key)
  if (known !== undefined) return give(known)
  // With its own `Host`, which is signed.
  const { hostname, port } = origin
  const forwarded = request({ hostname, port, method, path: url, headers }, (incoming) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      const { 'transfer-encoding': _chunked, connection: _connection, ...kept } = incoming.headers
      const answer = { status: incoming.statusCode ?? 500, headers: kept, body: Buffer.concat(chunks) }
      if (method === 'GET' || method === 'HEAD') answers.set(key, answer)
      give(answer)
    })
  })
  forwarded.on('error', () => response.destroy())
  asked.pipe(forwarded)
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
process.stdin.resume().on('end', () => process.exit())
