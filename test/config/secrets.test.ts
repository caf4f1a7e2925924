import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { redactedConfig } from '../../src/config/config.ts'
import { Secret } from '../../src/config/secret.ts'
import { connectionTo } from '../../src/jobs/installation.ts'
import { configFolder, least, leastVariables, variable } from './folder.ts'

const everySecret = `store: { url: s3://backups, accessKeyId: AKIA, secretAccessKey: hunter2-a, sessionTokenFile: session }
encryption:
  recipients: [key.asc]
  privateKeyFile: escrow.asc
  passphraseFile: secret
  signingKeyFile: key.asc
  signingPassphraseFile: secret
  trustedSigners: [key.asc]
servers:
  - { name: in url, url: "postgres://u:hunter2%20b@h1" }
  - { name: in file, url: "postgres://u@h2", passwordFile: secret }
drill: { scratch: "postgres://u@h3", scratchPasswordFile: secret }
http: { tokens: [{ name: ops, scope: read, hashFile: hash }] }
`

describe('Secret', () => {
  it('printed in any way - [secret]; revealed - its text', () => {
    const secret = new Secret('hunter2')
    const printed = [
      `${secret}`,
      String(secret),
      JSON.stringify({ secret }),
      inspect(secret),
      inspect({ deep: [secret] }, { showHidden: true, depth: 9 }),
      inspect(secret, { customInspect: false, showHidden: true }),
      Object.entries(secret).join(),
      new Error(`with ${secret}`).message,
    ]
    expect(printed.join('\n')).not.toContain('hunter2')
    expect(secret.reveal()).toBe('hunter2')
  })
})

describe('secrets of a configuration', () => {
  it('read from values, files and URLs - revealed on demand, the last line break stripped', async () => {
    await using folder = await configFolder()
    await folder.write('session', 'hunter2-s\r\n')
    await folder.write('hash', `${'AB'.repeat(32)}  -\n`)
    const { config, warnings } = await folder.load(everySecret)
    expect(warnings).toEqual([])
    expect(config.stores[0].secretAccessKey?.reveal()).toBe('hunter2-a')
    expect(config.stores[0].sessionToken?.reveal()).toBe('hunter2-s')
    expect(config.encryption.passphrase?.reveal()).toBe('hunter2')
    expect(config.encryption.signingPassphrase?.reveal()).toBe('hunter2')
    expect(config.servers.map(({ password }) => password?.reveal())).toEqual(['hunter2 b', 'hunter2'])
    expect(config.servers.map(({ url }) => url)).toEqual(['postgres://u@h1/postgres', 'postgres://u@h2/postgres'])
    const { scratch } = config.drill
    expect(scratch.kind === 'server' && scratch.password?.reveal()).toBe('hunter2')
    expect(config.http.tokens).toEqual([{ name: 'ops', scope: 'read', sha256: 'ab'.repeat(32) }])
  })

  it('two line breaks at the end, or spaces - only the last line break is stripped', async () => {
    await using folder = await configFolder()
    await folder.write('secret', ' two \n\n')
    const { config } = await folder.load(`${least}    passwordFile: secret\n`)
    expect(config.servers[0]?.password?.reveal()).toBe(' two \n')
  })

  it('the configuration printed, serialised or redacted - no secret in it', async () => {
    await using folder = await configFolder()
    await folder.write('session', 'hunter2-s')
    await folder.write('hash', 'ab'.repeat(32))
    const { config } = await folder.load(everySecret)
    const printed = [JSON.stringify(config), inspect(config, { depth: 20, showHidden: true })].join('\n')
    expect(printed).not.toContain('hunter2')
    const redacted = JSON.stringify(redactedConfig(config))
    expect(redacted).not.toMatch(/hunter2|abab/)
    expect(redacted).toContain('"secretAccessKey":"[secret]"')
    expect(redacted).toContain('"sha256":"[secret]"')
    expect(redacted).toContain('"url":"postgres://u@h1/postgres"')
  })

  it('readable for other users - a warning that names the file, but not for public keys', async () => {
    await using folder = await configFolder()
    const open = await folder.write('open', 'hunter2', 0o640)
    await folder.write('key.asc', 'a key', 0o644)
    const yaml = `${least.replace('[key.asc]', '[key.asc], privateKeyFile: open')}    passwordFile: open\n`
    const { warnings } = await folder.load(yaml)
    expect(warnings).toEqual([
      `pgproof.yaml:2:54  encryption.privateKeyFile: other users may read ${open}  hint: chmod 600 ${open}`,
      `pgproof.yaml:6:19  servers.0.passwordFile: other users may read ${open}  hint: chmod 600 ${open}`,
    ])
  })
})

