import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cliFolder, type Started, waitFor } from '../commands/cli.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { markOldStore, onceAYear } from '../support/mark-store.ts'

const databases: Awaited<ReturnType<typeof testDatabase>>[] = []
beforeAll(async () => {
  for (let count = 0; count < 4; count += 1) databases.push(await testDatabase('template0'))
})
afterAll(async () => {
  for (const database of databases) await database[Symbol.asyncDispose]()
})

const message = (started: Started, text: string): number => started.stderr().split(text).length - 1

describe('two daemons on one store', () => {
  it('started together with everything due - one backup of each database', async () => {
    const names = databases.map(({ name }) => name)
    await using folder = await cliFolder(names)
    const schedule = { backup: onceAYear }
    markOldStore(join(folder.path, 'store'))
    await folder.configure({
      servers: [{ name: 'main', url: testUrl(), databases: names, schedule, retry: { attempts: 5, delay: '1s' } }],
      http: { listen: 'off' },
      log: { format: 'json' },
      daemon: { maxConcurrent: 1, catalogRefresh: '1s' },
    })
    const daemons = [1, 2].map(() => folder.start(['serve']))
    const manifests = (): string[] => folder.objects().filter((file) => file.endsWith('/manifest.json'))
    const of = (part: string): number => manifests().filter((file) => file.includes(part)).length
    await waitFor('every backup', () => names.every((name) => of(`/${name}/`) > 0))
    // A second one would begin within the next looks of the daemon that did not make the first.
    const enough = Date.now() + 12_000
    await waitFor('both to have looked again', () => Date.now() > enough)
    for (const { child } of daemons) child.kill('SIGTERM')
    expect((await Promise.all(daemons.map(({ result }) => result))).map(({ code }) => code)).toEqual([0, 0])
    expect(names.map((name) => of(`/${name}/`))).toEqual([1, 1, 1, 1])
    expect(daemons.map((daemon) => message(daemon, '"msg":"ready"'))).toEqual([1, 1])
    expect(folder.leftovers()).toEqual([])
  })
})
