import { type Alias, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml'
import { reasonOf } from '../errors.ts'
import { type Draft, emptyDraft, emptyTree, type Position, setOrigin, type Tree } from './draft.ts'
import type { Fault } from './faults.ts'
import { childOf, type KeyNode, mayBeOne, type Path, root } from './keys.ts'

export type ReadYaml = {
  readonly draft: Draft
  readonly faults: Fault[]
  /** False after syntax errors: then nothing more can be said about the values. */
  readonly isReadable: boolean
}

/** Reads the text of a configuration file; `${NAME}` in string values comes from `env`. Never throws. */
export function readYaml(text: string, file: string, env: NodeJS.ProcessEnv): ReadYaml {
  const lines = new LineCounter()
  const positionAt = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const draft = emptyDraft(file)
  const faults: Fault[] = []
  try {
    // The core schema and no other tags: nothing in a file can become a date, a set or bytes.
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      schema: 'core',
      resolveKnownTags: false,
    })
    for (const { code, pos } of [...document.errors, ...document.warnings])
      faults.push(syntaxFault(file, positionAt(pos[0]), ...(syntax[code] ?? ['not well-formed YAML'])))
    const isReadable = document.errors.every(({ code }) => code === 'DUPLICATE_KEY') && document.warnings.length === 0
    if (!isReadable) return { draft, faults, isReadable }

    const resolve = (alias: Alias): Node | undefined => alias.resolve(document)
    const reading: Reading = { draft, faults, env, positionAt, resolve, nodes: 0 }
    const value = document.contents === null ? null : readNode(reading, document.contents, root, [])
    if (value !== null && (typeof value !== 'object' || Array.isArray(value)))
      faults.push(syntaxFault(file, start, 'expected keys and values', 'see config/pgproof.example.yaml'))
    else if (value !== null) draft.value = value as Tree
    return { draft, faults, isReadable: true }
  } catch (error) {
    faults.push(
      syntaxFault(file, start, error instanceof TooLarge ? error.message : `cannot be read: ${reasonOf(error)}`),
    )
    return { draft, faults, isReadable: false }
  }
}

type Reading = {
  readonly draft: Draft
  readonly faults: Fault[]
  readonly env: NodeJS.ProcessEnv
  readonly positionAt: (offset: number) => Position
  readonly resolve: (alias: Alias) => Node | undefined
  nodes: number
}

class TooLarge extends Error {}

const start: Position = { line: 1, column: 1 }
/** Aliases can make a small file endless. */
const mostNodes = 20_000
const deepest = 30

const startsWithStar = 'quote a value that starts with *'
const unquotedColon = ['a value with ": " in it is not quoted, or the indentation is wrong', 'quote the value'] as const

/** Our own words, because those of the parser quote the file, and with it perhaps a secret. */
const syntax: Readonly<Record<string, readonly [text: string, hint?: string]>> = {
  DUPLICATE_KEY: ['this key stands twice in its section', 'remove one of the two'],
  TAB_AS_INDENT: ['a tab is used for indentation', 'indent with spaces'],
  BAD_INDENT: [
    'the indentation is wrong, or a bracket before is not closed',
    'keys of one section start in one column',
  ],
  UNEXPECTED_TOKEN: ['this does not belong here', 'quote a value that holds special characters'],
  TAG_RESOLVE_FAILED: ['a tag is not known', 'quote a value that starts with !'],
  BAD_SCALAR_START: ['a value starts with a reserved character', 'quote it'],
  MISSING_CHAR: ['a quote, bracket, comma or colon is missing here or just before'],
  MULTILINE_IMPLICIT_KEY: unquotedColon,
  BLOCK_AS_IMPLICIT_KEY: unquotedColon,
  BAD_DQ_ESCAPE: ['unknown escape in a double-quoted value', 'use single quotes, or write \\\\ for a backslash'],
  MULTIPLE_DOCS: ['the file holds more than one YAML document', 'remove the line ---'],
}

