import { describe, expect, it } from 'vitest'
import { failureAtDaemon, refusalOf } from '../../src/commands/daemon-refusal.ts'

const url = 'http://daemon:9432/'
const problem = { type: 'urn:pgproof:error', code: 'FROM_THE_FUTURE', detail: 'the moon is full', hint: 'Wait.' }

function refusal(status: number, body: unknown, at = url): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const { code, message, hint } = refusalOf({ status, text }, { url: at, scope: 'backup' })
  return `${code}: ${message} / ${hint}`
}

describe('a daemon that refuses', () => {
  it.each([
    [
      'by a code that only a newer one has - in its words, and that its version is another',
      refusal(409, problem),
      `DAEMON_REFUSED: the daemon at ${url} refuses: the moon is full / Wait. Another version of pgproof may run there.`,
    ],
    [
      'by such a code and without a word - the code',
      refusal(409, { ...problem, detail: '' }),
      `DAEMON_REFUSED: the daemon at ${url} refuses: FROM_THE_FUTURE / Wait. Another version of pgproof may run there.`,
    ],
    [
      'a path that it does not know - is of another version',
      refusal(404, { ...problem, code: 'ROUTE_UNKNOWN' }),
      `DAEMON_STRANGE: ${url} is no pgproof daemon: it is of another version and does not know what was asked / Give the address of \`pgproof serve\`, such as http://host:9432.`,
    ],
    [
      'such a path, below one of a proxy - names the address without it',
      refusal(404, { ...problem, code: 'ROUTE_UNKNOWN' }, `${url}backups/`),
      `DAEMON_STRANGE: ${url}backups/ is no pgproof daemon: it has nothing below /backups/; without a proxy its address is http://daemon:9432 / Give the address of \`pgproof serve\`, such as http://host:9432.`,
    ],
  ])('%s', (_what, said, expected) => expect(said).toBe(expected))

  it('a run that failed there by a code that only a newer one has - in its words', () => {
    const failure = failureAtDaemon({ code: 'FROM_THE_FUTURE', message: 'the moon is full', hint: 'Wait.' })
    expect(failure).toMatchObject({ code: 'DAEMON_REFUSED', message: 'the moon is full', hint: 'Wait.' })
  })
})
