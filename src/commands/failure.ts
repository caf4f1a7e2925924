import type { PgproofError } from '../errors.ts'
import { type Painter, printable } from './print.ts'

/** `error: …`, `hint: …`, and the details line by line below. A stack is among them only for a fault in pgproof. */
export function failureText(error: PgproofError, paint: Painter, what?: string): string {
  const place = what === undefined ? '' : `${printable(what)}: `
  const lines = [
    `${paint('error:', 'bad')} ${place}${printable(error.message)}`,
    `${paint('hint:', 'strong')} ${printable(error.hint)}`,
  ]
  const details = error.details?.trimEnd() ?? ''
  if (details !== '') lines.push(...details.split('\n').map((line) => `  ${printable(line)}`))
  return lines.join('\n')
}

/** The same for `--json`. */
export function failureDocument({ code, message, hint, details }: PgproofError): Readonly<Record<string, unknown>> {
  return { code, message, hint, details: details ?? null }
}

/** One JSON document. What a terminal would obey is escaped in it, although JSON does not demand that. */
export function jsonText(document: unknown): string {
  const text = JSON.stringify(document, null, 2)
  const escaped = text.replaceAll(
    /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (character) => {
      return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
    },
  )
  return `${escaped}\n`
}
