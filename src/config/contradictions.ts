import { type Draft, elementsOf, valueAt } from './draft.ts'
import { type Fault, faultAt, givenTwice, quoted } from './faults.ts'
import type { Path } from './keys.ts'
import { notifyFaults, notifyTestFaults } from './notify-contradictions.ts'
import { parseServerUrl, type ServerUrl } from './server-url.ts'
import { storesFaults } from './store-contradictions.ts'

/** Settings that are right alone and wrong together. Looks at the draft, so that other faults hide none of these. */
export function contradictions(draft: Draft, drillsNothing = false): { faults: Fault[]; warnings: Fault[] } {
  const has = (...path: Path): boolean => valueAt(draft, path) !== undefined
  const faults = [
    ...storesFaults(draft),
    ...encryptionFaults(draft, has),
    ...serversFaults(draft, drillsNothing),
    ...drillFaults(draft, has),
    ...httpFaults(draft, has),
    ...fleetFaults(draft, has),
    ...notifyFaults(draft),
    ...notifyTestFaults(draft),
  ]
  return { faults, warnings: [...signingWarnings(draft, has), ...listenWarnings(draft)] }
}

type Has = (...path: Path) => boolean

function encryptionFaults(draft: Draft, has: Has): Fault[] {
  const pairs = [
    ['passphraseFile', 'privateKeyFile'],
    ['signingPassphraseFile', 'signingKeyFile'],
  ] as const
  return pairs
    .filter(([passphrase, key]) => has('encryption', passphrase) && !has('encryption', key))
    .map(([passphrase, key]) => faultAt(draft, ['encryption', passphrase], `is given without encryption.${key}`))
}

function serversFaults(draft: Draft, drillsNothing: boolean): Fault[] {
  const faults = sameNames(draft, ['servers'])
  const hasPrivateKey = valueAt(draft, ['encryption', 'privateKeyFile']) !== undefined
  for (const path of elementsOf(draft, ['servers'])) {
    faults.push(...sameNames(draft, [...path, 'checks']))
    if (
      valueAt(draft, [...path, 'passwordFile']) !== undefined &&
      serverUrlAt(draft, [...path, 'url'])?.password !== undefined
    )
      faults.push(
        faultAt(draft, [...path, 'passwordFile'], 'the URL holds a password as well', 'remove it from the URL'),
      )
    const schedule = [...path, 'schedule', 'drill']
    if (valueAt(draft, schedule) !== undefined && !hasPrivateKey && mayDrill(draft, drillsNothing))
      faults.push(faultAt(draft, schedule, 'a drill needs encryption.privateKeyFile', drillHint(draft)))
    faults.push(...excludedAndListed(draft, path))
  }
  return faults
}

/**
 * A worker of a fleet that drills nothing needs no key for the schedule that all of them have, nor does a command that
 * only looks.
 */
function mayDrill(draft: Draft, drillsNothing: boolean): boolean {
  if (valueAt(draft, ['fleet']) === undefined) return true
  const may = valueAt(draft, ['fleet', 'may'])
  return !drillsNothing && (!Array.isArray(may) || may.includes('drill'))
}

function drillHint(draft: Draft): string {
  if (valueAt(draft, ['fleet']) === undefined) return 'set it, or run drills elsewhere'
  return 'set it, or leave drill out of `fleet.may` on this machine: PGPROOF_FLEET__MAY=backup,serve'
}

function fleetFaults(draft: Draft, has: Has): Fault[] {
  if (!has('fleet')) {
    return elementsOf(draft, ['servers'])
      .filter((server) => has(...server, 'label'))
      .map((server) => faultAt(draft, [...server, 'label'], 'has no meaning without fleet', 'remove it'))
  }
  const faults: Fault[] = []
  const control = serverUrlAt(draft, ['fleet', 'url'])
  if (control === undefined) return faults
  if (has('fleet', 'passwordFile') && control.password !== undefined)
    faults.push(faultAt(draft, ['fleet', 'passwordFile'], 'the URL holds a password as well', 'remove it from the URL'))
  const name = decodeURIComponent(new URL(control.url).pathname.slice(1)) || 'postgres'
  const source = elementsOf(draft, ['servers']).find((server) => {
    const databases = valueAt(draft, [...server, 'databases'])
    const excluded = valueAt(draft, [...server, 'exclude'])
    if (serverUrlAt(draft, [...server, 'url'])?.address !== control.address) return false
    if (Array.isArray(excluded) && excluded.includes(name)) return false
    return !Array.isArray(databases) || databases.includes(name)
  })
  if (source !== undefined && !has('fleet', 'schema'))
    faults.push(
      faultAt(
        draft,
        ['fleet', 'url'],
        `is a database that ${source.join('.')} protects`,
        'exclude it there, use another database, or say fleet.schema to have the queue in it nevertheless',
      ),
    )
  return faults
}

