import type { Evidence } from '../domain/evidence.ts'
import type { StructureObject } from '../domain/structure.ts'

/** What the table of contents of an archive has, against what the evidence says was dumped. */
export type ContentsComparison = {
  /** Entries with the data of a table. */
  readonly tables: number
  /** Objects of the evidence's structure that were looked for. */
  readonly objects: number
  /** In words, naming objects; none if everything is there. */
  readonly differences: readonly string[]
}

/** Entries that refresh a materialized view: the last of a restore, and the only ones that run queries of the users. */
export function isRefresh(line: string): boolean {
  return /^\d+; 0 \d+ MATERIALIZED VIEW DATA /.test(line)
}

/** An event trigger, or the comment or security label of one. */
export function isOfEventTrigger(line: string): boolean {
  return /^\d+; (?:3466 \d+ |0 0 (?:COMMENT|SECURITY LABEL) - EVENT TRIGGER )/.test(line)
}

/** What is restored after the rows, each entry in one part, and each part in the order of the archive. */
export type PostData = {
  /** What reads rows to build an index: indexes, primary keys, unique and exclusion constraints. Jobs may share it. */
  readonly builds: readonly string[]
  /** An index becomes part of the index of a partitioned table: a matter of catalogs and locks, for one job. */
  readonly attaches: readonly string[]
  /** They read rows, and a partitioned table's index serves them only when each of its parts is attached. */
  readonly foreignKeys: readonly string[]
  /** Catalogs only, for one job: triggers, rules, policies, comments, grants and whatever else pg_dump may write. */
  readonly rest: readonly string[]
}

/**
 * Divides the section post-data so that parallel jobs do in each part only what they cannot lock each other out over.
 * A part needs nothing of a later one. Functions and materialized views are in this section if they depend on a primary
 * key; they come with the builds, as indexes may need them.
 */
export function splitPostData(lines: readonly string[]): PostData {
  const parts = { builds: [] as string[], attaches: [] as string[], foreignKeys: [] as string[], rest: [] as string[] }
  for (const line of lines) parts[partOf(line)].push(line)
  return parts
}

/** By the class as well as the words: `INDEX ATTACH x` may also be the index `x` of a schema `ATTACH`. */
function partOf(line: string): keyof PostData {
  if (/^\d+; 0 0 INDEX ATTACH /.test(line)) return 'attaches'
  if (/^\d+; 2606 \d+ FK CONSTRAINT /.test(line)) return 'foreignKeys'
  const isBuild =
    /^\d+; (?:1259 \d+ (?:INDEX|VIEW|MATERIALIZED VIEW)|2606 \d+ CONSTRAINT|1255 \d+ (?:FUNCTION|PROCEDURE)) /.test(
      line,
    )
  return isBuild ? 'builds' : 'rest'
}

/**
 * The entries that refresh, apart from those that would, or might, read another server: a drill must not ask it for
 * anything. What a function does nobody knows, so where the database has the means to reach out, only those are
 * refreshed that call none; both facets hold for whatever is made of such a view, too.
 */
export function splitRefreshes(
  lines: readonly string[],
  { structure, properties, omissions }: Pick<Evidence, 'structure' | 'properties' | 'omissions'>,
): { readonly refreshes: readonly string[]; readonly leftOut: readonly LeftOut[] } {
  const objects = [...structure, ...omissions.flatMap(changedObject)]
  const reachesOut = objects.some(({ kind, name }) => isWayOut(kind, name))
  const normalize = normalizer(properties.encoding)
  const refreshes = lines.filter(isRefresh)
  const left = new Set(refreshes)
  const leftOut = objects.flatMap(({ kind, name, facets }) => {
    if (kind !== 'materialized view') return []
    const why = reasonAgainst(facets, reachesOut)
    if (why === null) return []
    const beginning = normalize(`MATERIALIZED VIEW DATA ${identifiersOf(name).join(' ')} `)
    const line = refreshes.find(
      (one) =>
        left.has(one) &&
        normalize(one)
          .replace(/^\d+; 0 \d+ /, '')
          .startsWith(beginning),
    )
    if (line === undefined) return []
    left.delete(line)
    return [{ name, why }]
  })
  return { refreshes: [...left], leftOut }
}

type LeftOut = { readonly name: string; readonly why: string }

/** Whether the archive creates an extension of that name. */
export function holdsExtension(lines: readonly string[], name: string): boolean {
  return lines.some((line) => /^\d+; 3079 /.test(line) && line.includes(` EXTENSION - ${name} `))
}

