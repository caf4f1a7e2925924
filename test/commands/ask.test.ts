import { PassThrough } from 'node:stream'
import { describe, expect, it, vi } from 'vitest'
import { askHidden, askLine } from '../../src/commands/ask.ts'
import { createContext } from '../../src/commands/context.ts'
import { Progress } from '../../src/commands/progress.ts'
import { PgproofError } from '../../src/errors.ts'
import { bareSurroundings } from './in-process.ts'

const signal = new AbortController().signal

/** Somebody who types, and what is shown to them. */
function typist() {
  const shown: string[] = []
  const stdin = new PassThrough()
  return { stdin, shown, terminal: { stdin, write: (text: string) => shown.push(text), signal } }
}

describe('a question', () => {
  it('whose terminal is closed - CANCELLED, and nobody listens any more', async () => {
    for (const ask of [askLine, askHidden]) {
      const { stdin, shown, terminal } = typist()
      const answer = ask('Name: ', terminal)
      stdin.write('half an ans')
      stdin.end()
      await expect(answer).rejects.toMatchObject({ code: 'CANCELLED' })
      expect(shown[0]).toBe('Name: ')
      expect([stdin.listenerCount('data'), stdin.listenerCount('end')]).toEqual([0, 0])
    }
  })

  it('in pieces, with the line end of another system - the line', async () => {
    const { stdin, terminal } = typist()
    const answer = askLine('Name: ', terminal)
    for (const piece of ['sh', 'op\r', '\nmore']) stdin.write(piece)
    expect(await answer).toBe('shop')
  })

  it('once everything was cancelled, before it or meanwhile - throws what cancelled it', async () => {
    const reason = new PgproofError('CANCELLED', { what: 'the restore' })
    const canceller = new AbortController()
    const { terminal } = typist()
    const answer = askLine('Name: ', { ...terminal, signal: canceller.signal })
    canceller.abort(reason)
    await expect(answer).rejects.toBe(reason)
    await expect(askHidden('Name: ', { ...terminal, signal: canceller.signal })).rejects.toBe(reason)
  })

  it('where there is no terminal - USAGE_INVALID that says so, and nothing is written', async () => {
    const written: string[] = []
    const stderr = { write: (text: string) => written.push(text) }
    const context = createContext({ ...bareSurroundings, stdin: new PassThrough(), stderr }, {})
    for (const ask of [context.ask, context.askSecret])
      await expect(ask('Password: ')).rejects.toMatchObject({
        code: 'USAGE_INVALID',
        message: expect.stringContaining('there is no terminal to ask at'),
      })
    expect(written).toEqual([])
  })
})

it('progress while somebody types - nothing is drawn; it comes back once the answer is there', () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  try {
    let now = 0
    const clock = { now: () => new Date(now), monotonicMs: () => now, sleep: async () => {} }
    const written: string[] = []
    const progress = new Progress({ write: (text) => written.push(text) }, { clock, mode: 'terminal' })
    using _activity = progress.begin('drill of main/shop')
    now = 5000
    {
      using _typing = progress.pause()
      vi.advanceTimersByTime(10_000)
      expect(written).toEqual([])
    }
    vi.advanceTimersByTime(100)
    expect(written).toEqual(['\r\u001b[2Kdrill of main/shop: 5 s'])
  } finally {
    vi.useRealTimers()
  }
})
