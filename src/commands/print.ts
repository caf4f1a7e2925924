/** How a value is written for people. Everything that may hold a foreign name goes through `printable`. */

export type Tone = 'good' | 'bad' | 'doubtful' | 'faint' | 'strong'
export type Painter = (text: string, tone: Tone) => string

/** One cell of a table: text, or text with a tone. Control characters are escaped when the table is made. */
export type Cell = string | { readonly text: string; readonly tone: Tone }
export type Column = { readonly title: string; readonly align?: 'left' | 'right' }

/** Columns as wide as their widest cell, two spaces between them; no space ends a line. Without titles, no head line. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly Cell[])[], paint: Painter): string {
  const hasHead = columns.some(({ title }) => title !== '')
  const head: Cell[] = columns.map(({ title }) => ({ text: title, tone: 'faint' }))
  const lines = [...(hasHead ? [head] : []), ...rows].map((row) => row.map(cellOf))
  const widths = columns.map((_, index) => Math.max(0, ...lines.map((row) => widthOf(row[index]?.text ?? ''))))
  return lines
    .map((row) => {
      const last = row.findLastIndex(({ text }) => text !== '')
      const cells = row.slice(0, last + 1).map(({ text, tone }, index) => {
        const painted = tone === undefined ? text : paint(text, tone)
        const gap = ' '.repeat((widths[index] ?? 0) - widthOf(text))
        if (columns[index]?.align === 'right') return gap + painted
        return index === last ? painted : painted + gap
      })
      return cells.join('  ')
    })
    .join('\n')
}

/** `name  value` lines under a heading; pairs without a value are left out. */
export function formatPairs(pairs: readonly (readonly [string, Cell | null])[], paint: Painter): string {
  const rows = pairs.flatMap(([name, value]): Cell[][] =>
    value === null ? [] : [['', { text: name, tone: 'faint' }, value]],
  )
  return formatTable([{ title: '' }, { title: '' }, { title: '' }], rows, paint)
}

/** A section of a page; nothing where there is nothing to say. */
export function heading(title: string, text: string, paint: Painter): string {
  return text === '' ? '' : `${paint(title, 'strong')}\n${text}`
}

/**
 * The text with every character written out that a terminal would obey or hide: control and format characters, line
 * breaks, halves of a character. A name from a database cannot move the cursor, colour the page or reorder a line.
 */
export function printable(text: string): string {
  return text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0
    if (character === '\n') return '\\n'
    if (character === '\t') return '\\t'
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
  })
}

/** Colours for a terminal that wants them, plain text for everything else. */
export function createPainter(hasColours: boolean): Painter {
  return hasColours ? (text, tone) => `\u001b[${colours[tone]}m${text}\u001b[0m` : (text) => text
}

/** `512 B`, `1.4 KiB`, `1,420.1 MiB`; larger units from 10 GiB and 10 TiB on. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  const [unit, size] = sizeUnits.find(([, , least]) => bytes >= least) ?? ['KiB', 1024]
  return `${withThousands((bytes / size).toFixed(1))} ${unit}`
}

/** Of a number with one decimal at most. Not by Intl, whose first use costs a command a tenth of its start. */
function withThousands(number: string): string {
  return number.replaceAll(/\B(?=(\d{3})+(?!\d))/g, ',')
}

/** `0.4 s`, `12.3 s`, `4 min 05 s`, `2 h 07 min`, `3 d 4 h`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${twoDigits(whole % 60)} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 2 * 1440) return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} min`
  const hours = Math.round(seconds / 3600)
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** `12 s ago`, `5 min ago`, `3 h ago`, `12 d ago`; `in the future` where a clock is wrong. */
export function formatAge(instant: Date, now: Date): string {
  const seconds = Math.floor((now.getTime() - instant.getTime()) / 1000)
  if (seconds < -60) return 'in the future'
  if (seconds < 60) return `${Math.max(0, seconds)} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86_400)} d ago`
}

/** `2026-11-20 02:00:01 UTC`. */
export function formatInstant(instant: Date): string {
  return `${instant.toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** `2,300,123`. */
export function formatCount(count: number): string {
  return withThousands(String(count))
}

/** `1 table`, `2,300 tables`. */
export function counted(count: number, one: string, several = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : several}`
}

/** Columns that a text takes on a terminal: marks take none, East Asian wide characters two. */
export function widthOf(text: string): number {
  let width = 0
  for (const character of text) if (!/\p{M}/u.test(character)) width += wide.test(character) ? 2 : 1
  return width
}

/** The text cut to so many columns, with `…` where it was cut. */
export function cutToWidth(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text
  let cut = ''
  for (const character of text) {
    if (widthOf(cut + character) >= columns) break
    cut += character
  }
  return `${cut}…`
}

const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u

const colours: Readonly<Record<Tone, string>> = { good: '32', bad: '31', doubtful: '33', faint: '2', strong: '1' }

/** Unit, its size, and from how many bytes on it is used. */
const sizeUnits = [
  ['TiB', 2 ** 40, 10 * 2 ** 40],
  ['GiB', 2 ** 30, 10 * 2 ** 30],
  ['MiB', 2 ** 20, 2 ** 20],
] as const

function cellOf(cell: Cell): { readonly text: string; readonly tone: Tone | undefined } {
  return typeof cell === 'string'
    ? { text: printable(cell), tone: undefined }
    : { text: printable(cell.text), tone: cell.tone }
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}
