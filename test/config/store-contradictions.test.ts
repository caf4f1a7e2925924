import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { configFolder, least } from './folder.ts'

const withStore = (text: string): string => least.replace(/^store: .*$/m, `store: ${text}`)
const bucket = (more: string): string => withStore(`{ url: s3://backups/prod, ${more} }`)
const directory = (more: string): string => withStore(`{ url: file:///srv/backups, ${more} }`)
const list = (...stores: string[]): string => withStore(`[${stores.map((store) => `{ ${store} }`).join(', ')}]`)
const key = 'accessKeyId: a, secretAccessKeyFile: secret'

describe('stores that contradict each other', () => {
  it.each([
    [
      'two of one name',
      list('url: s3://backups/a, name: x', 'url: s3://backups/b, name: x'),
      'store.1.name: "x" is the name of store.0 as well  hint: give each store a name of its own',
    ],
    [
      'a name that is the default of one before',
      list('url: s3://backups/a', 'url: s3://backups/b, name: store'),
      'store.1.name: "store" is the name of store.0 as well',
    ],
    [
      'a name that is the default of one after',
      list('url: s3://backups/a, name: store2', 'url: s3://backups/b'),
      'pgproof.yaml:1:38  store.0.name: "store2" is the name of store.1 as well',
    ],
    [
      'two at one address',
      list('url: s3://backups/a', 'url: s3://backups/a'),
      'pgproof.yaml:1:41  store.1.url: is where store.0 is as well  hint: give each store a place of its own',
    ],
    [
      'two at one address, spelled differently',
      list(
        'url: s3://backups/a/, endpoint: "https://s3.example.com"',
        'url: s3://backups//a, endpoint: "https://S3.example.com:443/"',
      ),
      'store.1.url: is where store.0 is as well',
    ],
    [
      'a prefix within another',
      list('url: s3://backups/a/b', 'url: s3://backups/a'),
      'store.0.url: lies within store.1',
    ],
    [
      'one directory twice',
      list('url: file:///srv/backups', 'url: "file:///srv/%62ackups/"'),
      'store.1.url: is where store.0 is as well',
    ],
    [
      'a directory within another',
      list('url: file:///srv/backups', 'url: file:///srv/backups/more'),
      'store.1.url: lies within store.0',
    ],
    [
      'a directory around another',
      list('url: file:///srv/backups/more', 'url: file:///srv'),
      'store.0.url: lies within store.1',
    ],
    [
      'none that is required',
      list('url: s3://backups/a, required: false', 'url: s3://backups/b, required: false'),
      'pgproof.yaml:1:42  store.0.required: no store is required, so that a backup would succeed without being anywhere',
    ],
    ['the only one not required', bucket('required: false'), 'store.required: no store is required'],
    [
      'an access key without its secret in the second',
      list('url: s3://backups/a', 'url: s3://backups/b, accessKeyId: a'),
      'store.1.accessKeyId: is given without its secret  hint: set store.1.secretAccessKeyFile',
    ],
    [
      'a provider without an endpoint in the second',
      list('url: s3://backups/a', 'url: s3://backups/b, provider: minio'),
      'store.1.provider: "minio" needs store.1.endpoint',
    ],
  ])('%s - one fault', async (_, yaml, fault) => {
    await using folder = await configFolder()
    expect(await folder.faults(yaml)).toEqual([expect.stringContaining(fault)])
  })

  it('neighbours by name, buckets of other servers, optional ones beside a required one - no fault', async () => {
    await using folder = await configFolder()
    const { config, warnings } = await folder.load(
      list(
        'url: s3://backups/a, required: false',
        'url: s3://backups/ab',
        'url: s3://backups/a, endpoint: "https://s3.example.com"',
        'url: s3://backups/a, endpoint: "https://s3.example.com:8443"',
        'url: file:///srv/a',
        'url: file:///srv/ab, required: false',
      ),
    )
    expect(warnings).toEqual([])
    expect(config.stores).toHaveLength(6)
  })

  it('several at once - all reported, with the faults of single values', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults(
      list(
        'url: s3://backups/a, name: x, required: false, storageClass: GLACIER',
        'url: s3://backups/a, name: x, required: false, kmsKeyId: k, reader: { accessKeyId: a }',
      ),
    )
    expect(faults.map((line) => line.split(/ {2}|: /)[1])).toEqual([
      'store.0.required',
      'store.0.storageClass',
      'store.1.url',
      'store.1.name',
      'store.1.kmsKeyId',
      'store.1.reader.accessKeyId',
    ])
  })

  it('an address with a misplaced secret - not quoted', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults(list('url: s3://k:hunter2@backups', 'url: s3://k:hunter2@backups'))
    expect(faults.length).toBeGreaterThan(1)
    expect(faults.join()).not.toContain('hunter2')
  })
})

