import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Draft, elementsOf, isTree, keyText, originOf, valueAt } from './draft.ts'
import { type Fault, faultAt, givenTwice, quoted } from './faults.ts'
import type { Path } from './keys.ts'
import { defaultStoreName } from './store-keys.ts'

/** What is wrong with the stores, each by itself and beside the others. */
export function storesFaults(draft: Draft): Fault[] {
  const stores = elementsOf(draft, ['store'])
  return [
    ...stores.flatMap((path) => storeFaults(draft, path)),
    ...sameNames(draft, stores),
    ...sameAddresses(draft, stores),
    ...noneRequired(draft, stores),
  ]
}

const onlyBuckets = [
  ...['endpoint', 'region', 'provider', 'accessKeyId', 'secretAccessKey', 'secretAccessKeyFile'],
  ...['sessionToken', 'sessionTokenFile', 'caFile', 'objectLock', 'reader', 'pruner'],
  ...['serverSideEncryption', 'kmsKeyId', 'storageClass', 'tags', 'versions'],
]

function storeFaults(draft: Draft, path: Path): Fault[] {
  const at = (key: string, text: string, hint?: string): Fault => faultAt(draft, [...path, key], text, hint)
  const value = (key: string): unknown => valueAt(draft, [...path, key])
  const has = (key: string): boolean => value(key) !== undefined
  const url = value('url')
  if (typeof url === 'string' && url.startsWith('file:')) {
    const faults = onlyBuckets.filter(has).map((key) => at(key, 'has no meaning with a file:// store', 'remove it'))
    if (value('appendOnly') === true)
      faults.push(
        at('appendOnly', 'cannot be with a file:// store: who may write there may remove as well', 'remove it'),
      )
    return [...givenTwices(draft, path), ...faults]
  }
  const others = ['reader', 'pruner'].filter(has)
  const faults = [path, ...others.map((key) => [...path, key])].flatMap((section) => credentialFaults(draft, section))
  for (const key of others) {
    const section = value(key)
    // Who writes the section wants other credentials than the rest of the store has, and not the credential chain.
    if (isTree(section) && Object.keys(section).length === 0)
      faults.push(at(key, 'names no credentials', 'set its accessKeyId and secretAccessKeyFile, or remove it'))
  }
  const provider = value('provider')
  if (typeof provider === 'string' && provider !== 'aws' && !has('endpoint'))
    faults.push(
      at(
        'provider',
        `${quoted(provider)} needs ${keyText(draft, [...path, 'endpoint'])}`,
        'without an endpoint the store is AWS',
      ),
    )
  if (has('kmsKeyId') && value('serverSideEncryption') !== 'aws:kms')
    faults.push(at('kmsKeyId', 'is used by aws:kms only', `set serverSideEncryption: aws:kms, or remove it`))
  return faults
}

function credentialFaults(draft: Draft, section: Path): Fault[] {
  const faults = givenTwices(draft, section)
  const has = (key: string): boolean => valueAt(draft, [...section, key]) !== undefined
  const secretKey = ['secretAccessKey', 'secretAccessKeyFile'].find(has)
  const tokenKey = ['sessionToken', 'sessionTokenFile'].find(has)
  const name = (key: string): string => keyText(draft, [...section, key])
  if (has('accessKeyId')) {
    if (secretKey !== undefined) return faults
    const hint = `set ${name('secretAccessKeyFile')}`
    return [...faults, faultAt(draft, [...section, 'accessKeyId'], 'is given without its secret', hint)]
  }
  const alone = [secretKey, tokenKey].filter((key) => key !== undefined)
  for (const key of alone) faults.push(faultAt(draft, [...section, key], `is given without ${name('accessKeyId')}`))
  return faults
}

function givenTwices(draft: Draft, section: Path): Fault[] {
  return ['secretAccessKey', 'sessionToken'].flatMap((key) => givenTwice(draft, section, key, `${key}File`))
}

function sameNames(draft: Draft, stores: readonly Path[]): Fault[] {
  const first = new Map<unknown, Path>()
  const faults: Fault[] = []
  for (const [index, path] of stores.entries()) {
    const given = valueAt(draft, [...path, 'name'])
    const name = given ?? defaultStoreName(index)
    const other = first.get(name)
    if (other === undefined) first.set(name, path)
    else {
      // A default has no place of its own, and only one of the two can be a default.
      const [named, unnamed] = given === undefined ? [other, path] : [path, other]
      const text = `${quoted(name)} is the name of ${keyText(draft, unnamed)} as well`
      faults.push(faultAt(draft, [...named, 'name'], text, 'give each store a name of its own'))
    }
  }
  return faults
}

/** The stores may not be quoted: an address may hold a misplaced secret. */
function sameAddresses(draft: Draft, stores: readonly Path[]): Fault[] {
  const hint = 'give each store a place of its own'
  const faults: Fault[] = []
  for (const [index, path] of stores.entries()) {
    const address = addressOf(draft, path)
    for (const other of address === undefined ? [] : stores.slice(0, index)) {
      const known = addressOf(draft, other)
      if (known === undefined) continue
      if (address === known)
        faults.push(faultAt(draft, [...path, 'url'], `is where ${keyText(draft, other)} is as well`, hint))
      else if (address?.startsWith(known))
        faults.push(faultAt(draft, [...path, 'url'], `lies within ${keyText(draft, other)}`, hint))
      else if (address !== undefined && known.startsWith(address))
        faults.push(faultAt(draft, [...other, 'url'], `lies within ${keyText(draft, path)}`, hint))
    }
  }
  return faults
}

/** Where a store is, in one spelling that ends in a slash: what is within it starts so, too. Undefined if it is wrong. */
function addressOf(draft: Draft, path: Path): string | undefined {
  const url = valueAt(draft, [...path, 'url'])
  const endpoint = valueAt(draft, [...path, 'endpoint']) ?? ''
  if (typeof url !== 'string' || !URL.canParse(url) || typeof endpoint !== 'string') return undefined
  if (url.startsWith('file://')) {
    // With an escaped slash it is the path of no file.
    const isPath = !/%2f/i.test(url) && new URL(url).hostname === ''
    return isPath ? `file:${resolve(fileURLToPath(url))}/`.replace(/\/+$/, '/') : undefined
  }
  const server = URL.canParse(endpoint) ? new URL(endpoint).origin : endpoint
  return `${server} ${url.replace(/^s3:\/\//, '')}/`.replaceAll(/\/+/g, '/')
}

function noneRequired(draft: Draft, stores: readonly Path[]): Fault[] {
  const [first] = stores
  const isOptional = (path: Path): boolean => valueAt(draft, [...path, 'required']) === false
  if (first === undefined || !stores.every(isOptional)) return []
  // Nothing is written to a store that the command line names.
  if (originOf(draft, [...first, 'url'])?.from === 'flag') return []
  const text = 'no store is required, so that a backup would succeed without being anywhere'
  return [faultAt(draft, [...first, 'required'], text, 'remove it from one of the stores')]
}
