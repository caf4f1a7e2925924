import type { Socket } from 'node:net'
import { PgproofError } from '../errors.ts'
import { problemOf, problemType } from './problem.ts'

/** For what is not even HTTP, or does not arrive: there is no request yet that Fastify could answer. */
export function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  // Who speaks HTTP to a port of HTTPS, or no TLS of ours, would not understand an answer.
  const isTls = /^ERR_(?:SSL|TLS)_/.test(error.code ?? '')
  if (isTls || error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const reason = error.code === 'HPE_HEADER_OVERFLOW' ? 'the headers are too large' : 'this is not HTTP'
  const refusal =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? new PgproofError('REQUEST_TIMEOUT')
      : new PgproofError('REQUEST_INVALID', { reason })
  const problem = problemOf(refusal)
  const body = JSON.stringify(problem)
  const head = `HTTP/1.1 ${problem.status} ${problem.title}\r\nConnection: close\r\nContent-Type: ${problemType}\r\n`
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`, () => socket.destroySoon())
}
