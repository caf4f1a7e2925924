import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { everyKey, variableOf } from '../../src/config/keys.ts'
import { loadConfig } from '../../src/config/load.ts'
import { configFolder, least, leastVariables } from './folder.ts'

describe('set-up by the environment', () => {
  it('one server and one store - need no file', async () => {
    await using folder = await configFolder()
    const { config, source, warnings } = await folder.load(undefined, {
      ...leastVariables,
      PGPROOF_ENCRYPTION__RECIPIENTS: 'key.asc, escrow.asc',
      PGPROOF_STORE__SECRET_ACCESS_KEY_FILE: 'secret',
      // As Kubernetes gives a variable what an editor wrote into a secret.
      PGPROOF_STORE__ACCESS_KEY_ID: '12345\n',
      PGPROOF_STORE__PART_SIZE: '16MiB',
      PGPROOF_SERVERS__0__PASSWORD_FILE: 'secret',
      PGPROOF_SERVERS__0__DATABASES: 'app,billing',
      PGPROOF_SERVERS__0__SCHEDULE__BACKUP: '0 2 * * *',
      PGPROOF_SERVERS__0__RETENTION__LAST: '10',
      PGPROOF_SERVERS__0__EVIDENCE: 'count',
      PGPROOF_SERVERS__0__EVIDENCE__TABLES: 'public.a=off, public.b=digest',
      PGPROOF_SERVERS__0__CHECKS__0__NAME: 'fresh',
      PGPROOF_SERVERS__0__CHECKS__0__SQL: 'select true, 1',
      PGPROOF_DRILL__JOBS: '8',
      PGPROOF_HTTP__METRICS_TOKEN: 'true',
      PGPROOF_HTTP__TOKENS__0__NAME: 'ops',
      PGPROOF_HTTP__TOKENS__0__SCOPE: 'drill',
      PGPROOF_HTTP__TOKENS__0__HASH: 'AB'.repeat(32),
    })
    expect({ source, warnings }).toEqual({ source: 'environment', warnings: [] })
    expect(config.encryption.recipients).toEqual(['key.asc', 'escrow.asc'].map((name) => join(folder.path, name)))
    expect(config.stores[0]).toMatchObject({ accessKeyId: '12345', partSizeBytes: 16 * 2 ** 20 })
    expect(config.stores[0].secretAccessKey?.reveal()).toBe('hunter2')
    expect(config.servers[0]).toMatchObject({
      databases: ['app', 'billing'],
      schedule: { backup: '0 2 * * *' },
      retention: { last: 10, daily: 0 },
      evidence: { level: 'count', tables: { 'public.a': 'off', 'public.b': 'digest' } },
      checks: [{ name: 'fresh', sql: 'select true, 1' }],
    })
    expect(config.drill.jobs).toBe(8)
    expect(config.http).toMatchObject({ metricsToken: true, tokens: [{ sha256: 'ab'.repeat(32) }] })
  })

  it('nothing at all - CONFIG_MISSING, which names the file that lies there', async () => {
    await using folder = await configFolder()
    const messageOf = (error: unknown): string => String(error)
    expect(await folder.load(undefined).catch(messageOf)).toMatch(/there is no configuration: .* variable$/)
    await folder.write('pgproof.yaml', '')
    expect(await folder.load(undefined).catch(messageOf)).toContain('; pgproof.yaml in this folder must be named')
  })

  it('one variable - each missing key by the variable that sets it', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults(undefined, { PGPROOF_TIMEZONE: 'UTC' })
    expect(faults.map((line) => line.split('  ')[0])).toEqual([
      'PGPROOF_ENCRYPTION__RECIPIENTS',
      'PGPROOF_SERVERS__0__NAME',
      'PGPROOF_SERVERS__0__URL',
      'PGPROOF_STORE__URL',
    ])
  })

  it('every value of the schema - reached by its variable, none unknown', async () => {
    await using folder = await configFolder()
    const values = [...everyKey()].filter(({ node }) => node.form === 'value')
    const env = Object.fromEntries(values.map(({ path }) => [variableOf(path), '\u0000']))
    const faults = await folder.faults(undefined, env)
    expect(faults.filter((line) => line.includes('no key has this variable'))).toEqual([])
    expect(new Set(values.map(({ path }) => variableOf(path))).size).toBe(values.length)
  })
})

