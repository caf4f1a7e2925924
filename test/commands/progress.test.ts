import { describe, expect, it, vi } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { Progress, progressLine } from '../../src/commands/progress.ts'
import { waitFor } from './cli.ts'

const what = 'backup of main/shop'
const mib = 1 << 20

/** Time that passes only when told to. */
function handClock(): { clock: Clock; reads(): number; pass(ms: number): void } {
  let now = 0
  let reads = 0
  const monotonicMs = (): number => {
    reads += 1
    return now
  }
  return {
    clock: { now: () => new Date(now), monotonicMs, sleep: async () => {} },
    reads: () => reads,
    pass: (ms) => {
      now += ms
    },
  }
}

describe('progressLine', () => {
  const state = { doneBytes: 45 * mib, totalBytes: 100 * mib, isEstimate: true, note: '3 of 9 tables counted' }
  const seconds = { elapsed: 9, phase: 9 }

  it('on a terminal - bar, share, bytes, rate, elapsed and left, within 80 columns', () => {
    expect(progressLine({ what, state, bytesAtStart: 0 }, seconds, true)).toBe(
      'backup of main/shop: [####------] 45 %, 45.0 MiB, 5.0 MiB/s, 9 s, ~11 s left, 3 of 9 tables counted',
    )
  })

  it('as a line that stays - the same in words', () => {
    expect(progressLine({ what, state, bytesAtStart: 0 }, seconds, false)).toBe(
      'backup of main/shop: 45.0 MiB of about 100.0 MiB, 5.0 MiB/s, 9 s elapsed, about 11 s left, 3 of 9 tables counted',
    )
  })

  it('more bytes than the last time - no share, nothing left', () => {
    const grown = { ...state, totalBytes: 40 * mib, note: undefined }
    expect(progressLine({ what, state: grown, bytesAtStart: 0 }, seconds, true)).toBe(
      'backup of main/shop: 45.0 MiB, 5.0 MiB/s, 9 s',
    )
  })

  it('a step without bytes - how long it took the last time', () => {
    const step = { phase: 'restore', usualSeconds: 90 }
    expect(progressLine({ what, state: step, bytesAtStart: 0 }, { elapsed: 40, phase: 30 }, true)).toBe(
      'backup of main/shop: restore 40 s, this step 30 s, last time 1 min 30 s',
    )
  })

  it('a database name with an escape sequence - written out', () => {
    const line = progressLine({ what: 'drill of main/a\u001b[2J', state: {}, bytesAtStart: 0 }, seconds, true)
    expect(line).toBe('drill of main/a\\x1b[2J: 9 s')
  })
})

describe('Progress', () => {
  it('on a terminal, under a second - nothing is written', async () => {
    const { clock, reads, pass } = handClock()
    const written: string[] = []
    const progress = new Progress({ write: (text) => written.push(text) }, { clock, mode: 'terminal' })
    {
      using activity = progress.begin(what)
      activity.update({ doneBytes: 1 })
      pass(999)
      const before = reads()
      await waitFor('three moments to draw', () => reads() >= before + 3)
    }
    expect(written).toEqual([])
  })

  it('on a terminal - redrawn in place, makes room for a line that stays, gone at the end', async () => {
    const { clock, pass } = handClock()
    const written: string[] = []
    const stream = { write: (text: string) => written.push(text), columns: 30 }
    const progress = new Progress(stream, { clock, mode: 'terminal' })
    {
      using _activity = progress.begin(what)
      pass(2000)
      await waitFor('a drawn line', () => written.length > 0)
      progress.write('a line\n')
      await waitFor('the line drawn again', () => written.at(-1) !== 'a line\n')
    }
    const clear = '\r\u001b[2K'
    expect(written[0]).toBe(`${clear}backup of main/shop: 2 s`)
    expect(written.slice(written.indexOf('a line\n') - 1).slice(0, 2)).toEqual([clear, 'a line\n'])
    expect(written.at(-1)).toBe(clear)
  })

  it('not on a terminal - a plain line every 30 seconds, without control characters', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      const { clock, pass } = handClock()
      const written: string[] = []
      const progress = new Progress({ write: (text) => written.push(text) }, { clock, mode: 'plain' })
      {
        using activity = progress.begin(what)
        activity.update({ doneBytes: 0 })
        for (let second = 0; second < 65; second += 1) {
          pass(1000)
          activity.update({ doneBytes: (second + 1) * mib })
          vi.advanceTimersByTime(1000)
        }
      }
      expect(written).toEqual([
        'backup of main/shop: 30.0 MiB, 1.0 MiB/s, 30 s elapsed\n',
        'backup of main/shop: 60.0 MiB, 1.0 MiB/s, 1 min 00 s elapsed\n',
      ])
    } finally {
      vi.useRealTimers()
    }
  })

  it('switched off - lines that stay are written, nothing else', () => {
    const written: string[] = []
    const progress = new Progress({ write: (text) => written.push(text) }, { clock: handClock().clock, mode: 'off' })
    using _activity = progress.begin(what)
    progress.write('a line\n')
    expect(written).toEqual(['a line\n'])
  })
})
