import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { billOfMaterials, dependenciesOf, type LockFile, licencesDocument, notAllowed } from '../scripts/licences.ts'

type Manifest = Readonly<Record<'dependencies' | 'devDependencies', Readonly<Record<string, string>>>> & {
  readonly allowScripts: Readonly<Record<string, boolean>>
}
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as LockFile
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest

describe('licences', () => {
  it('every package of the lock file - has a licence that the rule allows', () => {
    expect(notAllowed(dependenciesOf(lock))).toEqual([])
  })

  it.each([
    ['GPL-3.0', true, ['x@1.0.0: GPL-3.0']],
    ['MPL-2.0', true, ['x@1.0.0: MPL-2.0']],
    ['MPL-2.0', false, []],
    ['LGPL-3.0+', true, ['x@1.0.0: LGPL-3.0+']],
    ['(MIT OR CC0-1.0)', true, []],
    ['GPL-3.0 OR MPL-2.0', true, ['x@1.0.0: GPL-3.0 OR MPL-2.0']],
    ['MIT AND GPL-3.0', true, ['x@1.0.0: MIT AND GPL-3.0']],
    [undefined, false, ['x@1.0.0: not said']],
  ])('a package under %s, shipped: %s - is judged by what it is used for', (license, isShipped, expected) => {
    const one = { version: '1.0.0', dev: !isShipped, ...(license === undefined ? {} : { license }) }
    expect(notAllowed(dependenciesOf({ packages: { '': one, 'node_modules/x': one } }))).toEqual(expected)
  })

  it('docs/licences.md - is what the lock file says', () => {
    expect(readFileSync('docs/licences.md', 'utf8')).toBe(licencesDocument(lock))
  })

  it('the bill of materials - has exactly what comes with pgproof, each with its digest', () => {
    const printed = execFileSync(process.execPath, ['scripts/licences.ts', '--sbom']).toString()
    expect(JSON.parse(printed)).toEqual(billOfMaterials(lock))
    const { components } = JSON.parse(printed) as {
      components: readonly { purl: string; hashes: readonly { alg: string; content: string }[] }[]
    }
    const shipped = dependenciesOf(lock).filter(({ isShipped }) => isShipped)
    expect(components.map(({ purl }) => decodeURIComponent(purl))).toEqual(
      shipped.map(({ name, version }) => `pkg:npm/${name}@${version}`),
    )
    for (const { hashes } of components)
      expect(hashes).toEqual([{ alg: 'SHA-512', content: expect.stringMatching(/^[0-9a-f]{128}$/) }])
    // Whatever package.json names as needed at run time is in it.
    for (const [name, version] of Object.entries(manifest.dependencies))
      expect(components.map(({ purl }) => decodeURIComponent(purl))).toContain(`pkg:npm/${name}@${version}`)
  })
})

describe('pinning', () => {
  it('every dependency - is one version, not a range', () => {
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }))
      expect([name, version]).toEqual([name, expect.stringMatching(/^\d+\.\d+\.\d+(-[\w.]+)?$/)])
  })

  it('every package of the lock file - is bound by SHA-512, whatever registry it comes from', () => {
    for (const [path, { integrity, inBundle }] of Object.entries(lock.packages))
      if (path !== '' && inBundle !== true)
        expect([path, integrity]).toEqual([path, expect.stringMatching(/^sha512-[A-Za-z0-9+/]{86}==$/)])
  })

  it('scripts of packages - run for the one that brings Node, and for no other', () => {
    const allowed = Object.entries(manifest.allowScripts).filter(([, isAllowed]) => isAllowed)
    expect(allowed).toEqual([['node', true]])
  })
})