describe('precedence', () => {
  it('default, file, variable - the later wins', async () => {
    await using folder = await configFolder()
    const yaml = `${least}    evidence: { level: off, tables: { "a.b": count } }\ndrill: { jobs: 4, within: 90d }\n`
    const env = {
      PGPROOF_DRILL__JOBS: '8',
      PGPROOF_SERVERS__0__EVIDENCE: 'count',
      PGPROOF_STORE__REGION: 'eu-central-1',
    }
    const { config } = await folder.load(yaml, env)
    expect(config.drill).toMatchObject({ jobs: 8, withinMs: 90 * 86_400_000, pick: 'random' })
    expect(config.servers[0]?.evidence).toEqual({ level: 'count', tables: { 'a.b': 'count' } })
    expect(config.stores[0]).toMatchObject({ url: 's3://backups/prod', region: 'eu-central-1' })
  })

  it('a variable beside a section that the file leaves empty - makes the section', async () => {
    await using folder = await configFolder()
    const { config } = await folder.load(`${least}drill:\n`, { PGPROOF_DRILL__JOBS: '8' })
    expect(config.drill.jobs).toBe(8)
  })

  it('a further server by variables - added to those of the file', async () => {
    await using folder = await configFolder()
    const env = { PGPROOF_SERVERS__1__NAME: 'second', PGPROOF_SERVERS__1__URL: 'postgres://u@h2/db' }
    const { config } = await folder.load(least, env)
    expect(config.servers.map(({ name }) => name)).toEqual(['main', 'second'])
  })

  it('LOG_LEVEL and LOG_FORMAT - over the file, under the variables of pgproof', async () => {
    await using folder = await configFolder()
    const yaml = `${least}log: { level: error, format: json }\n`
    const plain = { LOG_LEVEL: 'debug', LOG_FORMAT: 'text' }
    expect((await folder.load(yaml, plain)).config.log).toEqual({ level: 'debug', format: 'text' })
    const both = await folder.load(yaml, { ...plain, PGPROOF_LOG__LEVEL: 'warn' })
    expect(both.config.log).toEqual({ level: 'warn', format: 'text' })
    expect(await folder.faults(yaml, { LOG_LEVEL: 'loud' })).toEqual([
      expect.stringMatching(/^LOG_LEVEL {2}log\.level: /),
    ])
  })

  it('PGPROOF_CONFIG - names the file, and --config wins over it', async () => {
    await using folder = await configFolder()
    await folder.write('a.yaml', `${least}drill: { jobs: 11 }\n`)
    await folder.write('b.yaml', `${least}drill: { jobs: 12 }\n`)
    const env = { PGPROOF_CONFIG: 'a.yaml' }
    const jobs = async (file: string | undefined): Promise<number> =>
      (await loadConfig({ file, env, cwd: folder.path })).config.drill.jobs
    expect([await jobs(undefined), await jobs('b.yaml')]).toEqual([11, 12])
  })
})

