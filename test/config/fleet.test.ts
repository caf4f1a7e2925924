import { mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { folderState } from '../../src/config/servers-folder.ts'
import { configFolder, least } from './folder.ts'

const fleet = 'fleet: { url: "postgres://pgproof@control:5432/control" }\n'

describe('fleet', () => {
  it('only the URL - everything else by default', async () => {
    await using folder = await configFolder()
    const { config } = await folder.load(`${least}${fleet}`)
    expect(config.fleet).toMatchObject({
      ...{ schema: 'pgboss', labels: [], may: ['backup', 'drill', 'prune', 'sync', 'serve'], heartbeatMs: 60_000 },
      worker: expect.stringMatching(/^[A-Za-z0-9_-]+$/),
    })
  })

  it('the control database is one that a server protects - a fault, unless the schema is said or it is excluded', async () => {
    await using folder = await configFolder()
    const same = 'fleet: { url: "postgres://pgproof@db:5432/control" }\n'
    expect(await folder.faults(`${least}${same}`)).toEqual([expect.stringContaining('servers.0 protects')])
    await folder.load(`${least}fleet: { url: "postgres://pgproof@db:5432/control", schema: pgboss }\n`)
    await folder.load(`${least}    exclude: [control]\n${same}`)
    await folder.load(`${least}    databases: [app]\n${same}`)
  })

  it('a label without a fleet, and a drill schedule without the key - faults; a worker that drills nothing needs none', async () => {
    await using folder = await configFolder()
    expect(await folder.faults(`${least}    label: eu\n`)).toEqual([expect.stringContaining('without fleet')])
    const drill = `${least}    schedule: { drill: "0 5 * * *" }\n`
    expect(await folder.faults(`${drill}${fleet}`)).toHaveLength(1)
    await folder.load(`${drill}fleet: { url: "postgres://pgproof@control:5432/control", may: [backup] }\n`)
  })
})

describe('a shared file that schedules drills, on a machine without the private key', () => {
  const shared = `${least}    schedule: { drill: "0 5 * * *" }\n${fleet}`

  it('what may drill - a fault that names `fleet.may`; without a fleet it does not', async () => {
    await using folder = await configFolder()
    expect(await folder.faults(shared)).toEqual([
      expect.stringMatching(/drill needs encryption\.privateKeyFile +hint: .*leave drill out of `fleet\.may`/),
    ])
    const [alone] = await folder.faults(`${least}    schedule: { drill: "0 5 * * *" }\n`)
    expect(alone).toContain('hint: set it, or run drills elsewhere')
  })

  it('by the environment it may not - loads', async () => {
    await using folder = await configFolder()
    await folder.load(shared, { PGPROOF_FLEET__MAY: 'backup,serve' })
  })

  it('a command that drills nothing - loads; where there is no fleet, the fault stays', async () => {
    await using folder = await configFolder()
    const load = async (text: string): Promise<unknown> => {
      const file = await folder.write('pgproof.yaml', text)
      return await loadConfig({ file, env: {}, cwd: folder.path, isTerminal: false, drillsNothing: true })
    }
    await load(shared)
    await expect(load(`${least}    schedule: { drill: "0 5 * * *" }\n`)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })
})

describe('serversFrom', () => {
  it('a folder of files - their servers beside those of the configuration; what changes there is seen', async () => {
    await using folder = await configFolder()
    mkdirSync(join(folder.path, 'servers.d'))
    await folder.write('servers.d/one.yaml', 'servers: [{ name: one, url: "postgres://backup@one:5432/postgres" }]\n')
    const before = await folderState(join(folder.path, 'servers.d'))
    await folder.write('servers.d/two.yaml', 'servers:\n  - name: two\n    url: postgres://backup@two:5432/postgres\n')
    expect(await folderState(join(folder.path, 'servers.d'))).not.toBe(before)
    const { config } = await folder.load(`${least}serversFrom: servers.d\n`)
    expect(config.servers.map(({ name }) => name)).toEqual(['main', 'one', 'two'])
  })

  it('faults in such a file - with its name and place; a folder that is not there - a fault', async () => {
    await using folder = await configFolder()
    mkdirSync(join(folder.path, 'servers.d'))
    await folder.write('servers.d/one.yaml', 'servers:\n  - name: one\n    url: nonsense\nhttp: {}\n')
    const faults = await folder.faults(`${least}serversFrom: servers.d\n`)
    expect(faults).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^servers\.d\/one\.yaml:3:\d+ .*url/),
        expect.stringContaining('"http" does not belong here'),
      ]),
    )
    expect(await folder.faults(`${least}serversFrom: nowhere\n`)).toEqual([expect.stringContaining('does not exist')])
  })

  it.each([
    [
      'servers: { name: one }',
      ['servers.d/one.yaml:1:1  holds no list of servers  hint: servers: [{ name: …, url: … }]'],
    ],
    ['', ['servers.d/one.yaml:1:1  holds no list of servers  hint: servers: [{ name: …, url: … }]']],
    ['servers: [', [expect.stringMatching(/^servers\.d\/one\.yaml:\d+:\d+ {2}the indentation is wrong, or a bracket/)]],
  ])('a file that holds %j - what is wrong with it, once', async (text, expected) => {
    await using folder = await configFolder()
    await folder.write('servers.d/one.yaml', text)
    expect(await folder.faults(`${least}serversFrom: servers.d\n`)).toEqual(expected)
  })

  it('no list of servers in the configuration itself - that fault alone, none of the files beside it', async () => {
    await using folder = await configFolder()
    await folder.write('servers.d/one.yaml', 'servers: [{ name: one, url: "postgres://backup@one:5432/postgres" }]\n')
    const faults = await folder.faults(`${least.replace(/servers:.*/s, 'servers: all\n')}serversFrom: servers.d\n`)
    expect(faults).toEqual([expect.stringMatching(/^pgproof\.yaml:3:\d+ {2}servers: /)])
  })

  it('the folder goes and comes back - seen both times', async () => {
    await using folder = await configFolder()
    const path = join(folder.path, 'servers.d')
    await folder.write('servers.d/one.yaml', 'servers: []\n')
    const before = await folderState(path)
    renameSync(path, `${path}-away`)
    const away = await folderState(path)
    expect(away).not.toBe(before)
    renameSync(`${path}-away`, path)
    expect(await folderState(path)).toBe(before)
  })
})
