/**
 * Writes docs/licences.md from the lock file, and fails if a licence is not allowed; with `--check` it only tells. With
 * `--sbom` it prints a bill of materials instead: `npm sbom --omit dev` (11.19) leaves out what is needed for development, too.
 */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { keepInStep } from './keep-in-step.ts'

/** An entry of the lock file, as far as it is of interest here. */
export type LockedPackage = {
  readonly version: string
  readonly license?: string
  readonly integrity?: string
  readonly dev?: boolean
  readonly inBundle?: boolean
}
export type LockFile = { readonly packages: Readonly<Record<string, LockedPackage>> }

export type Dependency = {
  readonly name: string
  readonly version: string
  readonly licence: string
  /** As in the lock file; undefined for what came inside of another package. */
  readonly integrity: string | undefined
  /** Of those that come with pgproof; the others build and test it. */
  readonly isShipped: boolean
}

/** Those that ask for nothing but the notice of who wrote it: whoever passes pgproof on has them in `node_modules`. */
export const allowedToShip: readonly string[] = [
  ...['MIT', 'MIT-0', 'ISC', '0BSD', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0'],
]

/** Allowed for one package, with the reason. */
export const exceptions: Readonly<Record<string, { readonly licence: string; readonly reason: string }>> = {
  openpgp: {
    licence: 'LGPL-3.0+',
    reason: 'used unchanged, as a package of its own that anybody can replace in `node_modules`',
  },
}

/** What builds and tests pgproof and does not come with it may also have these. */
export const allowedToBuild: readonly string[] = [
  ...allowedToShip,
  ...['BlueOak-1.0.0', 'CC0-1.0', 'CC-BY-4.0', 'MPL-2.0', 'Unlicense'],
]

/** Packages whose own `package.json` says it in a way that npm does not read. */
const declaredOtherwise: Readonly<Record<string, string>> = { ssh2: 'MIT', 'cpu-features': 'MIT', buildcheck: 'MIT' }

/** Every package of the lock file, by name and version, each once. */
export function dependenciesOf({ packages }: LockFile): Dependency[] {
  const found = new Map<string, Dependency>()
  for (const [path, { version, license, integrity, dev }] of Object.entries(packages)) {
    if (path === '') continue
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    const licence = license ?? declaredOtherwise[name] ?? 'not said'
    const key = `${name}@${version}`
    const isShipped = dev !== true || found.get(key)?.isShipped === true
    found.set(key, { name, version, licence, integrity, isShipped })
  }
  return [...found.values()].sort((one, other) => compare(one.name, other.name) || compare(one.version, other.version))
}

/** Packages whose licence is not allowed for what they are used for. */
export function notAllowed(dependencies: readonly Dependency[]): string[] {
  return dependencies
    .filter(({ name, licence, isShipped }) => {
      if (exceptions[name]?.licence === licence) return false
      const allowed = isShipped ? allowedToShip : allowedToBuild
      return !choicesOf(licence).some((choice) => allowed.includes(choice))
    })
    .map(({ name, version, licence }) => `${name}@${version}: ${licence}`)
}

/** Of `(MIT OR CC0-1.0)` one may be chosen; with `AND` in it nothing is read into it, so it is not allowed. */
function choicesOf(licence: string): readonly string[] {
  return licence.replace(/^\((.*)\)$/, '$1').split(' OR ')
}

export function licencesDocument(lock: LockFile): string {
  const all = dependenciesOf(lock)
  const shipped = all.filter(({ isShipped }) => isShipped)
  const others = Map.groupBy(
    all.filter(({ isShipped }) => !isShipped),
    ({ licence }) => licence,
  )
  const counts = [...others].sort(([one], [other]) => compare(one, other))
  return `<!-- Written by scripts/licences.ts; do not edit. -->

# Licences of dependencies

pgproof itself: Apache-2.0 ([LICENSE](../LICENSE)). ${shipped.length} packages come with it.

**The rule.** What comes with pgproof has one of ${listed(allowedToShip)}. ${Object.entries(exceptions)
    .map(([name, { licence, reason }]) => `One exception: \`${name}\` (${licence}), ${reason}.`)
    .join(' ')}
What only builds and tests it may also have ${listed(allowedToBuild.filter((one) => !allowedToShip.includes(one)))}.
Of a choice (\`A OR B\`) one that is allowed is enough. A test compares this page and the rule with \`package-lock.json\`.

A bill of materials (SBOM) of what comes with pgproof, CycloneDX 1.5 with digests, from the lock file alone:

\`\`\`sh
node scripts/licences.ts --sbom > pgproof.cdx.json
\`\`\`

## What comes with pgproof

| package | version | licence |
| --- | --- | --- |
${shipped.map(({ name, version, licence }) => `| ${name} | ${version} | ${licence} |`).join('\n')}

## What builds and tests it

| licence | packages |
| --- | --- |
${counts.map(([licence, packages]) => `| ${licence} | ${packages.length} |`).join('\n')}
`
}

/** CycloneDX 1.5 of what comes with pgproof: the same for the same lock file, byte for byte. */
export function billOfMaterials(lock: LockFile): object {
  const { version } = lock.packages[''] ?? { version: '0.0.0' }
  const components = dependenciesOf(lock)
    .filter(({ isShipped }) => isShipped)
    .map(({ name, version: of, licence, integrity }) => ({
      type: 'library',
      'bom-ref': `${name}@${of}`,
      name,
      version: of,
      purl: `pkg:npm/${name.replace('@', '%40')}@${of}`,
      // Short names of SPDX are ids; what npm writes otherwise is a name.
      licenses: [licenceOf(licence)],
      hashes: integrity === undefined ? [] : [{ alg: 'SHA-512', content: hexOf(integrity) }],
    }))
  const component = {
    ...{ type: 'application', 'bom-ref': `pgproof@${version}`, name: 'pgproof', version },
    licenses: [{ license: { id: 'Apache-2.0' } }],
  }
  return { bomFormat: 'CycloneDX', specVersion: '1.5', version: 1, metadata: { component }, components }
}

/** Of `sha512-…` in base64. */
function hexOf(integrity: string): string {
  return Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex')
}

function listed(licences: readonly string[]): string {
  return `${licences.slice(0, -1).join(', ')} or ${licences.at(-1)}`
}

/** The same on every machine, whatever its language. */
/** As CycloneDX 1.5 has it: an SPDX expression, a known id, or a name. */
function licenceOf(licence: string): object {
  if (licence.includes(' ')) return { expression: licence }
  return { license: licence.endsWith('+') ? { name: licence } : { id: licence } }
}

function compare(one: string, other: string): number {
  return one < other ? -1 : Number(one > other)
}

if (resolve(process.argv[1] ?? '') === import.meta.filename) {
  const lock = JSON.parse(await readFile(join(import.meta.dirname, '../package-lock.json'), 'utf8')) as LockFile
  const faults = notAllowed(dependenciesOf(lock))
  for (const fault of faults) console.error(`not allowed: ${fault}`)
  if (faults.length > 0) process.exitCode = 1
  if (process.argv.includes('--sbom')) process.stdout.write(`${JSON.stringify(billOfMaterials(lock), null, 2)}\n`)
  else await keepInStep({ 'docs/licences.md': licencesDocument(lock) }, 'node scripts/licences.ts')
}
