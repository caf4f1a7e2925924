/** A name in a schema, without quotes. */
export type QualifiedName = { readonly schema: string; readonly name: string }

/**
 * Takes names apart as SQL does: `public."My ""Table"""` → `public`, `My "Table"`. What is not quoted is folded to lower
 * case. Null for what is no list of names with dots between them.
 */
export function parseIdentifiers(text: string): readonly string[] | null {
  const identifiers: string[] = []
  const pattern = /"((?:[^"]|"")+)"|([^".\s]+)/y
  for (;;) {
    const found = pattern.exec(text)
    if (found === null) return null
    identifiers.push(found[1]?.replaceAll('""', '"') ?? foldCase(found[2] as string))
    if (pattern.lastIndex === text.length) return identifiers
    if (text[pattern.lastIndex] !== '.') return null
    pattern.lastIndex += 1
  }
}

/** The first two of them; null where there are none. */
export function parseQualifiedName(text: string): QualifiedName | null {
  const [schema, name] = parseIdentifiers(text) ?? []
  return name === undefined ? null : { schema: schema as string, name }
}

/** The same for the same name, however it was quoted. */
export function keyOf({ schema, name }: QualifiedName): string {
  return JSON.stringify([schema, name])
}

/** The schema of a qualified name, quoted as it is there. */
export function schemaOf(text: string): string {
  return /"(?:[^"]|"")*"|[^".]+/.exec(text)?.[0] ?? text
}

/** PostgreSQL folds what is ASCII, whatever the encoding. */
function foldCase(text: string): string {
  return text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
}