/**
 * Compares the lines of `pg_restore --list` with the evidence. The data of every table must be there, and of no other
 * table; of definitions those are looked for that have one entry each.
 *
 * A line is `dump id; class oid KIND schema name owner`, and nothing marks where schema, name and owner begin. So
 * nothing is taken apart: each expected entry is a beginning, and each line may serve as one entry only.
 */
export function compareContents(lines: readonly string[], evidence: Evidence): ContentsComparison {
  const normalize = normalizer(evidence.properties.encoding)
  const archive = groupByClass(lines, normalize)
  const tables = evidence.tables.map(({ schema, name }) => `TABLE DATA ${schema} ${name} `)
  const data = match(archive.get(noClass) ?? [], tables, normalize)
  const surplus = data.left.filter((text) => text.startsWith('TABLE DATA '))
  const sequences = evidence.sequences.map(({ schema, name }) => `SEQUENCE SET ${schema} ${name} `)
  const states = match(data.left, sequences, normalize)

  const expected = expectedEntries(evidence)
  const missing = [...expected].flatMap(
    ([classId, beginnings]) => match(archive.get(classId) ?? [], beginnings, normalize).missing,
  )
  return {
    tables: tables.length - data.missing.length,
    objects: [...expected.values()].reduce((sum, beginnings) => sum + beginnings.length, 0),
    differences: [
      ...[...data.missing, ...states.missing, ...missing].map((text) => `not in the archive: ${text.trimEnd()}`),
      ...surplus.map((text) => `not in the evidence: ${text.trimEnd()}`),
    ],
  }
}

/**
 * The line of each entry that begins so (`TABLE DATA public users `), where there is one. All entries of a kind must be
 * asked for together: a line goes to the longest beginning that fits it.
 */
export function findEntries(
  lines: readonly string[],
  beginnings: readonly string[],
  encoding: string,
): ReadonlyMap<string, string> {
  const normalize = normalizer(encoding)
  const lineOf = new Map(lines.map((line) => [normalize(line.replace(/^\d+; \d+ \d+ /, '')), line]))
  const { found } = match([...lineOf.keys()], beginnings, normalize)
  return new Map(
    beginnings.flatMap((beginning) => {
      const line = lineOf.get(found.get(normalize(beginning)) ?? '')
      return line === undefined ? [] : [[beginning, line] as const]
    }),
  )
}

/** Extensions that reach other servers, besides whatever is called a foreign data wrapper. */
const outgoing = /^(?:dblink|multicorn2?|http|pg_net|plproxy|aws_s3|aws_lambda|.*_fdw)$/

/** What changed while the dump ran is not in the structure, and nobody knows which of its forms is in the dump. */
function changedObject({ kind, object }: Evidence['omissions'][number]): StructureObject[] {
  if (kind !== 'changed during the dump') return []
  const found = /^(materialized view|foreign server|foreign data wrapper|extension) (.*)$/s.exec(object)
  const [, changed, name] = found ?? []
  if (changed === undefined || name === undefined) return []
  return [{ kind: changed, name, facets: { 'calls functions': 'perhaps' } }]
}

function isWayOut(kind: string, name: string): boolean {
  if (kind === 'extension') return outgoing.test(identifiersOf(name)[0] ?? '')
  return kind === 'foreign server' || kind === 'foreign data wrapper'
}

function reasonAgainst(facets: Readonly<Record<string, string>>, reachesOut: boolean): string | null {
  if (facets['reads foreign data'] !== undefined) return 'it reads foreign tables'
  const calls = facets['calls functions']
  if (!reachesOut || calls === undefined) return null
  return `it ${calls === 'perhaps' ? 'changed during the dump' : 'calls functions'}, and this database reaches other servers`
}

/** The class is the OID of the catalog that an object is in; entries that are no object of their own have none. */
const noClass = 0
const classes = { relation: 1259, function: 1255, schema: 2615, extension: 3079, eventTrigger: 3466, publication: 6104 }

/** Kinds of `evidence.structure` of which an object is exactly one entry, and how that entry begins. */
const kinds: Readonly<Record<string, { readonly classId: number; readonly words: string }>> = {
  table: { classId: classes.relation, words: 'TABLE' },
  'foreign table': { classId: classes.relation, words: 'FOREIGN TABLE' },
  view: { classId: classes.relation, words: 'VIEW' },
  'materialized view': { classId: classes.relation, words: 'MATERIALIZED VIEW' },
  sequence: { classId: classes.relation, words: 'SEQUENCE' },
  index: { classId: classes.relation, words: 'INDEX' },
  function: { classId: classes.function, words: 'FUNCTION' },
  procedure: { classId: classes.function, words: 'PROCEDURE' },
  'window function': { classId: classes.function, words: 'FUNCTION' },
  aggregate: { classId: classes.function, words: 'AGGREGATE' },
  schema: { classId: classes.schema, words: 'SCHEMA -' },
  extension: { classId: classes.extension, words: 'EXTENSION -' },
  'event trigger': { classId: classes.eventTrigger, words: 'EVENT TRIGGER -' },
  publication: { classId: classes.publication, words: 'PUBLICATION -' },
}

