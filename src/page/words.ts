import { wallClock } from '../domain/local-time.ts'
import { type Html, html } from './html.ts'

/** How the page says instants, durations, sizes and names. */

/** `good` and `bad` are judged; `warn` needs somebody soon; `none` is neither. Each has a symbol besides its colour. */
export type Level = 'good' | 'warn' | 'bad' | 'none'

/** The words with the symbol of the level before them, which the style sheet draws. */
export function sign(level: Level, words: Html | string): Html {
  return html`<span class="sign ${level}">${words}</span>`
}

/** `10 h ago`, `in 14 h`. */
export function when(instant: string | Date, now: Date): Html {
  const at = new Date(instant)
  const iso = at.toISOString()
  const seconds = (now.getTime() - at.getTime()) / 1000
  const words = Math.abs(seconds) < 1 ? 'now' : seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`
  return html`<time datetime="${iso}" title="${iso}">${words}</time>`
}

/** `Fri 20 Nov 02:00` on the clocks of the configured zone. */
export function clockTime(instant: string | Date, timezone: string): string {
  const shown = new Date(wallClock(new Date(instant).getTime(), timezone))
  return `${dayName(shown)} ${shown.toISOString().slice(11, 16)}`
}

/** `Fri 20 Nov`; of a date whose UTC fields are what the wall shows. */
export function dayName(shown: Date): string {
  return `${weekdays[shown.getUTCDay()]} ${shown.getUTCDate()} ${months[shown.getUTCMonth()]}`
}

export const weekdays = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const
export const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const

/** Two units at most: `2 d 3 h`, `41 s`. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`
  const units = [86_400, 3600, 60, 1]
  const names = ['d', 'h', 'min', 's']
  const first = units.findIndex((unit) => seconds >= unit)
  const large = Math.floor(seconds / (units[first] as number))
  const small = Math.floor((seconds % (units[first] as number)) / (units[first + 1] ?? 1))
  const rest = first === 3 || small === 0 ? '' : ` ${small} ${names[first + 1]}`
  return `${large} ${names[first]}${rest}`
}

export function size(bytes: number): string {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)))
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

/**
 * Text that somebody else chose, on its own: what is written from right to left does not turn the words around it, and
 * characters that show nothing or turn others are shown by their number.
 */
export function quoted(text: string): Html {
  return html`<bdi>${visible(text)}</bdi>`
}

/** The same for attributes, where there is no `bdi`. */
export function visible(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0
    return code === 10 ? ' ' : `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`
  })
}

/** `server/database`, or the server alone; empty where a run is of everything. */
export function placeName({ server, database }: { readonly server: string; readonly database: string | null }): string {
  return database === null ? server : `${server}/${database}`
}

/** A message or hint of the register: what stands between backticks is shown as code. */
export function prose(text: string): Html {
  const parts = visible(text).split(/`([^`]+)`/)
  return html`<bdi>${parts.map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part))}</bdi>`
}
