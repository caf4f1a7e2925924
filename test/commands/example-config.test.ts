import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { testDatabase, testUrl } from '../support/installation.ts'
import { cliFolder } from './cli.ts'

it('a copy of the example with nothing changed but store, keys and URL - a backup, a list, and a drill that passes', async () => {
  await using database = await testDatabase()
  await using folder = await cliFolder([database.name])
  const example = await readFile(join(import.meta.dirname, '../../config/pgproof.example.yaml'), 'utf8')
  const own = example
    .replace('s3://backups/prod\n', `file://${folder.path}/store\n`)
    .replaceAll(/^ {2}(endpoint|region|provider|accessKeyId|secretAccessKeyFile|partSize|partsInFlight):.*\n/gm, '')
    .replace(/recipients: .*/, 'recipients: [pub.asc]')
    .replace(/privateKeyFile: .*/, 'privateKeyFile: key.asc')
    .replace('postgres://backup@db:5432/postgres\n    #', `${testUrl()}\n    #`)
    // The only one of the test server that is ours, and a spool that is removed with the folder.
    .replace('databases: all', `databases: [${database.name}]`)
    .replace('/var/tmp/pgproof', join(folder.path, 'spool'))
  await folder.write('pgproof.yaml', own)
  const said: unknown[] = []
  for (const args of [['backup', '--roles'], ['backup'], ['list'], ['drill'], ['kit']])
    said.push(await folder.run(args).then(({ code, stderr }) => [args.join(' '), code, stderr]))
  expect(said).toEqual(
    ['backup --roles', 'backup', 'list', 'drill', 'kit'].map((name) => [name, 0, expect.any(String)]),
  )
})
