/**
 * Text that PostgreSQL prints from a parse tree, in the form that it prints after that text was read back.
 *
 * An expression need not come back as it was: an array whose type was changed as a whole, as in
 * `varchar_column IN ('a', 'b')`, is read back with the change on each element. So `(ARRAY[x, y])::T[]` is written
 * `ARRAY[(x)::T, (y)::T]`, also inside of others. Literals and quoted names are left alone.
 */
export function normaliseDeparsed(text: string): string {
  if (!text.includes('(ARRAY[')) return text
  let written = ''
  for (let at = 0; at < text.length; ) {
    const cast = text.startsWith('(ARRAY[', at) ? readArrayCast(text, at) : undefined
    const end = cast?.end ?? endOfToken(text, at)
    written += cast?.written ?? text.slice(at, end)
    at = end
  }
  return written
}

/**
 * `(a AND (b AND c))` as `(a AND b AND c)`, and so with OR. Where pg_dump dumps an expression printed in the pretty way,
 * without parentheses that do not matter, the inner ones are lost. For fully parenthesised text.
 */
export function flattenConditions(text: string): string {
  let written = ''
  for (let at = 0; at < text.length; ) {
    const end = text[at] === '(' ? endOfBrackets(text, at) : endOfToken(text, at)
    const isGroup = text[at] === '(' && text[end - 1] === ')'
    written += isGroup ? `(${flattenOperands(flattenConditions(text.slice(at + 1, end - 1)))})` : text.slice(at, end)
    at = end
  }
  return written
}

function flattenOperands(inside: string): string {
  for (const connective of [' AND ', ' OR ']) {
    const operands = splitTop(inside, connective)
    if (operands.length > 1) return operands.map((operand) => withoutGroup(operand, connective)).join(connective)
  }
  return inside
}

function withoutGroup(operand: string, connective: string): string {
  const isGroup = operand.startsWith('(') && endOfBrackets(operand, 0) === operand.length
  const inside = operand.slice(1, -1)
  return isGroup && splitTop(inside, connective).length > 1 ? inside : operand
}

/** `(ARRAY[…])::T[]` at a place of the text; undefined if there is something else. */
function readArrayCast(text: string, at: number): { readonly written: string; readonly end: number } | undefined {
  const array = at + '(ARRAY'.length
  const closing = endOfBrackets(text, array)
  arrayType.lastIndex = closing
  const type = arrayType.exec(text)?.groups?.['element']
  // Read before the elements are: an array may stand inside of them.
  const end = arrayType.lastIndex
  if (type === undefined) return undefined
  return { written: castArray(text.slice(array, closing), type), end }
}

/** What follows the array: the closing parenthesis and a type, such as `numeric(10,2)` or `"a b".c`, with its brackets. */
const arrayType = /\)::(?<element>(?:"(?:[^"]|"")*"|[\p{L}\p{N}_$. ]|\([\d,-]+\))+)\[\]/uy

/** `[x, y]` with a cast of each element; of an array of arrays, of each of theirs. */
function castArray(brackets: string, type: string): string {
  const elements = splitTop(brackets.slice(1, -1), ', ').map((element) => {
    const isArray = element.startsWith('ARRAY[') && endOfBrackets(element, 'ARRAY'.length) === element.length
    return isArray ? castArray(element.slice('ARRAY'.length), type) : `(${normaliseDeparsed(element)})::${type}`
  })
  return `ARRAY[${elements.join(', ')}]`
}

/** Splits at a separator that stands outside of brackets and quotes. */
function splitTop(text: string, separator: string): string[] {
  const parts: string[] = []
  let start = 0
  for (let at = 0; at < text.length; ) {
    if (text.startsWith(separator, at)) {
      parts.push(text.slice(start, at))
      at += separator.length
      start = at
    } else {
      at = text[at] === '(' || text[at] === '[' ? endOfBrackets(text, at) : endOfToken(text, at)
    }
  }
  return [...parts, text.slice(start)]
}

/** The place after the bracket that closes the one at `at`; the end of the text if none does. */
function endOfBrackets(text: string, at: number): number {
  let depth = 0
  for (let place = at; place < text.length; ) {
    const character = text[place]
    if (character === '(' || character === '[') depth += 1
    if (character === ')' || character === ']') depth -= 1
    place = endOfToken(text, place)
    if (depth === 0) return place
  }
  return text.length
}

/** The place after a literal, a quoted name or a word as a whole, or after one other character. */
function endOfToken(text: string, at: number): number {
  token.lastIndex = at
  return token.test(text) ? token.lastIndex : at + 1
}

const token =
  /'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<dollar>\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$)[\s\S]*?\k<dollar>|[\p{L}_][\p{L}\p{N}_$]*/uy
