import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { everyKey, variableOf } from '../../src/config/keys.ts'
import { configurationReference, jsonSchema, keyName } from '../../src/config/reference.ts'

const root = join(import.meta.dirname, '../..')
const rerun = 'stale; run: node scripts/generate-reference.ts'

it('docs/configuration.md - is what the schema gives now', async () => {
  expect(await readFile(join(root, 'docs/configuration.md'), 'utf8'), rerun).toBe(configurationReference())
})

it('config/pgproof.schema.json - is what the schema gives now', async () => {
  expect(await readFile(join(root, 'config/pgproof.schema.json'), 'utf8'), rerun).toBe(jsonSchema())
})

it('every key - described in the reference with its variable', () => {
  const lines = new Set(configurationReference().split('\n'))
  const values = [...everyKey()].filter(({ node }) => node.form === 'value')
  const missing = values.filter(
    ({ path }) => !lines.has(`### \`${keyName(path)}\``) && !lines.has(`## \`${keyName(path)}\``),
  )
  const variables = values.filter(({ path }) => !lines.has(`- Environment: \`${variableOf(path)}\``))
  expect({ missing, variables }).toEqual({ missing: [], variables: [] })
})

it('every description and example - says something', () => {
  for (const { path, node } of everyKey()) {
    const texts = node.form === 'value' ? [node.about.description, node.about.example] : [node.description]
    for (const text of texts) expect(text, keyName(path)).not.toBe('')
    expect(texts[0], keyName(path)).toMatch(/\.$/)
  }
})
