import { describe, expect, it } from 'vitest'
import { jsonText } from '../../src/commands/failure.ts'
import {
  createPainter,
  cutToWidth,
  formatAge,
  formatBytes,
  formatSeconds,
  formatTable,
  printable,
  widthOf,
} from '../../src/commands/print.ts'

const plain = createPainter(false)

describe('printable', () => {
  it.each([
    ['an escape sequence', 'shop\u001b[31m', 'shop\\x1b[31m'],
    ['line breaks and tabs', 'a\r\nb\tc', 'a\\x0d\\nb\\tc'],
    ['the one-byte form of CSI', 'a\u009b2Jb', 'a\\x9b2Jb'],
    ['a right-to-left override', 'a\u202egpj', 'a\\u{202e}gpj'],
    ['a line separator', 'a\u2028b', 'a\\u{2028}b'],
    ['half of a surrogate pair', 'a\ud800b', 'a\\u{d800}b'],
  ])('%s - written out', (_what, text, expected) => {
    expect(printable(text)).toBe(expected)
  })

  it('letters of any language - as they are', () => {
    expect(printable('naïve ☕ 商店 магазин')).toBe('naïve ☕ 商店 магазин')
  })
})

describe('formatTable', () => {
  it('cells of different width - columns aligned, no space at the end of a line', () => {
    const columns = [{ title: 'NAME' }, { title: 'ROWS', align: 'right' }, { title: 'NOTE' }] as const
    const rows = [
      ['a', '1', ''],
      ['longer', '1,000', 'x'],
    ]
    expect(formatTable(columns, rows, plain)).toBe('NAME     ROWS  NOTE\na           1\nlonger  1,000  x')
  })

  it('wide characters and marks - counted as a terminal shows them', () => {
    expect([widthOf('商店'), widthOf('e\u0301'), widthOf('abc')]).toEqual([4, 1, 3])
    expect(
      formatTable(
        [{ title: '' }, { title: '' }],
        [
          ['商店', 'x'],
          ['abcd', 'y'],
        ],
        plain,
      ),
    ).toBe('商店  x\nabcd  y')
  })

  it('a painted cell with an escape sequence in its text - only our own colour is left', () => {
    const table = formatTable([{ title: '' }], [[{ text: '\u001b[2J', tone: 'bad' }]], createPainter(true))
    expect(table).toBe('\u001b[31m\\x1b[2J\u001b[0m')
  })
})

describe('values', () => {
  it.each([
    [512, '512 B'],
    [1434, '1.4 KiB'],
    [1_489_076_224, '1,420.1 MiB'],
    [21_474_836_480, '20.0 GiB'],
  ])('%i bytes - %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))

  it.each([
    [0.42, '0.4 s'],
    [59.97, '1 min 00 s'],
    [245, '4 min 05 s'],
    [7620, '2 h 07 min'],
    [3600 * 76, '3 d 4 h'],
  ])('%f seconds - %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text))

  it.each([
    ['2026-11-20T11:59:48Z', '12 s ago'],
    ['2026-11-20T09:00:00Z', '3 h ago'],
    ['2026-11-08T11:00:00Z', '12 d ago'],
    ['2026-11-20T12:00:30Z', '0 s ago'],
    ['2026-11-20T13:00:00Z', 'in the future'],
  ])('%s at noon - %s', (instant, text) => {
    expect(formatAge(new Date(instant), new Date('2026-11-20T12:00:00Z'))).toBe(text)
  })

  it('a line wider than the terminal - cut, and marked as cut', () => {
    expect(cutToWidth('abcdef', 6)).toBe('abcdef')
    expect(cutToWidth('abcdefg', 6)).toBe('abcde…')
  })
})

describe('jsonText', () => {
  it('what a terminal would obey - escaped, and the same after parsing', () => {
    const name = 'a\u001b[31m\u009b2J\u202eb'
    const text = jsonText({ name })
    expect(text).not.toMatch(/[^\n\x20-\x7e]/)
    expect(JSON.parse(text)).toEqual({ name })
  })
})
