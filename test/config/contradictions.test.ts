import { describe, expect, it } from 'vitest'
import { configFolder, least } from './folder.ts'

const hash = 'a'.repeat(64)
const store = (more: string): string => least.replace('url: s3://backups/prod', `url: s3://backups/prod, ${more}`)
const directory = (more: string): string => least.replace('url: s3://backups/prod', `url: file:///srv/backups, ${more}`)
const encryption = (more: string): string => least.replace('[key.asc]', `[key.asc], ${more}`)
const server = (more: string): string => `${least}    ${more}\n`

describe('settings that contradict each other', () => {
  it.each([
    [
      'two servers of one name',
      server('databases: all\n  - { name: main, url: postgres://u@h2 }'),
      'pgproof.yaml:7:13  servers.1.name: "main" is the name of servers.0 as well',
    ],
    [
      'two checks of one name',
      server('checks: [{ name: a, sql: select 1 }, { name: a, sql: select 2 }]'),
      'pgproof.yaml:6:50  servers.0.checks.1.name: "a" is the name of servers.0.checks.0 as well',
    ],
    [
      'two tokens of one name',
      `${least}http: { tokens: [{ name: a, scope: read, hash: ${hash} }, { name: a, scope: drill, hash: ${hash} }] }\n`,
      'http.tokens.1.name: "a" is the name of http.tokens.0 as well',
    ],
    [
      'a token without a hash',
      `${least}http: { tokens: [{ name: a, scope: read }] }\n`,
      'http.tokens.0: has neither hash nor hashFile',
    ],
    [
      'a token with both hashes',
      `${least}http: { tokens: [{ name: a, scope: read, hash: ${hash}, hashFile: hash }] }\n`,
      'http.tokens.0.hashFile: is given beside hash',
    ],
    [
      'a file of a hash without one',
      `${least}http: { tokens: [{ name: a, scope: read, hashFile: secret }] }\n`,
      '/secret holds no SHA-256',
    ],
    [
      'metrics behind a token, and no token',
      `${least}http: { metricsToken: true }\n`,
      'http.metricsToken: demands a token, and http.tokens has none',
    ],
    [
      'a secret and its file',
      store('accessKeyId: a, secretAccessKey: b, secretAccessKeyFile: secret'),
      'store.secretAccessKeyFile: is given beside secretAccessKey  hint: keep one of the two',
    ],
    [
      'a session token and its file',
      store('accessKeyId: a, secretAccessKey: b, sessionToken: c, sessionTokenFile: secret'),
      'store.sessionTokenFile: is given beside sessionToken',
    ],
    ['an access key without its secret', store('accessKeyId: a'), 'store.accessKeyId: is given without its secret'],
    [
      'a secret without its access key',
      store('secretAccessKey: a'),
      'store.secretAccessKey: is given without store.accessKeyId',
    ],
    [
      'a secret file without its access key',
      store('secretAccessKeyFile: secret'),
      'store.secretAccessKeyFile: is given without store.accessKeyId',
    ],
    [
      'a session token without an access key',
      store('sessionTokenFile: secret'),
      'store.sessionTokenFile: is given without store.accessKeyId',
    ],
    ['a provider without an endpoint', store('provider: minio'), 'store.provider: "minio" needs store.endpoint'],
    ['a directory with a region', directory('region: x'), 'store.region: has no meaning with a file:// store'],
    [
      'a directory with object lock',
      directory('objectLock: { mode: governance, for: 1d }'),
      'store.objectLock: has no meaning with a file:// store',
    ],
    [
      'a passphrase without a private key',
      encryption('passphraseFile: secret'),
      'encryption.passphraseFile: is given without encryption.privateKeyFile',
    ],
    [
      'a signing passphrase without a signing key',
      encryption('signingPassphraseFile: secret'),
      'encryption.signingPassphraseFile: is given without encryption.signingKeyFile',
    ],
    [
      'drills without a private key',
      server('schedule: { drill: "0 5 * * *" }'),
      'pgproof.yaml:6:24  servers.0.schedule.drill: a drill needs encryption.privateKeyFile',
    ],
    [
      'a password in the URL and in a file',
      least.replace('backup@db:5432/postgres', 'backup:x@db:5432/postgres\n    passwordFile: secret'),
      'servers.0.passwordFile: the URL holds a password as well',
    ],
    [
      'a password of the control database in the URL and in a file',
      `${least}fleet: { url: "postgres://pgproof:x@control/control", passwordFile: secret }\n`,
      'fleet.passwordFile: the URL holds a password as well  hint: remove it from the URL',
    ],
    [
      'a database both listed and excluded',
      server('databases: [a, b]\n    exclude: ["x*", b]'),
      'servers.0.exclude.1: "b" is listed in databases as well',
    ],
    [
      'a protected server as scratch server',
      `${least}drill: { scratch: "postgres://drill@DB/scratch" }\n`,
      'drill.scratch: is the same server as servers.0',
    ],
    [
      'parameters for a server that is not started by pgproof',
      `${least}drill: { scratch: "postgres://drill@other/scratch", parameters: { work_mem: 7MB } }\n`,
      'drill.parameters: has no meaning with a server kept for drills',
    ],
    [
      'a scratch password for the embedded server',
      `${least}drill: { scratchPasswordFile: secret }\n`,
      'drill.scratchPasswordFile: has no meaning with the embedded scratch server',
    ],
    [
      'a scratch password in the URL and in a file',
      `${least}drill: { scratch: "postgres://drill:x@other/scratch", scratchPasswordFile: secret }\n`,
      'drill.scratchPasswordFile: the URL holds a password as well',
    ],
  ])('%s - one fault', async (_, yaml, fault) => {
    await using folder = await configFolder()
    await folder.write('hash', hash)
    expect(await folder.faults(yaml)).toEqual([expect.stringContaining(fault)])
  })

  it('a contradiction beside other faults - both reported', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults(`${store('provider: minio')}colour: red\n`)
    expect(faults).toEqual([
      expect.stringContaining('store.provider: "minio" needs store.endpoint'),
      expect.stringContaining('colour: unknown key'),
    ])
  })
})

describe('doubtful settings', () => {
  it('a signing key without trusted signers - a warning; with them - none', async () => {
    await using folder = await configFolder()
    const without = await folder.load(encryption('signingKeyFile: escrow.asc'))
    const both = await folder.load(encryption('signingKeyFile: escrow.asc, trustedSigners: [key.asc]'))
    expect(without.warnings).toEqual([
      'pgproof.yaml:2:54  encryption.signingKeyFile: manifests are signed, but nothing demands the signature  hint: set encryption.trustedSigners',
    ])
    expect(both.warnings).toEqual([])
  })

  it('listening beyond this machine without tokens - a warning; with one, or on loopback - none', async () => {
    await using folder = await configFolder()
    const warnings = async (http: string): Promise<number> =>
      (await folder.load(`${least}http: ${http}\n`)).warnings.length
    expect(await warnings('{ listen: "0.0.0.0:9432" }')).toBe(1)
    expect(await warnings('{ listen: "[::]:9432" }')).toBe(1)
    expect(await warnings('{ listen: "pgproof.internal:9432" }')).toBe(1)
    expect(await warnings(`{ listen: "0.0.0.0:9432", tokens: [{ name: a, scope: read, hash: ${hash} }] }`)).toBe(0)
    for (const listen of ['127.0.0.2:1', 'localhost:1', '[::1]:1', 'off'])
      expect(await warnings(`{ listen: "${listen}" }`)).toBe(0)
  })
})