describe('secrets in a configuration that is wrong', () => {
  const wrong = [
    ['value of another kind', `${least}drill: { jobs: ${variable('SECRET')} }`],
    ['the name of a secret file', `${least}    passwordFile: ${variable('SECRET')}`],
    ['the name of a key file', least.replace('[key.asc]', '[key.asc], privateKeyFile: hunter2')],
    ['a name too long for a file', `${least}    passwordFile: ${'hunter2'.repeat(1000)}`],
    ['number instead of text', least.replace('prod }', 'prod, secretAccessKey: [hunter2] }')],
    ['store URL', least.replace('s3://backups', 's3://AKIA:hunter2@backups')],
    ['endpoint', least.replace('prod }', 'prod, endpoint: "https://AKIA:hunter2@h" }')],
    ['server URL', least.replace('backup@db', 'backup:hunter2@db,db2')],
    ['server URL in the query', least.replace('/postgres\n', '/postgres?password=hunter2\n')],
    ['scratch URL', `${least}drill: { scratch: "postgres://u:hunter2@h?host=x" }`],
    ['token instead of its hash', `${least}http: { tokens: [{ name: a, scope: read, hash: hunter2 }] }`],
    ['secret instead of a section', `${least}postgres: hunter2`],
    ['alias', `${least}    passwordFile: *hunter2`],
    ['tag', `${least}    passwordFile: !hunter2 x`],
    ['unclosed quote', `${least}    passwordFile: "hunter2`],
    ['text after a quote', `${least}    passwordFile: "a" hunter2`],
    ['block scalar header', `${least}    passwordFile: |hunter2\n      x`],
    ['escape', `${least}    passwordFile: "\\hunter2"`],
    ['percent at the start', `${least}    passwordFile: @hunter2`],
    ['tab', `${least}drill:\n\thunter2`],
  ] as const

  it.each(wrong)('%s - the fault does not quote it', async (_, yaml) => {
    await using folder = await configFolder()
    const faults = await folder.faults(`${yaml}\n`, { SECRET: 'hunter2' })
    expect(faults.length).toBeGreaterThan(0)
    expect(faults.join('\n')).not.toContain('hunter2')
  })

  it('the same by variables - not quoted either', async () => {
    await using folder = await configFolder()
    const faults = await folder.faults(undefined, {
      ...leastVariables,
      PGPROOF_STORE__URL: 's3://AKIA:hunter2@x',
      PGPROOF_STORE__ACCESS_KEY_ID: 'AKIA',
      PGPROOF_STORE__SECRET_ACCESS_KEY_FILE: 'hunter2',
      PGPROOF_ENCRYPTION__PRIVATE_KEY_FILE: '-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter2',
      PGPROOF_SERVERS__0__URL: 'postgres://u:hunter2@h:port/x',
      PGPROOF_HTTP__TOKENS__0__HASH_FILE: 'hunter2',
      PGPROOF_SERVERS__0__PASSWORD: 'hunter2',
    })
    expect(faults.length).toBeGreaterThan(5)
    expect(faults.join('\n')).not.toContain('hunter2')
  })
})

it('a password that was changed in its file - is the one of the next connection, and the old one where the file is gone', async () => {
  await using folder = await configFolder()
  const yaml = least.replace(/url: postgres:[^\n]*/, (line) => `${line}\n    passwordFile: secret`)
  const { config } = await folder.load(yaml)
  const [server] = config.servers
  if (server === undefined) throw new Error('no server')
  const { password } = connectionTo(server)
  expect(password?.()).toBe('hunter2')
  await folder.write('secret', 'rotated\n')
  expect(password?.()).toBe('rotated')
  await rm(join(folder.path, 'secret'))
  expect(password?.()).toBe('hunter2')
})
