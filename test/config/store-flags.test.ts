import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import type { StoreFlags } from '../../src/config/store-flags.ts'
import { type ConfigFolder, configFolder, least } from './folder.ts'

const load = async (
  folder: ConfigFolder,
  flags: StoreFlags,
  env: NodeJS.ProcessEnv = {},
  file?: string,
): ReturnType<typeof loadConfig> => loadConfig({ file, env, cwd: folder.path, isTerminal: false, flags })

describe('--store', () => {
  it('alone - no file is read, no servers and no recipients; defaults as ever', async () => {
    await using folder = await configFolder()
    const { config, source } = await load(folder, { store: 's3://backups/prod' }, { PGPROOF_CONFIG: 'not-there.yaml' })
    expect(source).toBe('--store')
    expect(config).toMatchObject({ isStoreOnly: true, servers: [], timezone: 'UTC' })
    expect(config.stores[0]).toMatchObject({ url: 's3://backups/prod', provider: 'aws', region: undefined })
    expect(config.encryption).toMatchObject({ recipients: [], privateKeyFiles: [], trustedSigners: [] })
  })

  it.each([
    ['store', 'store'],
    ['./my store#1', 'my store#1'],
    ['/srv/backups/', '/srv/backups'],
  ])('%s - the URL of that directory', async (given, path) => {
    await using folder = await configFolder()
    const { config } = await load(folder, { store: given })
    expect(config.stores[0].url).toBe(pathToFileURL(path.startsWith('/') ? path : join(folder.path, path)).href)
  })

  it('with everything - endpoint, region, provider, keys and signers, relative to the working directory', async () => {
    await using folder = await configFolder()
    const { config, warnings } = await load(folder, {
      store: 's3://backups/prod',
      endpoint: 'https://s3.example.com',
      region: 'eu',
      provider: 'minio',
      key: ['key.asc', 'escrow.asc'],
      passphraseFile: 'secret',
      trustedSigner: ['key.asc'],
    })
    expect(warnings).toEqual([])
    expect(config.stores[0]).toMatchObject({ endpoint: 'https://s3.example.com', region: 'eu', provider: 'minio' })
    const { privateKeyFiles, passphrase, trustedSigners } = config.encryption
    expect(privateKeyFiles).toEqual(['key.asc', 'escrow.asc'].map((name) => join(folder.path, name)))
    expect(passphrase?.reveal()).toBe('hunter2')
    expect(trustedSigners).toEqual([join(folder.path, 'key.asc')])
  })

  it('and variables - they count, below the flags', async () => {
    await using folder = await configFolder()
    const env = {
      PGPROOF_STORE__URL: 's3://elsewhere',
      PGPROOF_STORE__ACCESS_KEY_ID: 'id',
      PGPROOF_STORE__SECRET_ACCESS_KEY_FILE: 'secret',
      PGPROOF_DRILL__SPOOL: 'spool',
    }
    const { config } = await load(folder, { store: 's3://backups/prod' }, env)
    expect(config.stores[0]).toMatchObject({ url: 's3://backups/prod', accessKeyId: 'id' })
    expect(config.stores[0].secretAccessKey?.reveal()).toBe('hunter2')
    expect(config.drill.spool).toBe(join(folder.path, 'spool'))
  })

  it.each<[string, StoreFlags, string]>([
    ['another scheme', { store: 'ftp://host/backups' }, '--store: expected s3://bucket/prefix, or file:///directory'],
    ['nothing', { store: '' }, '--store: expected s3://'],
    ['an endpoint for a directory', { store: 'dir', endpoint: 'https://s3' }, '--endpoint: has no meaning with a file'],
    [
      'an endpoint with a path',
      { store: 's3://backups', endpoint: 'https://s3/x' },
      'bucket and prefix belong to --store',
    ],
    ['a provider alone', { store: 's3://backups', provider: 'minio' }, '--provider: "minio" needs --endpoint'],
    ['a key that is not there', { store: 'dir', key: ['none.asc'] }, '/none.asc: it does not exist'],
    ['an empty key', { store: 'dir', key: [''] }, '--key: expected a path'],
    ['a key twice', { store: 'dir', key: ['key.asc', 'key.asc'] }, '--key: expected a path, or a list of paths'],
    [
      'a passphrase without a key',
      { store: 'dir', passphraseFile: 'secret' },
      '--passphrase-file: is given without --key',
    ],
    ['an endpoint without a store', { endpoint: 'https://s3' }, '--endpoint goes with --store'],
  ])('%s - USAGE_INVALID that names the flag and no key of a file', async (_what, flags, message) => {
    await using folder = await configFolder()
    const failure = await load(folder, flags).catch((thrown: unknown) => thrown)
    expect(failure).toMatchObject({ code: 'USAGE_INVALID', message: expect.stringContaining(message) })
    expect(String(failure)).not.toMatch(/store\.|encryption\./)
  })

  it('a passphrase file that cannot be read - its name is not told, it may be the passphrase', async () => {
    await using folder = await configFolder()
    const failure = await load(folder, { store: 'dir', key: ['key.asc'], passphraseFile: 'hunter2' }).catch(String)
    expect(failure).toContain('--passphrase-file: cannot read the file: it does not exist')
    expect(failure).not.toContain('hunter2')
  })

  it('together with --config - USAGE_INVALID', async () => {
    await using folder = await configFolder()
    await expect(load(folder, { store: 'dir' }, {}, 'pgproof.yaml')).rejects.toMatchObject({ code: 'USAGE_INVALID' })
  })

  it('and a variable that is wrong - CONFIG_INVALID that names the variable', async () => {
    await using folder = await configFolder()
    const failure = load(folder, { store: 'dir' }, { PGPROOF_DRILL__JOBS: 'many' })
    await expect(failure).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: expect.stringMatching(/^PGPROOF_DRILL__JOBS {2}drill\.jobs: /),
    })
  })
})

