import { type Draft, setAt, setOrigin } from './draft.ts'
import { type Fault, nearestName } from './faults.ts'
import {
  childOf,
  everyKey,
  type KeyNode,
  mayBeOne,
  nodeAt,
  type Path,
  root,
  shortPath,
  upperSnake,
  variableOf,
  variablePrefix,
} from './keys.ts'

/** Puts the `PGPROOF_…` variables over what the draft holds. An empty variable counts as unset. */
export function applyEnvironment(draft: Draft, env: NodeJS.ProcessEnv): { faults: Fault[]; warnings: Fault[] } {
  const faults: Fault[] = []
  const warnings: Fault[] = []
  const seen = new Map<string, string>()
  for (const { variable, path, text } of variablesOf(env)) {
    const node = path && nodeAt(path)
    if (path === undefined || node?.form !== 'value') {
      if (!isKubernetes(variable, text)) faults.push(unknownVariable(variable, path))
      continue
    }
    if (text === '') {
      warnings.push(variableFault(variable, path, 'is empty and counts as not set'))
      continue
    }
    const other = seen.get(JSON.stringify(path))
    if (other !== undefined) faults.push(variableFault(variable, path, `is set by ${other} as well`))
    seen.set(JSON.stringify(path), variable)
    const reason = setAt(draft, path, node.kind.fromText(text))
    if (reason !== undefined) faults.push(variableFault(variable, path, reason))
    else setOrigin(draft, path, { from: 'environment', variable })
  }
  return { faults, warnings }
}

/** Names without this prefix that mean a key all the same. */
const plainNames: Readonly<Record<string, Path>> = { LOG_LEVEL: ['log', 'level'], LOG_FORMAT: ['log', 'format'] }

const notKeys = /^PGPROOF_(CONFIG$|TOKEN$|URL$|TEST_)/

type Given = { readonly variable: string; readonly path: Path | undefined; readonly text: string }

/** In the order of what they name, so that the first element of a list comes before the second however it is written. */
function variablesOf(env: NodeJS.ProcessEnv): Given[] {
  const named = ({ path, variable }: Given): string => (path === undefined ? variable : variableOf(path))
  // Made for more than one: its first use costs a command a tenth of its start.
  let order: Intl.Collator | undefined
  const compare = (one: string, other: string): number => {
    order ??= new Intl.Collator('en', { numeric: true })
    return order.compare(one, other)
  }
  return Object.entries(env)
    .filter(([variable]) => {
      const plain = plainNames[variable]
      if (plain !== undefined) return (env[variableOf(plain)] ?? '') === '' && env[variable] !== ''
      return variable.startsWith(variablePrefix) && !notKeys.test(variable)
    })
    .map(([variable, text]) => ({ variable, path: pathOf(variable), text: withoutLastBreak(text ?? '') }))
    .toSorted((a, b) => compare(named(a), named(b)) || compare(a.variable, b.variable))
}

/** As of a file with a secret: what a secret of Kubernetes holds was mostly written by an editor or `echo`. */
function withoutLastBreak(text: string): string {
  return text.replace(/\r?\n$/, '')
}

/** The path that a variable names, whether of a value or of a section; undefined if there is none. */
function pathOf(variable: string): Path | undefined {
  if (Object.hasOwn(plainNames, variable)) return plainNames[variable]
  const path: (string | number)[] = []
  let node: KeyNode | undefined = root
  for (const part of variable.slice(variablePrefix.length).split('__')) {
    const isOnlyElement: boolean = mayBeOne(node) && !/^\d+$/.test(part)
    const holder: KeyNode | undefined = isOnlyElement ? childOf(node, 0) : node
    const step = stepOf(holder, part)
    node = step === undefined ? undefined : childOf(holder, step)
    if (step === undefined || node === undefined) return undefined
    path.push(...(isOnlyElement ? [0] : []), step)
  }
  if (node.form === 'section' && node.shorthand !== undefined) path.push(node.shorthand)
  return path
}

function stepOf(node: KeyNode | undefined, part: string): string | number | undefined {
  if (node?.form === 'list') return /^(0|[1-9]\d{0,5})$/.test(part) ? Number(part) : undefined
  if (node?.form === 'section') return [...node.keys.keys()].find((key) => upperSnake(key) === part)
  return undefined
}

function variableFault(variable: string, path: Path | undefined, text: string, hint?: string): Fault {
  return { place: { text: variable, position: undefined }, path, text, hint }
}

function unknownVariable(variable: string, path: Path | undefined): Fault {
  if (path !== undefined) {
    const example = everyVariable().find((name) => name.startsWith(`${variable}__`))
    const hint = example === undefined ? undefined : `set its keys, such as ${example}`
    return variableFault(variable, undefined, 'this is a section, not a value', hint)
  }
  const indexes = [...variable.matchAll(/(?<=__)\d+(?=__|$)/g)].map(([index]) => index)
  const nearest = nearestName(variable.replaceAll(/(?<=__)\d+(?=__|$)/g, '0'), everyVariable())
  const meant = nearest?.replaceAll(/(?<=__)0(?=__)/g, () => indexes.shift() ?? '0')
  return variableFault(
    variable,
    undefined,
    'no key has this variable',
    meant === undefined ? 'docs/configuration.md lists every variable' : `did you mean ${meant}?`,
  )
}

/** The names of all values, with 0 for the index in a list; those without the list first where one may be left out. */
function everyVariable(): string[] {
  const paths = [...everyKey()].filter(({ node }) => node.form === 'value').map(({ path }) => path)
  return [...new Set(paths.flatMap((path) => [variableOf(shortPath(path)), variableOf(path)]))]
}

/** What Kubernetes puts into every container of the namespace for a Service whose name starts with `pgproof`. */
function isKubernetes(variable: string, text: string): boolean {
  if (variable.includes('__')) return false
  if (/_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(variable)) return true
  return variable.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(text)
}
