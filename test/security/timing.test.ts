import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { type Authenticate, createAuthentication } from '../../src/http/authentication.ts'
import { silentLog } from '../../src/log.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const count = 400
const tokens = Array.from({ length: count }, (_, index) => `token-${String(index).padStart(4, '0')}`)

function authentication(): Authenticate {
  const known = tokens.map((token) => ({ name: token, scope: 'read' as const, sha256: sha256(token) }))
  const http = {
    ...{
      listen: { host: '127.0.0.1', port: 1 },
      metricsToken: false,
      localRead: true,
      tls: undefined,
      rateLimit: 1_000,
    },
    tokens: known,
  }
  return createAuthentication(() => http, { clock: { monotonicMs: () => 0 }, log: silentLog })
}

/** All that the decision is made from. */
function requestWith(token: string): IncomingMessage {
  const headers = { host: 'localhost', authorization: `Bearer ${token}` }
  return { method: 'GET', headers, httpVersion: '1.1', socket: { remoteAddress: '127.0.0.1' } } as never
}

/** Microseconds, half of which are below; measured in turns, so that a busy machine slows all of them. */
function medians(measured: readonly (() => void)[], rounds: number): number[] {
  const times = measured.map((): number[] => [])
  for (let round = 0; round < rounds; round += 1)
    for (const [index, work] of measured.entries()) {
      const begun = performance.now()
      work()
      times[index]?.push((performance.now() - begun) * 1_000)
    }
  return times.map((all) => all.sort((one, other) => one - other)[Math.floor(rounds / 2)] ?? 0)
}

it('the first of many tokens and the last - take the same time: each is compared with all', () => {
  const authenticate = authentication()
  const ask = (token: string) => (): void => {
    authenticate(requestWith(token), 'read')
  }
  const [first = 0, last = 0] = medians([ask(tokens[0] ?? ''), ask(tokens[count - 1] ?? '')], 4_000)
  // One that stopped where it finds the token would take the first in a small part of the time of the last.
  expect(Math.max(first, last) / Math.min(first, last)).toBeLessThan(1.5)
})

it('what is compared - are digests, so that a nearly right token is as far off as any', () => {
  const [right = ''] = tokens
  const nearly = `${right.slice(0, -1)}x`
  const distance = (one: string, other: string): number => {
    const [a, b] = [Buffer.from(sha256(one), 'hex'), Buffer.from(sha256(other), 'hex')]
    return a.findIndex((byte, index) => byte !== b[index])
  }
  expect(distance(right, nearly)).toBeLessThan(4)
  const authenticate = authentication()
  expect(() => authenticate(requestWith(nearly), 'read')).toThrow(expect.objectContaining({ code: 'UNAUTHORIZED' }))
  expect(authenticate(requestWith(right), 'read').token?.name).toBe(right)
})
