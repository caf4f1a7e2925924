/** ICU's own names of keywords, in lower case, and what a language tag calls them; others have the same name in both. */
const keywords: ReadonlyMap<string, string> = new Map([
  ['collation', 'co'],
  ['colstrength', 'ks'],
  ['colalternate', 'ka'],
  ['colbackwards', 'kb'],
  ['colcaselevel', 'kc'],
  ['colcasefirst', 'kf'],
  ['colhiraganaquaternary', 'kh'],
  ['colnormalization', 'kk'],
  ['colnumeric', 'kn'],
  ['colreorder', 'kr'],
  ['calendar', 'ca'],
  ['currency', 'cu'],
  ['numbers', 'nu'],
  ['timezone', 'tz'],
])

/** The same for values; those of `yes` or `true` are left out of a tag. */
const values: ReadonlyMap<string, string> = new Map([
  ['phonebook', 'phonebk'],
  ['dictionary', 'dict'],
  ['traditional', 'trad'],
  ['gb2312han', 'gb2312'],
  ['primary', 'level1'],
  ['secondary', 'level2'],
  ['tertiary', 'level3'],
  ['quaternary', 'level4'],
  ['identical', 'identic'],
  ['non-ignorable', 'noignore'],
  ['gregorian', 'gregory'],
  ['no', 'false'],
])

/**
 * Whether `tag` is the language tag of the locale that ICU also calls `name`: `de-DE-u-co-phonebk` of
 * `de_DE@collation=phonebook`, `und-u-kn-ks-level1` of `und-u-ks-level1-kn-true`. Every keyword counts. A name that
 * cannot be written as a tag has none: PostgreSQL then leaves it as it is.
 */
export function isLanguageTagOf(tag: string, name: string): boolean {
  const canonical = canonicalTag(tag)
  return canonical !== null && canonical === canonicalTag(asTag(name))
}

/** Keywords in order, letters in their usual case, `-true` left out; null for what is no tag. */
function canonicalTag(tag: string): string | null {
  try {
    return Intl.getCanonicalLocales(tag)[0] ?? null
  } catch {
    // Intl throws RangeError at what is not well-formed.
    return null
  }
}

function asTag(name: string): string {
  const at = name.indexOf('@')
  const [place = ''] = (at < 0 ? name : name.slice(0, at)).split('.')
  const subtags = place.replaceAll('_', '-').replace(/^root(?=-|$)/i, 'und')
  const tag = /^(?:-|$)/.test(subtags) ? `und${subtags}` : subtags
  const pairs = at < 0 ? [] : name.slice(at + 1).split(';')
  const extension = pairs
    .filter((pair) => pair.trim() !== '')
    .map((pair) => {
      const [key = '', value = ''] = pair.split('=').map((part) => part.trim().toLowerCase())
      return `-${keywords.get(key) ?? key}-${values.get(value) ?? value}`
    })
  return tag + (extension.length === 0 ? '' : `-u${extension.join('')}`)
}
