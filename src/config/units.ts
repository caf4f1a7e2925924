/** Durations (`30s`, `26h`, `14d`) and sizes (`8MiB`, `500MB`) as written in the configuration and on the command line. */

const durationUnits = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const
const sizeUnits = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const

/** Longer ones are slips of the keyboard, and would leave the range of a Date. */
const longestMs = 36_525 * durationUnits.d

export const durationPattern = /^(\d+)(s|m|h|d|w)$/
export const sizePattern = /^(\d+) ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$/

/** Milliseconds; undefined if the text is no duration or is longer than a century. */
export function parseDuration(text: string): number | undefined {
  const match = durationPattern.exec(text)
  if (match === null) return undefined
  const durationMs = Number(match[1]) * durationUnits[match[2] as keyof typeof durationUnits]
  return durationMs <= longestMs ? durationMs : undefined
}

/** The shortest exact text of whole seconds, in days at most: `26h`, `14d`. Fractions of a second are dropped. */
export function formatDuration(durationMs: number): string {
  const wholeMs = Math.floor(durationMs / 1000) * 1000
  const unit = (['d', 'h', 'm', 's'] as const).find((name) => wholeMs % durationUnits[name] === 0) ?? 's'
  return wholeMs === 0 ? '0s' : `${wholeMs / durationUnits[unit]}${unit}`
}

/** Bytes; undefined if the text is no size or not exact as a number. */
export function parseSize(text: string): number | undefined {
  const match = sizePattern.exec(text)
  if (match === null) return undefined
  const bytes = Number(match[1]) * sizeUnits[match[2] as keyof typeof sizeUnits]
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** The shortest exact text: `8MiB`, `500MB`, `1234B`. */
export function formatSize(bytes: number): string {
  if (bytes === 0) return '0B'
  const texts = Object.entries(sizeUnits)
    .filter(([, unit]) => bytes % unit === 0)
    .map(([name, unit]) => `${bytes / unit}${name}`)
  return texts.reduce((shortest, text) => (text.length < shortest.length ? text : shortest))
}