describe('--key beside a configuration', () => {
  it('in place of the keys in the file, whose passphrase is not tried on it', async () => {
    await using folder = await configFolder()
    const encryption =
      'encryption: { recipients: [key.asc], privateKeyFile: [key.asc, gone.asc], passphraseFile: secret }'
    await folder.write('pgproof.yaml', least.replace('encryption: { recipients: [key.asc] }', encryption))
    const { config } = await load(folder, { key: ['escrow.asc'] }, {}, 'pgproof.yaml')
    expect(config.isStoreOnly).toBe(false)
    expect(config.encryption.privateKeyFiles).toEqual([join(folder.path, 'escrow.asc')])
    expect(config.encryption.passphrase).toBeUndefined()
    expect(config.servers).toHaveLength(1)
  })

  it('with the configuration in another folder - relative to the working directory all the same', async () => {
    await using folder = await configFolder()
    await folder.write('etc/pgproof.yaml', least)
    await folder.write('etc/key.asc', 'a key')
    const { config } = await load(folder, { key: ['escrow.asc'], passphraseFile: 'secret' }, {}, 'etc/pgproof.yaml')
    expect(config.encryption.privateKeyFiles).toEqual([join(folder.path, 'escrow.asc')])
    expect(config.encryption.recipients).toEqual([join(folder.path, 'etc/key.asc')])
    expect(config.encryption.passphrase?.reveal()).toBe('hunter2')
  })

  it('and no section where the file has `encryption` - the fault of the file', async () => {
    await using folder = await configFolder()
    await folder.write('pgproof.yaml', least.replace('{ recipients: [key.asc] }', 'yes'))
    await expect(load(folder, { key: ['escrow.asc'] }, {}, 'pgproof.yaml')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: expect.stringMatching(/^pgproof\.yaml:2:13 {2}encryption: /),
    })
  })

  it('a key that cannot be read - the flag and the path, not the place in the file', async () => {
    await using folder = await configFolder()
    await folder.write('pgproof.yaml', `${least}`)
    await expect(load(folder, { key: ['none.asc'] }, {}, 'pgproof.yaml')).rejects.toMatchObject({
      code: 'USAGE_INVALID',
      message: `--key: cannot read ${join(folder.path, 'none.asc')}: it does not exist`,
    })
  })
})
