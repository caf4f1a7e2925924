import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { everyKey, shortPath, variableOf } from '../../src/config/keys.ts'
import { configurationReference, jsonSchema, keyName } from '../../src/config/reference.ts'

const root = join(import.meta.dirname, '../..')
const rerun = 'stale; run: node scripts/generate-reference.ts'

it('docs/configuration.md - is what the schema gives now', async () => {
  expect(await readFile(join(root, 'docs/configuration.md'), 'utf8'), rerun).toBe(configurationReference())
})

it('config/pgproof.schema.json - is what the schema gives now', async () => {
  expect(await readFile(join(root, 'config/pgproof.schema.json'), 'utf8'), rerun).toBe(jsonSchema())
})

it('the schema for editors - takes a store alone, a list of stores and the example, and neither an empty list nor an unknown key', async () => {
  const accepts = new Ajv({ allowUnionTypes: true }).compile(JSON.parse(jsonSchema()) as object)
  const example: unknown = parse(await readFile(join(root, 'config/pgproof.example.yaml'), 'utf8'))
  const store = { url: 's3://backups/prod', reader: { accessKeyId: 'a' }, retention: { daily: 7 }, tags: { a: 'b' } }
  expect(accepts(example), JSON.stringify(accepts.errors)).toBe(true)
  for (const right of [store, { region: 'eu' }, [store], [store, { url: 'file:///srv', required: false }]])
    expect(accepts({ store: right }), JSON.stringify(accepts.errors)).toBe(true)
  for (const wrong of [[], 5, [[store]], { colour: 'red' }, [{ ...store, colour: 'red' }], { ...store, versions: 'a' }])
    expect(accepts({ store: wrong }), JSON.stringify(wrong)).toBe(false)
})

it('every key - described in the reference with its variable', () => {
  const lines = new Set(configurationReference().split('\n'))
  const values = [...everyKey()].filter(({ node }) => node.form === 'value')
  const missing = values.filter(
    ({ path }) => !lines.has(`### \`${keyName(path)}\``) && !lines.has(`## \`${keyName(path)}\``),
  )
  const variables = values.filter(({ path }) => !lines.has(`- Environment: \`${variableOf(shortPath(path))}\``))
  expect({ missing, variables }).toEqual({ missing: [], variables: [] })
})

it('every description and example - says something', () => {
  for (const { path, node } of everyKey()) {
    const texts = node.form === 'value' ? [node.about.description, node.about.example] : [node.description]
    for (const text of texts) expect(text, keyName(path)).not.toBe('')
    expect(texts[0], keyName(path)).toMatch(/\.$/)
  }
})
