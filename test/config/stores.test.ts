import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { redactedConfig } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { configFolder, least, leastVariables, variable } from './folder.ts'

/** The least that loads, with these lines in place of its store. */
const withStores = (...lines: string[]): string => least.replace(/^store: .*$/m, lines.join('\n'))
const two = withStores('store:', '  - url: s3://backups/prod', '  - url: file:///srv/backups')
const withKeys = (more: string): string => least.replace('url: s3://backups/prod', `url: s3://backups/prod, ${more}`)
const key = 'accessKeyId: a, secretAccessKeyFile: secret'

describe('a list of stores', () => {
  it('in the file - each with its own settings, in its order, named by its place', async () => {
    await using folder = await configFolder()
    const third =
      '  - { url: s3://backups/prod, endpoint: "https://s3.example.com", required: false, partsInFlight: 9 }'
    const { config } = await folder.load(two.replace('\nencryption', `\n${third}\nencryption`))
    expect(config.stores).toMatchObject([
      { name: 'store', url: 's3://backups/prod', provider: 'aws', isRequired: true },
      { name: 'store2', url: 'file:///srv/backups', isRequired: true, partsInFlight: 3 },
      { name: 'store3', url: 's3://backups/prod', provider: 'generic', isRequired: false, partsInFlight: 9 },
    ])
  })

  it('by variables alone, with or without the number of the first - the same stores', async () => {
    await using folder = await configFolder()
    const second = { PGPROOF_STORE__1__URL: 'file:///srv/backups', PGPROOF_STORE__1__NAME: 'nas' }
    const { PGPROOF_STORE__URL: url, ...others } = leastVariables
    for (const first of ['PGPROOF_STORE__URL', 'PGPROOF_STORE__0__URL']) {
      const { config } = await folder.load(undefined, { ...others, ...second, [first]: url })
      expect(config.stores.map((store) => [store.name, store.url])).toEqual([
        ['store', 's3://backups/prod'],
        ['nas', 'file:///srv/backups'],
      ])
    }
  })

  it('a second by variables beside the one in the file - added to it', async () => {
    await using folder = await configFolder()
    const { config } = await folder.load(least, {
      PGPROOF_STORE__REGION: 'eu',
      PGPROOF_STORE__1__URL: 'file:///srv/backups',
      PGPROOF_STORE__1__REQUIRED: 'false',
    })
    expect(config.stores).toMatchObject([
      { url: 's3://backups/prod', region: 'eu', isRequired: true },
      { url: 'file:///srv/backups', isRequired: false },
    ])
  })

  it('in the file, and a variable without a number - sets the first', async () => {
    await using folder = await configFolder()
    const { config } = await folder.load(two, { PGPROOF_STORE__URL: 's3://other', PGPROOF_STORE__1__NAME: 'nas' })
    expect(config.stores.map(({ name, url }) => [name, url])).toEqual([
      ['store', 's3://other'],
      ['nas', 'file:///srv/backups'],
    ])
  })

  it('by an alias, and a section by an alias - read as if written there', async () => {
    await using folder = await configFolder()
    const stores = withStores(
      'store: [&one { url: s3://backups/a, retention: &kept { last: 9 } }, { url: s3://b-2, retention: *kept }]',
    )
    const { config } = await folder.load(stores)
    expect(config.stores.map(({ retention }) => retention?.last)).toEqual([9, 9])
    expect(await folder.faults(withStores('x: &s { url: s3://backups }', 'store: *s'))).toHaveLength(1)
  })

  it('with --store - one store, whatever the variables say of others', async () => {
    await using folder = await configFolder()
    const env = {
      PGPROOF_STORE__URL: 's3://elsewhere',
      PGPROOF_STORE__REQUIRED: 'false',
      PGPROOF_STORE__ACCESS_KEY_ID: 'id',
      PGPROOF_STORE__SECRET_ACCESS_KEY_FILE: 'secret',
      PGPROOF_STORE__1__URL: 's3://third',
      PGPROOF_STORE__3__URL: 's3://of-a-list-in-the-file',
    }
    const flags = { store: 's3://backups/prod', provider: 'minio', endpoint: 'https://s3.example.com' }
    const { config } = await loadConfig({ file: undefined, env, cwd: folder.path, isTerminal: false, flags })
    expect(config.stores).toMatchObject([{ url: 's3://backups/prod', provider: 'minio', accessKeyId: 'id' }])
    expect(config.stores[0].secretAccessKey?.reveal()).toBe('hunter2')
  })
})

