import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { configFolder, least, variable } from './folder.ts'

describe('a file that is right', () => {
  it('the least that is needed - every default filled in, in milliseconds and bytes', async () => {
    await using folder = await configFolder()
    const { config, warnings, source } = await folder.load(least)
    expect(source).toBe(join(folder.path, 'pgproof.yaml'))
    expect(warnings).toEqual([])
    expect(config).toEqual({
      isStoreOnly: false,
      timezone: 'UTC',
      stores: [
        {
          name: 'store',
          isRequired: true,
          id: undefined,
          reader: undefined,
          pruner: undefined,
          isAppendOnly: false,
          retention: undefined,
          rolesRetention: undefined,
          url: 's3://backups/prod',
          endpoint: undefined,
          region: undefined,
          provider: 'aws',
          accessKeyId: undefined,
          secretAccessKey: undefined,
          sessionToken: undefined,
          caFile: undefined,
          partSizeBytes: 8_388_608,
          partsInFlight: 3,
          objectLock: undefined,
          serverSideEncryption: undefined,
          kmsKeyId: undefined,
          storageClass: undefined,
          tags: {},
          versions: 'keep',
        },
      ],
      prune: { largestShare: 0.5 },
      encryption: {
        recipients: [join(folder.path, 'key.asc')],
        privateKeyFiles: [],
        passphrase: undefined,
        signingKeyFile: undefined,
        signingPassphrase: undefined,
        trustedSigners: [],
      },
      servers: [
        {
          name: 'main',
          url: 'postgres://backup@db:5432/postgres',
          password: undefined,
          passwordFile: undefined,
          databases: 'all',
          exclude: [],
          schedule: { backup: undefined, roles: undefined, drill: undefined },
          jitterMs: 0,
          retry: { attempts: 8, delayMs: 300_000 },
          label: undefined,
          maxConcurrent: undefined,
          retention: { last: 3, daily: 7, weekly: 4, monthly: 12, yearly: 0, verified: 2 },
          rolesRetention: { last: 5, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0 },
          compression: { method: 'zstd', level: 1 },
          evidence: { level: 'digest', tables: {} },
          objectives: { rpoMs: undefined, rtoMs: undefined },
          checks: [],
          lockTimeoutMs: 30_000,
          backupDeadlineMs: 86_400_000,
          censusConnections: 2,
        },
      ],
      serversFrom: undefined,
      drill: {
        scratch: { kind: 'embedded' },
        pick: 'random',
        withinMs: 30 * 86_400_000,
        jobs: 2,
        spool: '/var/tmp/pgproof',
        deadlineMs: 12 * 3_600_000,
        runAs: 'nobody',
        parameters: {},
        amcheck: false,
        keepReportsMs: 730 * 86_400_000,
      },
      postgres: { binDirs: [] },
      http: {
        listen: { host: '127.0.0.1', port: 9432 },
        tokens: [],
        metricsToken: false,
        localRead: true,
        tls: undefined,
        rateLimit: 600,
      },
      notify: [],
      daemon: { graceMs: 25_000, maxConcurrent: 2, catalogRefreshMs: 300_000, notifyTest: undefined },
      fleet: undefined,
      log: { level: 'info', format: 'json' },
    } satisfies Config)
  })

  it('the result - frozen to its depth', async () => {
    await using folder = await configFolder()
    const { config } = await folder.load(least)
    const parts: unknown[] = [config, config.servers, config.servers[0]?.retention, config.encryption.recipients]
    expect(parts.every(Object.isFrozen)).toBe(true)
  })

  it('parameters of the scratch server - as they are; one that would break its isolation or a line - a fault', async () => {
    await using folder = await configFolder()
    const given = await folder.load(
      `${least}drill: { parameters: { work_mem: 7MB, timescaledb.telemetry: "it's off" } }\n`,
    )
    expect(given.config.drill.parameters).toEqual({ work_mem: '7MB', 'timescaledb.telemetry': "it's off" })
    for (const name of ['listen_addresses', 'PORT', 'ssl_cert_file', 'archive_command', 'hba_file', 'include_dir'])
      expect(await folder.faults(`${least}drill: { parameters: { ${name}: x } }\n`), name).toHaveLength(1)
    expect(await folder.faults(`${least}drill: { parameters: { "a b": x } }\n`)).toHaveLength(1)
    expect(await folder.faults(`${least}drill: { parameters: { work_mem: "1\\nport = 1" } }\n`)).toHaveLength(1)
  })

  it('a policy with one key - the other keys are 0', async () => {
    await using folder = await configFolder()
    const { config } = await folder.load(`${least}    retention: { daily: 30 }\n`)
    expect(config.servers[0]?.retention).toEqual({ last: 0, daily: 30, weekly: 0, monthly: 0, yearly: 0, verified: 0 })
  })

  it('evidence as a level alone and as a section - the same shape', async () => {
    await using folder = await configFolder()
    const short = await folder.load(`${least}    evidence: count\n`)
    const long = await folder.load(`${least}    evidence: { tables: { "public.log": off } }\n`)
    expect(short.config.servers[0]?.evidence).toEqual({ level: 'count', tables: {} })
    expect(long.config.servers[0]?.evidence).toEqual({ level: 'digest', tables: { 'public.log': 'off' } })
  })

  it('compression none - level 0; another method - level 1', async () => {
    await using folder = await configFolder()
    const none = await folder.load(`${least}    compression: { method: none }\n`)
    const gzip = await folder.load(`${least}    compression: { method: gzip }\n`)
    expect([none, gzip].map(({ config }) => config.servers[0]?.compression.level)).toEqual([0, 1])
  })

  it('an endpoint - provider generic, whose profile has a region to sign with', async () => {
    await using folder = await configFolder()
    const { config } = await folder.load(
      least.replace('prod }', 'prod, endpoint: "http://localhost:9000", objectLock: { mode: compliance, for: 2w } }'),
    )
    expect(config.stores[0]).toMatchObject({
      provider: 'generic',
      region: undefined,
      objectLock: { mode: 'compliance', forMs: 1_209_600_000 },
    })
  })

  it('one private key or several - a list', async () => {
    await using folder = await configFolder()
    const one = await folder.load(least.replace('[key.asc]', '[key.asc], privateKeyFile: escrow.asc'))
    const two = await folder.load(least.replace('[key.asc]', '[key.asc], privateKeyFile: [escrow.asc, key.asc]'))
    const paths = ['escrow.asc', 'key.asc'].map((name) => join(folder.path, name))
    expect(one.config.encryption.privateKeyFiles).toEqual(paths.slice(0, 1))
    expect(two.config.encryption.privateKeyFiles).toEqual(paths)
  })

  it('addresses to listen on - host and port, null for off', async () => {
    await using folder = await configFolder()
    const each = []
    for (const listen of ['"[::1]:0"', 'localhost:80', 'off'])
      each.push((await folder.load(`${least}http: { listen: ${listen} }\n`)).config.http.listen)
    expect(each).toEqual([{ host: '::1', port: 0 }, { host: 'localhost', port: 80 }, null])
  })

  it('relative paths - relative to the folder of the file, not to the working directory', async () => {
    await using folder = await configFolder()
    await folder.write('etc/pgproof.yaml', `${least}drill: { spool: spool }\n`)
    await folder.write('etc/key.asc', 'a key')
    const { config } = await loadConfig({ file: 'etc/pgproof.yaml', env: {}, cwd: folder.path })
    expect(config.encryption.recipients).toEqual([join(folder.path, 'etc/key.asc')])
    expect(config.drill.spool).toBe(join(folder.path, 'etc/spool'))
  })

  it('anchors and aliases - resolved', async () => {
    await using folder = await configFolder()
    const { config } = await folder.load(`${least}    retention: &policy { last: 9 }\n    rolesRetention: *policy\n`)
    expect(config.servers[0]?.rolesRetention.last).toBe(9)
  })

  it('variables in values - replaced, converted to what the key wants, and $${ kept', async () => {
    await using folder = await configFolder()
    const yaml = `${least}    exclude: ["${variable('A')}-$${variable('B')}"]
    databases: ${variable('NAMES')}
drill: { jobs: "${variable('JOBS')}" }
http: { listen: "0.0.0.0:${variable('PORT')}" }
`
    const { config } = await folder.load(yaml, { A: 'a', NAMES: 'x, y', JOBS: '7', PORT: '81' })
    expect(config.servers[0]).toMatchObject({ exclude: [`a-${variable('B')}`], databases: ['x', 'y'] })
    expect(config.drill.jobs).toBe(7)
    expect(config.http.listen?.port).toBe(81)
  })
})