/** Every database has them; pg_dump writes them only where they were changed. */
const alwaysThere = new Set(['schema public', 'extension plpgsql'])

function expectedEntries({ structure }: Evidence): Map<number, string[]> {
  const constraints = new Set(
    structure
      .filter(({ kind }) => kind.includes('constraint'))
      .map(({ name }) => JSON.stringify([identifiersOf(name)[0], identifiersOf(name).at(-1)])),
  )
  const expected = new Map<number, string[]>()
  for (const { kind, name } of structure) {
    const entry = kinds[kind]
    if (entry === undefined || alwaysThere.has(`${kind} ${name}`)) continue
    const identifiers = identifiersOf(name)
    // The index of a constraint is made by the constraint.
    if (kind === 'index' && constraints.has(JSON.stringify(identifiers))) continue
    const beginning = [entry.words, ...identifiers].join(' ') + (entry.classId === classes.function ? '(' : ' ')
    const beginnings = expected.get(entry.classId)
    if (beginnings === undefined) expected.set(entry.classId, [beginning])
    else beginnings.push(beginning)
  }
  return expected
}

/** `public."My ""Table"""` → `public`, `My "Table"`; of a function without its arguments. */
function identifiersOf(name: string): string[] {
  const identifiers: string[] = []
  const pattern = /"((?:[^"]|"")*)"|([^".(]+)/y
  for (let found = pattern.exec(name); found !== null; found = pattern.exec(name)) {
    identifiers.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '')
    if (name[pattern.lastIndex] !== '.') break
    pattern.lastIndex += 1
  }
  return identifiers
}

function groupByClass(lines: readonly string[], normalize: (text: string) => string): Map<number, string[]> {
  const groups = new Map<number, string[]>()
  for (const line of lines) {
    // A line of another form, as a newer pg_restore may have, is no entry that is looked for.
    const [, classId = noClass, text = ''] = /^\d+; (\d+) \d+ (.*)$/s.exec(line) ?? []
    const group = groups.get(Number(classId))
    if (group === undefined) groups.set(Number(classId), [normalize(text)])
    else group.push(normalize(text))
  }
  return groups
}

/**
 * The longest beginning chooses first: a line that fits it also fits the shorter ones, but not the other way round. Of
 * several lines it takes the shortest, so that the one that is left over is most likely the one that is too many.
 */
function match(
  texts: readonly string[],
  beginnings: readonly string[],
  normalize: (text: string) => string,
): {
  readonly missing: readonly string[]
  readonly left: readonly string[]
  readonly found: ReadonlyMap<string, string>
} {
  const sorted = [...texts].sort(byCodeUnit)
  const lengthAt = (at: number): number => sorted[at]?.length ?? 0
  const taken = new Set<number>()
  const missing: string[] = []
  const found = new Map<string, string>()
  for (const wanted of beginnings.map(normalize).sort((one, other) => other.length - one.length)) {
    let best: number | undefined
    for (let at = lowerBound(sorted, wanted); sorted[at]?.startsWith(wanted) === true; at += 1)
      if (!taken.has(at) && (best === undefined || lengthAt(at) < lengthAt(best))) best = at
    if (best === undefined) missing.push(wanted)
    else {
      taken.add(best)
      found.set(wanted, sorted[best] ?? '')
    }
  }
  return { missing, left: sorted.filter((_, index) => !taken.has(index)), found }
}

function lowerBound(sorted: readonly string[], wanted: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? '') < wanted) low = middle + 1
    else high = middle
  }
  return low
}

function byCodeUnit(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}

/**
 * pg_restore prints line breaks as spaces. And it prints names in the encoding of the database, whatever that is: of
 * any other than UTF-8 only the ASCII characters are compared, which are the same in every encoding of a server.
 */
function normalizer(encoding: string): (text: string) => string {
  return (text) => {
    const line = text.replaceAll(/[\n\r]/g, ' ')
    return encoding === 'UTF8' ? line : line.replaceAll(/[\u0080-\u{10ffff}]+/gu, '\u{fffd}')
  }
}
