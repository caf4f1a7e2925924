import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { errorReference } from '../scripts/error-reference.ts'
import { createProgram } from '../src/commands/table.ts'
import { register } from '../src/errors.ts'
import { objectNames } from '../src/storage/object-keys.ts'
import { bareSurroundings } from './commands/in-process.ts'

function files(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? files(path) : [path]
  })
}

const sources = files('src').map((path) => ({ path, text: readFileSync(path, 'utf8') }))
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...files('docs').filter((path) => path.endsWith('.md'))]

describe('the register of errors', () => {
  it('every code is thrown somewhere, and docs/errors.md is up to date', () => {
    const elsewhere = sources
      .filter(({ path }) => path !== join('src', 'errors.ts'))
      .map(({ text }) => text)
      .join('\n')
    const own = readFileSync('src/errors.ts', 'utf8')
    const unused = Object.keys(register).filter(
      (code) => !elsewhere.includes(`'${code}'`) && !own.includes(`PgproofError('${code}'`),
    )
    expect(unused).toEqual([])
    expect(readFileSync('docs/errors.md', 'utf8')).toBe(errorReference())
  })

  it('messages: lower case at the start, no full stop at the end; hints are sentences', () => {
    const odd = Object.entries(register).filter(
      ([, { message, hint }]) => /^[A-Z][a-z]/.test(message) || message.endsWith('.') || !/[.!]$/.test(hint),
    )
    expect(odd.map(([code]) => code)).toEqual([])
  })
})

describe('the documents', () => {
  it('every link to a file leads to one', () => {
    const broken = pages.flatMap((page) => {
      const base = page.includes('/') ? page.slice(0, page.lastIndexOf('/')) : '.'
      return [...readFileSync(page, 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
        .map(([, target]) => join(base, target ?? ''))
        .filter((path) => !statSync(path, { throwIfNoEntry: false }))
        .map((path) => `${page} → ${path}`)
    })
    expect(broken).toEqual([])
  })

  it('docs/format.md names every object, the README every exit code and command', () => {
    const format = readFileSync('docs/format.md', 'utf8')
    expect(
      Object.values(objectNames).filter((name) => !format.includes(name.replace('manifest.json.sig', 'manifest.json'))),
    ).toEqual([])
    const readme = readFileSync('README.md', 'utf8')
    const commands = createProgram(bareSurroundings, async () => {}).commands.map((command) => command.name())
    expect(commands.length).toBeGreaterThan(8)
    expect(commands.filter((name) => !readme.includes(`\`${name}`))).toEqual([])
    const exits = new Set(Object.values(register).map(({ exit }) => exit))
    expect([...exits].filter((exit) => !new RegExp(`[ ·(]${exit} `).test(readme))).toEqual([])
  })

  it('no page cites a line number', () => {
    expect(pages.filter((page) => /\.ts:\d+/.test(readFileSync(page, 'utf8')))).toEqual([])
  })
})