describe('faults in a list of stores', () => {
  it('each named with its number and its line, all at once', async () => {
    await using folder = await configFolder()
    const yaml = withStores(
      'store:',
      '  - url: s3://backups/prod',
      '    partSize: 1MiB',
      '  - urll: s3://backups/b',
      '    objectLock: { mode: strict, for: 14d }',
    )
    expect(await folder.faults(yaml)).toEqual([
      expect.stringMatching(/^pgproof\.yaml:3:15 {2}store\.0\.partSize: expected a size/),
      expect.stringMatching(/^pgproof\.yaml:4:5 {2}store\.1\.url: is missing, expected s3:/),
      expect.stringMatching(/^pgproof\.yaml:4:5 {2}store\.1\.urll: unknown key {2}hint: did you mean url\?/),
      expect.stringMatching(/^pgproof\.yaml:5:25 {2}store\.1\.objectLock\.mode: expected governance or compliance/),
    ])
  })

  it.each([
    ['store: []', 'pgproof.yaml:1:8  store: expected at least one element, got an empty list'],
    ['store: 5', 'pgproof.yaml:1:8  store: expected a section with keys (url, '],
    ['store:', 'pgproof.yaml:1:7  store: expected a section with keys (url, '],
    ['store: [5]', 'pgproof.yaml:1:9  store.0: expected a section with keys (url, '],
    ['store: [[{ url: s3://backups }]]', 'pgproof.yaml:1:9  store.0: expected a section with keys (url, '],
    ['store: [{ }]', 'pgproof.yaml:1:9  store.0.url: is missing'],
    ['store: { url: 5 }', 'pgproof.yaml:1:15  store.url: expected s3://bucket/prefix'],
    ['store: { colour: red, url: s3://backups }', 'pgproof.yaml:1:10  store.colour: unknown key'],
  ])('%s - named as it is written', async (line, fault) => {
    await using folder = await configFolder()
    expect(await folder.faults(withStores(line))).toEqual([expect.stringContaining(fault)])
  })

  it('a variable that is not set in a list - its place, and nothing beside it', async () => {
    await using folder = await configFolder()
    expect(await folder.faults(two.replace('s3://backups/prod', `"${variable('NOT_SET')}"`))).toEqual([
      expect.stringMatching(/^pgproof\.yaml:2:10 {2}store\.0\.url: the environment variable NOT_SET is not set/),
    ])
  })

  it('by variables - named by them; one store without a number, several with it', async () => {
    await using folder = await configFolder()
    const { PGPROOF_STORE__URL: _, ...others } = leastVariables
    expect(await folder.faults(undefined, { ...others, PGPROOF_STORE__PART_SIZE: '1B' })).toEqual([
      expect.stringMatching(/^PGPROOF_STORE__PART_SIZE {2}store\.partSize: expected/),
      expect.stringMatching(/^PGPROOF_STORE__URL {2}store\.url: is missing/),
    ])
    expect(await folder.faults(undefined, { ...leastVariables, PGPROOF_STORE__1__PARTS_IN_FLIGHT: '0' })).toEqual([
      expect.stringMatching(/^PGPROOF_STORE__1__PARTS_IN_FLIGHT {2}store\.1\.partsInFlight: expected/),
      expect.stringMatching(/^PGPROOF_STORE__1__URL {2}store\.1\.url: is missing/),
    ])
  })

  it.each([
    ['PGPROOF_STORE__2__URL', 'store.2.url: there is no store.1 before it'],
    ['PGPROOF_STORE__1', 'this is a section, not a value'],
    ['PGPROOF_STORE', 'this is a section, not a value  hint: set its keys, such as PGPROOF_STORE__URL'],
    ['PGPROOF_STORE__0', 'this is a section, not a value  hint: set its keys, such as PGPROOF_STORE__0__URL'],
    ['PGPROOF_STORE__READER', 'hint: set its keys, such as PGPROOF_STORE__READER__ACCESS_KEY_ID'],
    ['PGPROOF_STORE__01__URL', 'no key has this variable'],
    ['PGPROOF_STORE__1__REGON', 'no key has this variable  hint: did you mean PGPROOF_STORE__1__REGION?'],
    ['PGPROOF_STORE__REGON', 'no key has this variable  hint: did you mean PGPROOF_STORE__REGION?'],
  ])('%s - says what is wrong with it', async (variable, fault) => {
    await using folder = await configFolder()
    const faults = await folder.faults(least, { [variable]: 's3://other' })
    expect(faults).toEqual([expect.stringContaining(`${variable}  `)])
    expect(faults[0]).toContain(fault)
  })

  it('the first store by both its variables - says so', async () => {
    await using folder = await configFolder()
    expect(await folder.faults(least, { PGPROOF_STORE__REGION: 'a', PGPROOF_STORE__0__REGION: 'b' })).toEqual([
      'PGPROOF_STORE__REGION  store.region: is set by PGPROOF_STORE__0__REGION as well',
    ])
  })
})