describe('variables that mean nothing', () => {
  it.each([
    ['PGPROOF_STOR__URL', 'did you mean PGPROOF_STORE__URL?'],
    ['PGPROOF_SERVERS__3__PASWORD_FILE', 'did you mean PGPROOF_SERVERS__3__PASSWORD_FILE?'],
    ['PGPROOF_SERVERS__2__CHECKS__1__SQLL', 'did you mean PGPROOF_SERVERS__2__CHECKS__1__SQL?'],
    ['PGPROOF_SERVERS__00__NAME', 'did you mean PGPROOF_SERVERS__0'],
    ['PGPROOF_NOTHING_LIKE_ANY_OF_THEM', 'docs/configuration.md lists every variable'],
    ['PGPROOF_', 'docs/configuration.md lists every variable'],
    ['PGPROOF_STORE__URL__X', 'did you mean PGPROOF_STORE__URL?'],
  ])('%s - unknown, with a hint', async (name, hint) => {
    await using folder = await configFolder()
    expect(await folder.faults(least, { [name]: 'hunter2' })).toEqual([
      expect.stringContaining(`${name}  no key has this variable  hint: ${hint}`),
    ])
  })

  it('a section - says what to set instead', async () => {
    await using folder = await configFolder()
    expect(await folder.faults(least, { PGPROOF_DRILL: '5', PGPROOF_SERVERS__0: 'x' })).toEqual([
      'PGPROOF_DRILL  this is a section, not a value  hint: set its keys, such as PGPROOF_DRILL__SCRATCH',
      'PGPROOF_SERVERS__0  this is a section, not a value  hint: set its keys, such as PGPROOF_SERVERS__0__NAME',
    ])
  })

  it('an index with a gap before it - says which is missing', async () => {
    await using folder = await configFolder()
    expect(await folder.faults(least, { PGPROOF_SERVERS__2__NAME: 'x' })).toEqual([
      'PGPROOF_SERVERS__2__NAME  servers.2.name: there is no servers.1 before it',
    ])
  })

  it('a value in the file where the variable needs a section - the one fault is that of the file', async () => {
    await using folder = await configFolder()
    expect(await folder.faults(`${least}drill: 5\n`, { PGPROOF_DRILL__JOBS: '8' })).toEqual([
      expect.stringMatching(/^pgproof\.yaml:6:8 {2}drill: /),
    ])
  })

  it('a name of several lines - unknown, and nothing like it is guessed', async () => {
    await using folder = await configFolder()
    const name = `PGPROOF_STORE__${'X'.repeat(100)}`
    expect(await folder.faults(least, { [name]: 'x' })).toEqual([
      `${name}  no key has this variable  hint: docs/configuration.md lists every variable`,
    ])
  })

  it('one key by two variables - says so', async () => {
    await using folder = await configFolder()
    const env = { PGPROOF_SERVERS__0__EVIDENCE: 'off', PGPROOF_SERVERS__0__EVIDENCE__LEVEL: 'count' }
    expect(await folder.faults(least, env)).toEqual([
      'PGPROOF_SERVERS__0__EVIDENCE__LEVEL  servers.0.evidence.level: is set by PGPROOF_SERVERS__0__EVIDENCE as well',
    ])
  })

  it('an empty variable - counts as not set, with a warning', async () => {
    await using folder = await configFolder()
    const { config, warnings } = await folder.load(least, { PGPROOF_DRILL__JOBS: '', LOG_LEVEL: '' })
    expect(config.drill.jobs).toBe(2)
    expect(warnings).toEqual(['PGPROOF_DRILL__JOBS  drill.jobs: is empty and counts as not set'])
  })

  it('those of tests, of Kubernetes and of everybody else - no fault', async () => {
    await using folder = await configFolder()
    const { warnings } = await folder.load(least, {
      PGPROOF_TEST_POSTGRES: 'x',
      PGPROOF_CONFIG: '',
      PGPROOF_SERVICE_HOST: '10.0.0.1',
      PGPROOF_SERVICE_PORT: '9432',
      PGPROOF_SERVICE_PORT_METRICS: '9432',
      PGPROOF_PORT: 'tcp://10.0.0.1:9432',
      PGPROOF_PORT_9432_TCP: 'tcp://10.0.0.1:9432',
      PGPROOF_PORT_9432_TCP_PROTO: 'tcp',
      PGPROOF_METRICS_PORT_9432_TCP_ADDR: '10.0.0.1',
      PATH: '/bin',
    })
    expect(warnings).toEqual([])
    expect(await folder.faults(least, { PGPROOF_PORT: '8080' })).toHaveLength(1)
  })

  it('a wrong value - reported by the name of the variable, after the faults of the file', async () => {
    await using folder = await configFolder()
    const env = { PGPROOF_DRILL__JOBS: 'many', PGPROOF_HTTP__METRICS_TOKEN: 'yes', PGPROOF_SERVERS__0__DATABASES: ',' }
    expect(await folder.faults(`${least}timezone: Nowhere\n`, env)).toEqual([
      expect.stringMatching(/^pgproof\.yaml:6:11 {2}timezone: /),
      'PGPROOF_DRILL__JOBS  drill.jobs: expected a whole number from 1 to 128, got "many"',
      'PGPROOF_HTTP__METRICS_TOKEN  http.metricsToken: expected true or false, got "yes"',
      'PGPROOF_SERVERS__0__DATABASES  servers.0.databases: expected all, or a list of names, got a list',
    ])
  })
})
