import { readdirSync, readFileSync } from 'node:fs'
import type { Profiler } from 'node:inspector'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { convert } from 'ast-v8-to-istanbul'
import { parseAstAsync } from 'vitest/node'

/** What of one file ran: its lines with a statement, its functions, and every way that a branch can go. */
export type FileCounts = {
  /** Relative to `src/`. */
  readonly path: string
  /** Line → did a statement that begins on it run? */
  readonly lines: ReadonlyMap<number, boolean>
  readonly functions: readonly Place[]
  readonly branches: readonly Place[]
}

export type Place = { readonly line: number; readonly column: number; readonly kind: string; readonly hasRun: boolean }

/**
 * Adds up what V8 wrote into `folders` (NODE_V8_COVERAGE): one document for each process that ended by itself. Node strips
 * types by blanks, so every process counted the very same characters, and their counts add up.
 */
export async function whatRan(source: string, folders: readonly string[]): Promise<FileCounts[]> {
  const paths = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))
  const texts = new Map(paths.map((path) => [path, readFileSync(join(source, path), 'utf8')]))
  const ran = new Map([...texts].map(([path, text]) => [path, new Float64Array(text.length)]))
  const prefix = `${pathToFileURL(source).href}/`
  for (const folder of folders)
    for (const name of readdirSync(folder)) {
      if (!name.startsWith('coverage-')) continue
      for (const script of documentOf(join(folder, name))) {
        const characters = script.url.startsWith(prefix) && ran.get(script.url.slice(prefix.length))
        if (characters) addTo(characters, script)
      }
    }
  return await Promise.all(
    [...ran].toSorted().map(([path, characters]) => countsOf(path, texts.get(path) ?? '', characters)),
  )
}

/** A process that is killed while it writes leaves half a document, which says nothing. */
function documentOf(file: string): readonly Profiler.ScriptCoverage[] {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { result: Profiler.ScriptCoverage[] }).result
  } catch (fault) {
    if (fault instanceof SyntaxError) return []
    throw fault
  }
}

/** Ranges lie within one another, and the innermost one decides. */
function addTo(characters: Float64Array, script: Profiler.ScriptCoverage): void {
  const once = new Float64Array(characters.length)
  const ranges = script.functions.flatMap((each) => each.ranges)
  for (const range of ranges.toSorted((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset))
    once.fill(range.count, range.startOffset, range.endOffset)
  for (const [index, count] of once.entries()) characters[index] = (characters[index] ?? 0) + count
}

/** The arms of each branch as Istanbul finds them: what had no `else` went past the `if` as often as not into it. */
async function countsOf(path: string, text: string, characters: Float64Array): Promise<FileCounts> {
  const code = stripTypeScriptTypes(text)
  const ranges = [{ startOffset: 0, endOffset: text.length, count: characters[0] ?? 0 }]
  for (let start = 0; start < text.length; ) {
    const count = characters[start] ?? 0
    let end = start + 1
    while (end < text.length && characters[end] === count) end += 1
    ranges.push({ startOffset: start, endOffset: end, count })
    start = end
  }
  const functions = [{ functionName: '', isBlockCoverage: true, ranges }]
  const file = `/${path}`
  const [data] = Object.values(
    await convert({ code, ast: parseAstAsync(code), coverage: { url: `file://${file}`, functions } }),
  )
  if (data === undefined) throw new Error(`nothing counted in ${path}`)
  const lines = new Map<number, boolean>()
  for (const [id, place] of Object.entries(data.statementMap))
    lines.set(place.start.line, (data.s[id] ?? 0) > 0 && (lines.get(place.start.line) ?? true))
  return {
    path,
    lines,
    functions: Object.entries(data.fnMap).map(([id, { decl }]) => ({
      ...decl.start,
      kind: 'function',
      hasRun: (data.f[id] ?? 0) > 0,
    })),
    branches: Object.entries(data.branchMap).flatMap(([id, { type, loc, locations }]) =>
      locations.map((arm, index) => ({
        line: arm.start.line ?? loc.start.line,
        column: arm.start.column ?? loc.start.column,
        kind: type,
        hasRun: (data.b[id]?.[index] ?? 0) > 0,
      })),
    ),
  }
}
