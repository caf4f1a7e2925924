import { type Draft, elementsOf, keyText, valueAt } from './draft.ts'
import { type Fault, faultAt, quoted } from './faults.ts'
import type { Path } from './keys.ts'
import { hookUrl } from './kinds.ts'

const targets = ['webhook', 'webhookFile', 'ping', 'pingFile', 'email'] as const

/** Which keys go with which target; the others mean nothing there. */
const companions: Record<string, readonly string[]> = {
  webhook: ['format', 'tokenFile', 'on'],
  webhookFile: ['format', 'tokenFile', 'on'],
  ping: [],
  pingFile: [],
  email: ['from', 'smtp', 'smtpPasswordFile', 'on'],
}
const ownKeys = ['format', 'tokenFile', 'from', 'smtp', 'smtpPasswordFile', 'on']

/** What is wrong with the entries of `notify`. */
export function notifyFaults(draft: Draft): Fault[] {
  return elementsOf(draft, ['notify']).flatMap((path) => [...entryFaults(draft, path), ...unknownServers(draft, path)])
}

/** A URL in a file must be one, too. What stands there is a secret and is not quoted. */
export function notifyFileFaults(draft: Draft, secrets: ReadonlyMap<string, string>): Fault[] {
  const { schema, expects } = hookUrl()
  return elementsOf(draft, ['notify'])
    .flatMap((path) => ['webhookFile', 'pingFile'].map((key) => [...path, key]))
    .filter((path) => secrets.has(JSON.stringify(path)) && !schema.safeParse(secrets.get(JSON.stringify(path))).success)
    .map((path) => faultAt(draft, path, `the file does not hold ${expects}`))
}

/** A test through nothing would reassure for nothing. */
export function notifyTestFaults(draft: Draft): Fault[] {
  if (valueAt(draft, ['daemon', 'notifyTest']) === undefined || elementsOf(draft, ['notify']).length > 0) return []
  return [faultAt(draft, ['daemon', 'notifyTest'], 'has nobody to tell', 'set notify, or remove it')]
}

function entryFaults(draft: Draft, path: Path): Fault[] {
  const has = (key: string): boolean => valueAt(draft, [...path, key]) !== undefined
  const given = targets.filter(has)
  const [target, second] = given
  if (target === undefined)
    return [faultAt(draft, path, 'tells nobody', 'set one of webhook, webhookFile, ping, pingFile and email')]
  if (second !== undefined)
    return [faultAt(draft, [...path, second], `is given beside ${target}`, 'write an entry for each')]
  const faults = ownKeys
    .filter((key) => has(key) && !companions[target]?.includes(key))
    .map((key) => faultAt(draft, [...path, key], `has no meaning with ${target}`, 'remove it'))
  if (target !== 'email') return faults
  for (const key of ['from', 'smtp'])
    if (!has(key)) faults.push(faultAt(draft, [...path, 'email'], `needs ${keyText(draft, [...path, key])}`))
  return [...faults, ...smtpUserFaults(draft, path, has('smtpPasswordFile'))]
}

/** A user without a password, or the other way round, would not be let in. */
function smtpUserFaults(draft: Draft, path: Path, hasPassword: boolean): Fault[] {
  const smtp = valueAt(draft, [...path, 'smtp'])
  if (typeof smtp !== 'string' || !URL.canParse(smtp)) return []
  const { username, password } = new URL(smtp)
  // Of a password in the URL it is said that it belongs in a file.
  if (password !== '') return []
  const hasUser = username !== ''
  if (hasPassword && !hasUser)
    return [faultAt(draft, [...path, 'smtpPasswordFile'], 'is for a user, and smtp names none')]
  if (hasUser && !hasPassword)
    return [
      faultAt(
        draft,
        [...path, 'smtp'],
        `names a user, and ${keyText(draft, [...path, 'smtpPasswordFile'])} is not set`,
      ),
    ]
  return []
}

function unknownServers(draft: Draft, path: Path): Fault[] {
  const named = valueAt(draft, [...path, 'server'])
  if (!Array.isArray(named)) return []
  const known = new Set(elementsOf(draft, ['servers']).map((server) => valueAt(draft, [...server, 'name'])))
  return [...named.entries()]
    .filter(([, name]) => typeof name === 'string' && !known.has(name))
    .map(([index, name]) => faultAt(draft, [...path, 'server', index], `no server is named ${quoted(name)}`))
}
