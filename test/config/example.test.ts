import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { everyKey, shortPath } from '../../src/config/keys.ts'
import { keyName } from '../../src/config/reference.ts'
import { configFolder, least } from './folder.ts'

const example = await readFile(join(import.meta.dirname, '../../config/pgproof.example.yaml'), 'utf8')

it('the example with a store and keys alone - loads without fault or warning, and nothing is on that needs more', async () => {
  await using folder = await configFolder()
  for (const name of ['backup', 'escrow']) await folder.write(`keys/${name}.pub.asc`, 'a key', 0o644)
  for (const name of ['s3_secret', 'backup.key.asc']) await folder.write(`secrets/${name}`, 'x')
  const { config, warnings } = await folder.load(inFolder(example, folder.path), { S3_ACCESS_KEY_ID: 'AKIA' })
  expect(warnings).toEqual([])
  expect(config.stores[0]).toMatchObject({ objectLock: undefined, isAppendOnly: false })
  expect(config.stores[0].secretAccessKey?.reveal()).toBe('x')
  expect([config.notify, config.http.tokens, config.encryption.trustedSigners]).toEqual([[], [], []])
  expect(config.servers[0]?.checks).toEqual([])
})

it('the example with Object Lock, signatures, checks, tokens, a webhook and a fleet - loads when the files it names are there', async () => {
  await using folder = await configFolder()
  for (const name of ['backup', 'escrow', 'signing']) await folder.write(`keys/${name}.pub.asc`, 'a key', 0o644)
  const keys = [
    ...['objectLock', 'mode', 'for', 'passphraseFile', 'signingKeyFile', 'signingPassphraseFile', 'trustedSigners'],
    ...['passwordFile', 'exclude', 'checks', '- name', 'sql', 'database', 'tokens', 'scope', 'hashFile'],
    ...['notify', '- webhookFile', 'format', 'on', 'fleet', 'url'],
  ]
  const switchedOn = example.replaceAll(new RegExp(`^( *)#(?=(${keys.join('|')}):)`, 'gm'), '$1')
  for (const [name] of switchedOn.matchAll(/(?<=^ *(?:- )?\w+: \/run\/secrets\/)\S+/gm))
    await folder.write(`secrets/${name}`, 'x')
  await folder.write('secrets/ops.sha256', 'a'.repeat(64))
  await folder.write('secrets/webhook', 'https://hooks.example.com/pgproof')
  const { config, warnings } = await folder.load(inFolder(switchedOn, folder.path), { S3_ACCESS_KEY_ID: 'AKIA' })
  expect(warnings).toEqual([])
  expect(config.notify).toMatchObject([{ kind: 'webhook', format: 'slack' }])
  expect(config.http.tokens).toMatchObject([{ name: 'ops', scope: 'drill' }])
  expect(config.stores[0].objectLock).toBeDefined()
  expect(config.fleet?.password?.reveal()).toBe('x')
  expect(config.servers[0]?.checks).toMatchObject([{ name: 'fresh orders', database: 'shop' }])
})

it('the example - has every key of the schema, in its place, as a setting or behind a bare #', () => {
  const everything: unknown = parse(example.replaceAll(/^( *)#(?=[\w-])/gm, '$1'))
  const missing = [...everyKey()].filter(({ path }) => lookUp(everything, shortPath(path)) === undefined)
  expect(missing.map(({ path }) => keyName(path))).toEqual([])
})

it('the list of stores in the example, without its "# " - loads', async () => {
  await using folder = await configFolder()
  const lines = example.split('\n')
  const start = lines.indexOf('# store:')
  const list = lines.slice(start, lines.indexOf('', start)).map((line) => line.replace(/^# /, ''))
  const { config } = await folder.load(least.replace(/^store: .*$/m, list.join('\n')))
  expect(config.stores.map(({ name, isRequired }) => [name, isRequired])).toEqual([
    ['store', true],
    ['nas', false],
  ])
})

it('the example - names the JSON Schema for editors, and each key has a comment near it', () => {
  expect(example.split('\n')[0]).toBe('# yaml-language-server: $schema=./pgproof.schema.json')
  const comments = example.split('\n').filter((line) => /^ *# /.test(line))
  expect(comments.length).toBeGreaterThan(60)
})

function inFolder(yaml: string, path: string): string {
  return yaml.replaceAll('/run/secrets', join(path, 'secrets'))
}

function lookUp(value: unknown, path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>((inner, step) => (inner as Record<string | number, unknown> | undefined)?.[step], value)
}