function excludedAndListed(draft: Draft, path: Path): Fault[] {
  const databases = valueAt(draft, [...path, 'databases'])
  const excluded = valueAt(draft, [...path, 'exclude'])
  if (!Array.isArray(databases) || !Array.isArray(excluded)) return []
  return [...excluded.entries()]
    .filter(([, name]) => databases.includes(name))
    .map(([index, name]) =>
      faultAt(draft, [...path, 'exclude', index], `${quoted(name)} is listed in databases as well`),
    )
}

function drillFaults(draft: Draft, has: Has): Fault[] {
  const path = ['drill', 'scratch']
  const scratch = serverUrlAt(draft, path)
  const isEmbedded = !has(...path) || valueAt(draft, path) === 'embedded'
  const faults: Fault[] = []
  if (has('drill', 'scratchPasswordFile') && isEmbedded)
    faults.push(
      faultAt(draft, ['drill', 'scratchPasswordFile'], 'has no meaning with the embedded scratch server', 'remove it'),
    )
  if (has('drill', 'scratchPasswordFile') && scratch?.password !== undefined)
    faults.push(
      faultAt(draft, ['drill', 'scratchPasswordFile'], 'the URL holds a password as well', 'remove it from the URL'),
    )
  if (has('drill', 'parameters') && !isEmbedded)
    faults.push(
      faultAt(
        draft,
        ['drill', 'parameters'],
        'has no meaning with a server kept for drills',
        'set them in that server’s own postgresql.conf',
      ),
    )
  const source = elementsOf(draft, ['servers']).find(
    (server) => scratch !== undefined && serverUrlAt(draft, [...server, 'url'])?.address === scratch.address,
  )
  if (source !== undefined)
    faults.push(
      faultAt(
        draft,
        path,
        `is the same server as ${source.join('.')}`,
        'drills never touch a protected server; use embedded',
      ),
    )
  return faults
}

function httpFaults(draft: Draft, has: Has): Fault[] {
  const faults = sameNames(draft, ['http', 'tokens'])
  for (const path of elementsOf(draft, ['http', 'tokens'])) {
    faults.push(...givenTwice(draft, path, 'hash', 'hashFile'))
    if (!has(...path, 'hash') && !has(...path, 'hashFile'))
      faults.push(faultAt(draft, path, 'has neither hash nor hashFile', 'printf %s "$TOKEN" | sha256sum'))
  }
  if (valueAt(draft, ['http', 'metricsToken']) === true && elementsOf(draft, ['http', 'tokens']).length === 0)
    faults.push(faultAt(draft, ['http', 'metricsToken'], 'demands a token, and http.tokens has none'))
  return faults
}

function signingWarnings(draft: Draft, has: Has): Fault[] {
  const signers = valueAt(draft, ['encryption', 'trustedSigners'])
  if (!has('encryption', 'signingKeyFile') || (Array.isArray(signers) && signers.length > 0)) return []
  const text = 'manifests are signed, but nothing demands the signature'
  return [faultAt(draft, ['encryption', 'signingKeyFile'], text, 'set encryption.trustedSigners')]
}

function listenWarnings(draft: Draft): Fault[] {
  const listen = valueAt(draft, ['http', 'listen'])
  if (typeof listen !== 'string' || listen === 'off' || /^(127\.|localhost:|\[::1\]:)/.test(listen)) return []
  if (elementsOf(draft, ['http', 'tokens']).length > 0) return []
  const text = 'listens beyond this machine without any token, so only metrics and health will be answered'
  return [faultAt(draft, ['http', 'listen'], text, 'set http.tokens')]
}

function sameNames(draft: Draft, list: Path): Fault[] {
  const first = new Map<unknown, Path>()
  const faults: Fault[] = []
  for (const path of elementsOf(draft, list)) {
    const name = valueAt(draft, [...path, 'name'])
    const other = first.get(name)
    if (other === undefined) first.set(name, path)
    else if (typeof name === 'string')
      faults.push(faultAt(draft, [...path, 'name'], `${quoted(name)} is the name of ${other.join('.')} as well`))
  }
  return faults
}

function serverUrlAt(draft: Draft, path: Path): ServerUrl | undefined {
  const value = valueAt(draft, path)
  const parsed = typeof value === 'string' ? parseServerUrl(value) : undefined
  return parsed !== undefined && 'url' in parsed ? parsed : undefined
}