function syntaxFault(file: string, position: Position, text: string, hint?: string): Fault {
  return { place: { text: `${file}:${position.line}:${position.column}`, position }, path: undefined, text, hint }
}

function readNode(reading: Reading, given: Node, key: KeyNode | undefined, path: Path): unknown {
  reading.nodes += 1
  if (reading.nodes > mostNodes || path.length > deepest) throw new TooLarge('the file holds too much')
  const node = isAlias(given) ? reading.resolve(given) : given
  if (node === undefined) {
    const fault = syntaxFault(
      reading.draft.file ?? '',
      positionOf(reading, given),
      'an alias names no anchor',
      startsWithStar,
    )
    reading.faults.push({ ...fault, path })
  }
  if (mayBeOne(key) && !isSeq(node)) {
    // One element without its list stands where the list would.
    const onlyPath = [...path, 0]
    const origin = reading.draft.origins.get(JSON.stringify(path))
    if (origin !== undefined) setOrigin(reading.draft, onlyPath, origin)
    return [readNode(reading, given, key.element, onlyPath)]
  }
  if (isMap(node)) return readMap(reading, node.items as Pair<Node, Node | null>[], key, path)
  if (isSeq(node))
    return (node.items as Node[]).map((item, index) => {
      const itemPath = [...path, index]
      setOrigin(reading.draft, itemPath, { from: 'file', key: undefined, value: positionOf(reading, item) })
      return readNode(reading, item, childOf(key, index), itemPath)
    })
  const scalar = isScalar(node) ? node.value : null
  const value = typeof scalar === 'string' ? replaceVariables(reading, scalar, key, path) : scalar
  if (key?.form !== 'section' || key.shorthand === undefined || value === null) return value
  return Object.assign(emptyTree(), { [key.shorthand]: value })
}

function readMap(reading: Reading, pairs: Pair<Node, Node | null>[], key: KeyNode | undefined, path: Path): Tree {
  const { draft, faults } = reading
  const tree = emptyTree()
  for (const pair of pairs) {
    const keyPosition = positionOf(reading, pair.key)
    const keyNode = isAlias(pair.key) ? reading.resolve(pair.key) : pair.key
    if (!isScalar(keyNode) || keyNode.value === '__proto__') {
      faults.push(syntaxFault(draft.file ?? '', keyPosition, 'this cannot be a key'))
      continue
    }
    const name = String(keyNode.value)
    const childPath = [...path, name]
    const value = pair.value === null ? keyPosition : positionOf(reading, pair.value)
    setOrigin(draft, childPath, { from: 'file', key: keyPosition, value })
    tree[name] = pair.value === null ? null : readNode(reading, pair.value, childOf(key, name), childPath)
  }
  return tree
}

function positionOf(reading: Reading, node: Node): Position {
  return node.range ? reading.positionAt(node.range[0]) : start
}

const literal = `write $\${ for a literal \${`

/** A replaced text becomes what its key wants (a number, a list), as if it had come from the environment itself. */
function replaceVariables(reading: Reading, template: string, key: KeyNode | undefined, path: Path): unknown {
  if (!template.includes('${')) return template
  const { draft, faults, env } = reading
  const origin = draft.origins.get(JSON.stringify(path))
  if (origin?.from !== 'file') return template
  setOrigin(draft, path, { ...origin, template })
  const fault = (text: string, hint: string): number =>
    faults.push({ ...syntaxFault(draft.file ?? '', origin.value, text, hint), path })
  const replaced = template.replaceAll(/\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{/g, (match, name?: string) => {
    if (match === '$${') return '${'
    const value = name === undefined ? undefined : env[name]
    if (name === undefined) fault(`\${ must be followed by the name of a variable and }`, literal)
    else if (value === undefined) fault(`the environment variable ${name} is not set`, `set it; ${literal}`)
    return value ?? ''
  })
  return key?.form === 'value' ? key.kind.fromText(replaced) : replaced
}
