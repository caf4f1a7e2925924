/** Text that is HTML already. */
export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

type Part = Html | string | number | null | undefined | readonly Part[]

/** A template whose values are escaped, unless they are HTML themselves; null and undefined are nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly Part[]): Html {
  let text = strings[0] as string
  for (let index = 0; index < values.length; index += 1) text += textOf(values[index]) + (strings[index + 1] as string)
  return new Html(text)
}

function textOf(part: Part): string {
  if (typeof part === 'string') return escaped(part)
  if (part === null || part === undefined) return ''
  if (part instanceof Html) return part.text
  if (typeof part === 'number') return String(part)
  let text = ''
  for (const one of part) text += textOf(one)
  return text
}

/** Most texts have nothing to escape, and a page has thousands of them. */
function escaped(text: string): string {
  return special.test(text) ? text.replaceAll(everySpecial, (character) => `&#${character.charCodeAt(0)};`) : text
}

const special = /[&<>"']/
const everySpecial = /[&<>"']/g
