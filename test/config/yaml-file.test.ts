import { anything, array, assert as assertProperty, asyncProperty, constantFrom, oneof, string } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { readYaml } from '../../src/config/yaml-file.ts'
import { PgproofError } from '../../src/errors.ts'
import { configFolder, least, variable } from './folder.ts'

describe('YAML that is not well-formed', () => {
  it.each([
    ['a: "x', /^pgproof\.yaml:1:6 {2}a quote, bracket, comma or colon is missing/],
    ['a: [1, 2', /^pgproof\.yaml:1:9 {2}the indentation is wrong, or a bracket before is not closed/],
    ['a: 1\n  b: 2', /^pgproof\.yaml:1:4 {2}a value with ": " in it is not quoted, or the indentation/],
    ['a: "b" c', /^pgproof\.yaml:1:8 {2}this does not belong here/],
    ['a: b: c', /^pgproof\.yaml:1:4 {2}a value with ": " in it is not quoted/],
    ['a:\n\tb: 1', /^pgproof\.yaml:2:\d {2}a tab is used for indentation/],
    ['timezone: *x', /^pgproof\.yaml:1:11 {2}timezone: an alias names no anchor/],
    ['a: !x y', /^pgproof\.yaml:1:4 {2}a tag is not known/],
    ['a: @x', /^pgproof\.yaml:1:4 {2}a value starts with a reserved character/],
    ['a: "\\y"', /^pgproof\.yaml:1:\d {2}unknown escape/],
    ['a: 1\n---\nb: 2', /^pgproof\.yaml:\d:\d {2}the file holds more than one YAML document/],
    ['- a', /^pgproof\.yaml:1:1 {2}expected keys and values/],
    ['text', /^pgproof\.yaml:1:1 {2}expected keys and values/],
    ['? [a]\n: b', /^pgproof\.yaml:1:3 {2}this cannot be a key/],
    ['__proto__: { a: 1 }', /^pgproof\.yaml:1:1 {2}this cannot be a key/],
    ['a: &x [*x]', /^pgproof\.yaml:\d:\d {2}/],
  ])('%j - a fault with line and column', async (yaml, fault) => {
    await using folder = await configFolder()
    const faults = await folder.faults(yaml)
    expect(faults.filter((line) => fault.test(line))).toHaveLength(1)
  })

  it('a key twice - reported with the other faults', async () => {
    await using folder = await configFolder()
    expect(await folder.faults(`${least}timezone: UTC\ntimezone: Nowhere\n`)).toEqual([
      'pgproof.yaml:7:1  this key stands twice in its section  hint: remove one of the two',
      expect.stringContaining('pgproof.yaml:7:11  timezone: expected an IANA time zone'),
    ])
  })

  it('broken YAML and an unknown variable - both reported', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults('a: "x', { PGPROOF_STOR__URL: 'x' })
    expect(faults.some((line) => line.startsWith('PGPROOF_STOR__URL'))).toBe(true)
  })

  it('aliases of aliases of aliases - refused before they fill the memory', async () => {
    await using folder = await configFolder()
    const levels = Array.from(
      { length: 9 },
      (_, level) => `a${level + 1}: &a${level + 1} [${`*a${level}, `.repeat(9)}]`,
    )
    const faults = await folder.faults(`a0: &a0 [1, 2, 3]\n${levels.join('\n')}\n`)
    expect(faults).toEqual(['pgproof.yaml:1:1  the file holds too much'])
  })

  it('a hundred thousand brackets - refused', async () => {
    await using folder = await configFolder()
    expect((await folder.faults(`a: ${'['.repeat(100_000)}`)).length).toBeGreaterThan(0)
  })
})

it('keys named like properties of objects - unknown keys, nothing else', async () => {
  await using folder = await configFolder()
  const faults = await folder.faults(`${least}constructor: 1\ntoString: 2\nhasOwnProperty: 3\n`)
  expect(faults.map((line) => line.split('  ')[1])).toEqual(
    ['constructor', 'toString', 'hasOwnProperty'].map((key) => `${key}: unknown key`),
  )
})

it('a byte-order mark and Windows line ends - read as usual', async () => {
  await using folder = await configFolder()
  const { config } = await folder.load(`\uFEFF${least.replaceAll('\n', '\r\n')}`)
  expect(config.servers[0]?.name).toBe('main')
})

describe('whatever a file holds', () => {
  const keys = constantFrom(
    'store',
    'url',
    'encryption',
    'recipients',
    'servers',
    'name',
    'evidence',
    'tables',
    'drill',
  )
  const scraps = constantFrom(
    '\n',
    '  ',
    ': ',
    '- ',
    '[',
    ']',
    '{',
    '}',
    '"',
    "'",
    '&a ',
    '*a',
    '|',
    '>',
    '#',
    '!',
    '\t',
    '? ',
  )
  const values = constantFrom(
    '5',
    'all',
    '~',
    'off',
    'postgres://u@h',
    '${',
    variable('HOME'),
    '0 2 * * *',
    '8MiB',
    '.nan',
  )
  const scrawl = array(oneof(keys, scraps, values, string({ maxLength: 5 })), { maxLength: 40 })

  const outcome = async (yaml: string): Promise<unknown> => {
    await using folder = await configFolder()
    return await folder.load(yaml).then(
      () => 'CONFIG_INVALID',
      (thrown: unknown) => (thrown instanceof PgproofError ? thrown.code : thrown),
    )
  }

  it('any text - CONFIG_INVALID or a configuration, nothing else', async () => {
    await assertProperty(
      asyncProperty(scrawl, async (parts) => {
        expect(await outcome(parts.join(''))).toBe('CONFIG_INVALID')
      }),
      { numRuns: 300 },
    )
  })

  it('any values under the keys of the schema - the same', async () => {
    const sections = ['store', 'encryption', 'servers', 'drill', 'postgres', 'http', 'daemon', 'log', 'timezone']
    await assertProperty(
      asyncProperty(array(anything({ maxDepth: 3 }), { minLength: 9, maxLength: 9 }), async (parts) => {
        const document = Object.fromEntries(sections.map((key, index) => [key, plain(parts[index])]))
        const inside = { store: { url: document['store'] }, servers: [{ name: 'a', evidence: document['servers'] }] }
        expect(await outcome(stringify(document))).toBe('CONFIG_INVALID')
        expect(await outcome(stringify(inside))).toBe('CONFIG_INVALID')
      }),
      { numRuns: 100 },
    )
  })

  it('any text - read without throwing, every fault with a place', () => {
    for (const text of [
      '%YAML 1.1\n---\na: yes',
      '%TAG ! x\n---\n!a b',
      '\u0000',
      '--- |\n x',
      '...',
      '? ',
      '<<: { a: 1 }',
    ]) {
      const { faults } = readYaml(text, 'f', {})
      for (const fault of faults) expect(fault.place.text).toMatch(/^f:\d+:\d+$/)
    }
  })
})

/** As JSON has it: what YAML can hold without tags. */
function plain(value: unknown): unknown {
  try {
    return JSON.parse(
      JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? 'null',
    )
  } catch {
    return null
  }
}
