import { describe, expect, it } from 'vitest'
import { isLabel, labelTime, makeLabel } from '../../src/domain/backup-label.ts'

describe('a label', () => {
  it('made - the UTC second and four characters that are not mistaken for one another; it comes back as its time', () => {
    const now = new Date('2026-11-20T02:03:04.567Z')
    expect(makeLabel(now, () => 0)).toBe('20261120T020304Z-0000')
    expect(makeLabel(now, () => 0.999_999)).toBe('20261120T020304Z-zzzz')
    const drawn = [0.3, 0.5, 0.6, 0.7]
    expect(makeLabel(now, () => drawn.shift() ?? 0)).toBe('20261120T020304Z-9gkp')
    expect(labelTime('20261120T020304Z-9gkp')).toEqual(new Date('2026-11-20T02:03:04Z'))
  })

  it('every character that one may end with is read back', () => {
    for (let place = 0; place < 32; place += 1)
      expect(isLabel(makeLabel(new Date('2026-01-01T00:00:00Z'), () => (place + 0.5) / 32))).toBe(true)
  })

  it.each([
    '20261120T020304Z-9gk',
    '20261120T020304Z-9gkpp',
    'x20261120T020304Z-9gkp',
    '20261120T020304Z-9gki',
    '20261120T020304Z-9gkl',
    '20261120T020304Z-9gko',
    '20261120T020304Z-9gku',
    '20261120T020304Z-9GKP',
    '20261320T020304Z-9gkp',
    '20261120T250304Z-9gkp',
    '20261120T020304-9gkp',
    '',
  ])('%j - none', (text) => {
    expect(isLabel(text)).toBe(false)
    expect(labelTime(text)).toBeUndefined()
  })
})