describe('faults', () => {
  it('five at once - all reported, each with its line and column, in the order of the file', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults(`timezone: Mars/Olympus
store:
  urll: s3://backups/prod
  url: s3://backups/prod
encryption:
  recipients: [key.asc, missing.asc]
servers:
  - name: main
    url: postgres://backup@db/postgres
    retention:
      daily: often
    objectives: { rpo: 26 }
`)
    expect(faults).toEqual([
      'pgproof.yaml:1:11  timezone: expected an IANA time zone, got "Mars/Olympus"  hint: such as UTC or Europe/Berlin',
      'pgproof.yaml:3:3  store.urll: unknown key  hint: did you mean url?',
      `pgproof.yaml:6:25  encryption.recipients.1: cannot read ${folder.path}/missing.asc: it does not exist  hint: relative paths start at ${folder.path}`,
      'pgproof.yaml:11:14  servers.0.retention.daily: expected a whole number ≥ 0, got "often"',
      'pgproof.yaml:12:24  servers.0.objectives.rpo: expected a duration of at least 1s, got 26  hint: write a whole number and its unit: s, m, h, d or w, such as 30s, 15m, 26h or 14d',
    ])
  })

  it('one or several - counted in the message', async () => {
    await using folder = await configFolder()
    await expect(folder.load(`${least}colour: red\n`)).rejects.toThrow('the configuration has 1 fault')
    await expect(folder.load(`${least}colour: red\nshape: round\n`)).rejects.toThrow('the configuration has 2 faults')
  })

  it('nothing in the file - what is missing, at its start', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults('# nothing yet\n')
    expect(faults.map((line) => line.split(', ')[0])).toEqual([
      'pgproof.yaml:1:1  store.url: is missing',
      'pgproof.yaml:1:1  encryption.recipients: is missing',
      'pgproof.yaml:1:1  servers.0.name: is missing',
      'pgproof.yaml:1:1  servers.0.url: is missing',
    ])
  })

  it('a key missing in a section - reported where the section starts', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults(`${least}http:\n  tokens:\n    - name: ops\n      hash: ${'a'.repeat(64)}\n`)
    expect(faults).toEqual([expect.stringMatching(/^pgproof\.yaml:8:7 {2}http\.tokens\.0\.scope: is missing/)])
  })

  it.each([
    ['timezone:', 'timezone: expected an IANA time zone, got nothing  hint: give a value, or remove the key'],
    ['timezone: "+02:00"', 'timezone: expected an IANA time zone'],
    ['drill: 5', 'drill: expected a section with keys (scratch, '],
    ['drill: [a]', 'drill: expected a section with keys (scratch, '],
    ['drill: { jobs: 0 }', 'drill.jobs: expected a whole number from 1 to 128, got 0'],
    ['drill: { jobs: 1.5 }', 'drill.jobs: expected a whole number from 1 to 128, got 1.5'],
    ['drill: { jobs: "2" }', 'drill.jobs: expected a whole number from 1 to 128, got "2"'],
    ['drill: { jobs: [2] }', 'drill.jobs: expected a whole number from 1 to 128, got a list'],
    ['drill: { pick: worst }', 'drill.pick: expected random or latest, got "worst"'],
    ['drill: { within: 0s }', 'drill.within: expected a duration of at least 1s, got "0s"'],
    ['drill: { runAs: 1000 }', 'drill.runAs: expected the name of a user, got 1000  hint: quote it'],
    ['drill: { scratch: postgres://db/x }', 'it names no user'],
    ['http: { listen: ":9432" }', 'http.listen: expected host:port, or off, got ":9432"'],
    ['http: { listen: "0.0.0.0:99999" }', 'http.listen: expected host:port, or off'],
    ['http: { tokens: 5 }', 'http.tokens: expected a list of sections, got a single value'],
    ['http: { metricsToken: maybe }', 'http.metricsToken: expected true or false, got "maybe"'],
    [
      'http: { tokens: [{ name: a, scope: all, hash: nope }] }',
      'http.tokens.0.scope: expected one of read, drill, backup',
    ],
    [
      'postgres: { binDirs: [/a, /a] }',
      'postgres.binDirs: expected a list of directories, got a list: it names one twice',
    ],
    ['log: { level: loud }', 'log.level: expected one of debug, info, warn, error, silent, got "loud"'],
    ['recipients: [a]', 'recipients: unknown key  hint: did you mean encryption.recipients?'],
    ['zzzzzzzz: 1', 'zzzzzzzz: unknown key  hint: known keys here: timezone, store, '],
    ['notify: [{}]', 'notify.0: tells nobody'],
  ])('%s - says so', async (line, fault) => {
    await using folder = await configFolder()
    const faults = await folder.faults(`${least}${line}\n`)
    expect(faults.filter((found) => found.includes(fault))).toHaveLength(1)
  })

  it.each([
    ['name: ""', 'servers.0.name: expected a name of 1 to 63 printable characters, got ""'],
    ['name: "a\\tb"', 'servers.0.name: expected a name'],
    [`name: ${'x'.repeat(64)}`, 'servers.0.name: expected a name'],
    ['name: 12', 'servers.0.name: expected a name of 1 to 63 printable characters, got 12  hint: quote it'],
    ['databases: []', 'servers.0.databases: expected all, or a list of names, got a list'],
    ['databases: some', 'servers.0.databases: expected all, or a list of names, got "some"'],
    ['databases: [a, 5]', 'servers.0.databases'],
    ['databases: [a, a]', 'servers.0.databases: expected all, or a list of names, got a list: it names one twice'],
    [
      'schedule: { backup: daily }',
      'servers.0.schedule.backup: expected a cron expression of five fields, got "daily"',
    ],
    ['schedule: { backup: "0 0 2 * * *" }', 'servers.0.schedule.backup: expected a cron expression of five fields'],
    ['schedule: { backup: "0 25 * * *" }', 'got "0 25 * * *": the field hour is wrong'],
    ['schedule: { backups: "0 2 * * *" }', 'servers.0.schedule.backups: unknown key  hint: did you mean backup?'],
    ['retention: {}', 'servers.0.retention: it would keep nothing'],
    ['retention: { daily: 0 }', 'servers.0.retention: it would keep nothing'],
    ['retention: { daily: -1 }', 'servers.0.retention.daily: expected a whole number ≥ 0, got -1'],
    ['rolesRetention: { last: 0 }', 'servers.0.rolesRetention: it would keep nothing'],
    ['compression: { method: xz }', 'servers.0.compression.method: expected one of zstd, gzip, lz4, none, got "xz"'],
    [
      'compression: { method: gzip, level: 10 }',
      'servers.0.compression.level: expected a whole number from 1 to 19, got 10: this',
    ],
    ['compression: { method: none, level: 1 }', 'servers.0.compression.level'],
    ['evidence: full', 'servers.0.evidence.level: expected one of digest, count, off, got "full"'],
    ['evidence: { tables: { orders: off } }', 'servers.0.evidence.tables.orders: expected a level'],
    ['evidence: { tables: { "a.b": full } }', 'servers.0.evidence.tables.a.b: expected a level (digest, count, off)'],
    ['checks: [{ name: a, sql: "" }]', 'servers.0.checks.0.sql: expected a query, got ""'],
    ['lockTimeout: 30', 'servers.0.lockTimeout: expected a duration of at least 1s, got 30'],
    ['passwordFile: missing', 'servers.0.passwordFile: cannot read the file: it does not exist'],
    ['passwordFile: .', 'servers.0.passwordFile: cannot read the file: it is a directory'],
    ['passwordFile: empty', 'servers.0.passwordFile: cannot read the file: it is empty'],
    ['passwordFile: large', 'servers.0.passwordFile: cannot read the file: it is too large for a secret'],
    ['passwordFile: key.asc/x', 'servers.0.passwordFile: cannot read the file: it does not exist'],
  ])('server with %s - says so', async (line, fault) => {
    await using folder = await configFolder()
    await folder.write('empty', '\n')
    await folder.write('large', 'x'.repeat(70_000))
    const yaml = line.startsWith('name:') ? least.replace('name: main', line) : `${least}    ${line}\n`
    const faults = await folder.faults(yaml)
    expect(faults.filter((found) => found.includes(fault))).toHaveLength(1)
  })

  it.each([
    ['url: ftp://x/y', 'store.url: expected s3://bucket/prefix, or file:///directory'],
    ['url: s3://k:s@bucket/x', 'store.url: expected'],
    ['url: s3://bucket/../other', 'store.url: expected'],
    ['url: file://relative/x', 'store.url: expected'],
    ['url: file:///', 'store.url: expected'],
    ['url: s3://backups, partSize: 1MiB', 'store.partSize: expected a size from 5MiB to 5GiB, got "1MiB"'],
    ['url: s3://backups, partSize: 8388608', 'store.partSize: expected a size from 5MiB to 5GiB, got 8388608'],
    ['url: s3://backups, endpoint: s3.example.com', 'store.endpoint: expected a URL like'],
    ['url: s3://backups, endpoint: "https://h/bucket"', 'store.endpoint: expected a URL like'],
    ['url: s3://backups, objectLock: { mode: strict }', 'store.objectLock.mode: expected governance or compliance'],
    ['url: s3://backups, objectLock: { mode: strict }', 'store.objectLock.for: is missing'],
    ['url: s3://backups, caFile: missing.pem', 'store.caFile: cannot read'],
  ])('store with %s - says so', async (text, fault) => {
    await using folder = await configFolder()
    const faults = await folder.faults(least.replace('url: s3://backups/prod', text))
    expect(faults.filter((found) => found.includes(fault))).toHaveLength(1)
  })

  it('no server, no recipient - says so', async () => {
    await using folder = await configFolder()
    const yaml = 'store: { url: s3://backups }\nencryption: { recipients: [] }\nservers: []\n'
    expect(await folder.faults(yaml)).toEqual([
      'pgproof.yaml:2:27  encryption.recipients: expected a list of paths of public keys, at least one, got a list',
      'pgproof.yaml:3:10  servers: expected at least one element, got an empty list',
    ])
  })

  it('a certificate in the URL that cannot be read - says so', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults(least.replace('/postgres\n', '/postgres?sslrootcert=ca.pem\n'))
    expect(faults).toEqual([
      expect.stringContaining(`servers.0.url: cannot read ${folder.path}/ca.pem: it does not exist`),
    ])
  })

  it('a variable that is not set, and one that is no name - one fault each, nothing beside it', async () => {
    await using folder = await configFolder()
    const yaml = `${least}drill:\n  jobs: ${variable('NOT_SET')}\n  spool: "${variable('1')}"\n`
    expect(await folder.faults(yaml)).toEqual([
      expect.stringMatching(/^pgproof\.yaml:7:9 {2}drill\.jobs: the environment variable NOT_SET is not set/),
      expect.stringMatching(
        /^pgproof\.yaml:8:10 {2}drill\.spool: \$\{ must be followed by the name of a variable and \}/,
      ),
    ])
  })
})