describe('a store that contradicts itself', () => {
  it.each([
    [
      'credentials that read, and no access key',
      bucket('reader: { secretAccessKey: b }'),
      'store.reader.secretAccessKey: is given without store.reader.accessKeyId',
    ],
    [
      'credentials that remove, and no secret',
      bucket('pruner: { accessKeyId: a }'),
      'store.pruner.accessKeyId: is given without its secret  hint: set store.pruner.secretAccessKeyFile',
    ],
    [
      'a secret of credentials twice',
      bucket(`reader: { ${key}, secretAccessKey: b }`),
      'store.reader.secretAccessKeyFile: is given beside secretAccessKey',
    ],
    [
      'a token of credentials twice',
      bucket(`pruner: { ${key}, sessionToken: b, sessionTokenFile: secret }`),
      'store.pruner.sessionTokenFile: is given beside sessionToken',
    ],
    [
      'a token of credentials alone',
      bucket('pruner: { sessionToken: b }'),
      'store.pruner.sessionToken: is given without store.pruner.accessKeyId',
    ],
    [
      'credentials without anything',
      bucket('reader: {}'),
      'store.reader: names no credentials  hint: set its accessKeyId and secretAccessKeyFile, or remove it',
    ],
    ['a KMS key and no encryption', bucket('kmsKeyId: k'), 'store.kmsKeyId: is used by aws:kms only'],
    [
      'a KMS key and another encryption',
      bucket('serverSideEncryption: AES256, kmsKeyId: k'),
      'store.kmsKeyId: is used by aws:kms only  hint: set serverSideEncryption: aws:kms, or remove it',
    ],
    ['a directory with other credentials', directory(`reader: { ${key} }`), 'store.reader: has no meaning with a file'],
    ['a directory, and credentials that remove', directory(`pruner: { ${key} }`), 'store.pruner: has no meaning with'],
    ['a directory with tags', directory('tags: { a: b }'), 'store.tags: has no meaning with a file:// store'],
    ['a directory with versions', directory('versions: remove'), 'store.versions: has no meaning with a file:// store'],
    ['a directory with a storage class', directory('storageClass: STANDARD'), 'store.storageClass: has no meaning'],
    ['a directory encrypted by S3', directory('serverSideEncryption: AES256'), 'store.serverSideEncryption: has no'],
    [
      'a directory that can only be appended to',
      directory('appendOnly: true'),
      'store.appendOnly: cannot be with a file:// store: who may write there may remove as well  hint: remove it',
    ],
  ])('%s - one fault', async (_, yaml, fault) => {
    await using folder = await configFolder()
    expect(await folder.faults(yaml)).toEqual([expect.stringContaining(fault)])
  })

  it.each([
    ['object lock, and versions removed', bucket('versions: remove, objectLock: { mode: governance, for: 14d }')],
    ['aws:kms without a key', bucket('serverSideEncryption: aws:kms')],
    ['a directory with a name, an id, its own retention', directory('name: nas, retention: { last: 9 }')],
    ['a directory that need not be append-only', directory('appendOnly: false')],
    ['credentials that read beside the credential chain', bucket(`reader: { ${key} }`)],
  ])('%s - no fault', async (_, yaml) => {
    await using folder = await configFolder()
    expect((await folder.load(yaml)).warnings).toEqual([])
  })

  it('by --store and variables - the flag and the variable are named', async () => {
    await using folder = await configFolder()
    const env = { PGPROOF_STORE__APPEND_ONLY: 'true' }
    const flags = { store: '/srv/backups' }
    const failure = loadConfig({ file: undefined, env, cwd: folder.path, isTerminal: false, flags })
    await expect(failure).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: expect.stringMatching(/^PGPROOF_STORE__APPEND_ONLY {2}store\.appendOnly: cannot be/),
    })
  })
})