describe('the settings of one store', () => {
  it('every new key - in the configuration, its files read, its id as markers have it', async () => {
    await using folder = await configFolder()
    await folder.write('token', 'hunter3')
    const { config } = await folder.load(
      withKeys(
        `name: Off-site_1, id: 0B5F2C3E-8D0F-4C57-9A53-2F8F1C0C9D11, appendOnly: true, versions: remove,
  reader: { ${key}, sessionTokenFile: token }, pruner: { accessKeyId: p, secretAccessKey: hunter4 },
  retention: { daily: 30 }, rolesRetention: { last: 2 }, serverSideEncryption: aws:kms, kmsKeyId: alias/backup,
  storageClass: GLACIER_IR, tags: { team: databases, cost centre: "" },
  objectLock: { mode: governance, for: 14d }`,
      ),
    )
    const policy = { last: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, verified: 0 }
    const [store] = config.stores
    expect(store).toMatchObject({
      name: 'Off-site_1',
      id: '0b5f2c3e-8d0f-4c57-9a53-2f8f1c0c9d11',
      isAppendOnly: true,
      versions: 'remove',
      accessKeyId: undefined,
      reader: { accessKeyId: 'a' },
      pruner: { accessKeyId: 'p', sessionToken: undefined },
      retention: { ...policy, daily: 30 },
      rolesRetention: { ...policy, last: 2 },
      serverSideEncryption: 'aws:kms',
      kmsKeyId: 'alias/backup',
      storageClass: 'GLACIER_IR',
      tags: { team: 'databases', 'cost centre': '' },
    })
    expect(store.reader?.secretAccessKey?.reveal()).toBe('hunter2')
    expect(store.reader?.sessionToken?.reveal()).toBe('hunter3')
    expect(store.pruner?.secretAccessKey?.reveal()).toBe('hunter4')
  })

  it('credentials that read and remove - each store has its own, and none is ever printed', async () => {
    await using folder = await configFolder()
    await folder.write('third', 'hunter3')
    const { config } = await folder.load(
      withStores(
        'store:',
        `  - { url: s3://backups/a, reader: { accessKeyId: r, secretAccessKeyFile: secret } }`,
        `  - url: s3://backups/b`,
        `    reader: { accessKeyId: r, secretAccessKeyFile: third }`,
        `    pruner: { accessKeyId: p, secretAccessKey: hunter4, sessionToken: hunter5 }`,
      ),
    )
    expect(config.stores.map(({ reader }) => reader?.secretAccessKey?.reveal())).toEqual(['hunter2', 'hunter3'])
    const redacted = JSON.stringify(redactedConfig(config))
    expect([redacted, JSON.stringify(config), inspect(config, { depth: 20, showHidden: true })].join()).not.toMatch(
      /hunter/,
    )
    expect(redacted).toContain('"pruner":{"accessKeyId":"p","secretAccessKey":"[secret]","sessionToken":"[secret]"}')
  })

  it('tags by a variable - the same map', async () => {
    await using folder = await configFolder()
    const { config } = await folder.load(least, { PGPROOF_STORE__TAGS: 'team=databases, cost=a=b' })
    expect(config.stores[0].tags).toEqual({ team: 'databases', cost: 'a=b' })
  })

  it('the largest share of a prune - a number from 0 to 1', async () => {
    await using folder = await configFolder()
    for (const [text, share] of [
      ['1%', 0.01],
      ['100%', 1],
    ] as const)
      expect((await folder.load(`${least}prune: { largestShare: ${text} }\n`)).config.prune).toEqual({
        largestShare: share,
      })
    for (const wrong of ['0%', '101%', '050%', '50', '0.5', '5.5%'])
      expect(await folder.faults(`${least}prune: { largestShare: ${wrong} }\n`)).toEqual([
        expect.stringContaining('prune.largestShare: expected a percentage from 1% to 100%, got '),
      ])
  })

  it.each([
    ['name: ""', 'store.name: expected a name of 1 to 63 letters, digits, - and _, got ""'],
    ['name: a b', 'store.name: expected a name'],
    ['name: a/b', 'store.name: expected a name'],
    ['id: main', 'store.id: expected a UUID, got "main"'],
    ['required: maybe', 'store.required: expected true or false'],
    ['serverSideEncryption: aws', 'store.serverSideEncryption: expected AES256 or aws:kms, got "aws"'],
    ['versions: drop', 'store.versions: expected keep or remove, got "drop"'],
    ['storageClass: GLACIER', 'got "GLACIER": a drill or a restore could not read it  hint: such as STANDARD_IA'],
    ['storageClass: deep_archive', 'got "deep_archive": a drill or a restore could not read it'],
    ['storageClass: "A\\nB"', 'store.storageClass: expected the name of a storage class'],
    ['retention: { daily: 0 }', 'store.retention: it would keep nothing'],
    ['retention: {}', 'store.retention: it would keep nothing'],
    ['rolesRetention: { last: 0 }', 'store.rolesRetention: it would keep nothing'],
    ['tags: { "aws:x": a }', 'store.tags.aws:x: expected a text for each tag'],
    ['tags: { year: 2030 }', 'store.tags.year: expected a text for each tag'],
    ['tags: { a: "b<c" }', 'store.tags.a: expected a text for each tag'],
    [`tags: { ${'k'.repeat(129)}: a }`, 'expected a text for each tag'],
    [`tags: { a: ${'v'.repeat(257)} }`, 'store.tags.a: expected a text for each tag'],
    [`tags: { ${'abcdefghijk'.split('').join(': x, ')}: x }`, 'got a section: an object has 10 at most'],
  ])('%s - says what is wrong', async (text, fault) => {
    await using folder = await configFolder()
    expect(await folder.faults(withKeys(text))).toEqual([expect.stringContaining(fault)])
  })
})
