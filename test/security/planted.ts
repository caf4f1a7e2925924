import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../src/clock.ts'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { silentLog } from '../../src/log.ts'
import { S3Store } from '../../src/storage/s3.ts'
import { type CliFolder, cliFolder } from '../commands/cli.ts'
import { testCertificates } from '../http/certificates.ts'
import { type MailServer, startMailServer } from '../notify/mail-server.ts'
import { type Receiver, startReceiver } from '../notify/receiver.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { freePort, query } from '../support/postgres-server.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { recordingPrograms, type Seen } from './children.ts'

/** An installation with a secret of every kind, each of which is found again wherever it appears. */
export type Planted = AsyncDisposable & {
  readonly folder: CliFolder
  readonly database: string
  readonly port: number
  readonly tokens: { readonly read: string; readonly drill: string; readonly backup: string }
  readonly hook: Receiver
  readonly pings: Receiver
  readonly mail: MailServer
  /** A login for restores, without its password. */
  readonly target: string
  /** By which the daemon trusts the mail server. */
  readonly caFile: string
  /** The names of the secrets that are in a text, in clear or in the encodings that programs use. */
  leaksIn(text: string): string[]
  recorded(): readonly Seen[]
  /** Every object of both stores, by its name. */
  objects(): Promise<ReadonlyMap<string, string>>
}

const random = (kind: string): string => `planted-${kind}-${randomBytes(9).toString('hex')}`

export async function plantSecrets(): Promise<Planted> {
  const source = await testDatabase('template1')
  await query(source.url, 'CREATE TABLE kept AS SELECT g AS id FROM generate_series(1, 50) g')
  const bucket = await makeTestBucket()
  const [hook, pings] = [await startReceiver(), await startReceiver()]
  const secrets = {
    urlPassword: random('url-password'),
    filePassword: random('file-password'),
    passphrase: random('passphrase'),
    signingPassphrase: random('signing-passphrase'),
    webhookPath: random('webhook-path'),
    webhookToken: random('webhook-token'),
    pingPath: random('ping-path'),
    smtpPassword: random('smtp-password'),
    read: random('read-token'),
    drill: random('drill-token'),
    backup: random('backup-token'),
  }
  // Without TLS the password would not be sent at all.
  const certificates = await testCertificates()
  await certificates.issue('mail')
  const pem = (name: string): string => readFileSync(certificates.at(name), 'utf8')
  const mail = await startMailServer({
    ...{ key: pem('mail.key'), cert: pem('mail.crt') },
    onAuth: ({ password }, _session, done) =>
      password === secrets.smtpPassword ? done(null, { user: 'pgproof' }) : done(new Error('wrong')),
  })
  const folder = await cliFolder([source.name])
  const { binDir, recorded } = recordingPrograms(folder.path)
  const roles = ['url', 'file'].map((kind) => `planted_${kind}_${source.name}`)
  for (const [index, role] of roles.entries())
    await query(
      testUrl(),
      `CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${index === 0 ? secrets.urlPassword : secrets.filePassword}'`,
    )
  const keys = { ...(await makeKeys(folder, secrets)), s3: bucket.server.secretAccessKey }
  const urlOf = (role: string | undefined, password = ''): string => {
    const url = new URL(testUrl())
    url.username = role ?? ''
    url.password = password
    return url.href
  }
  for (const [name, value] of Object.entries(secrets)) await folder.write(`secret-${name}`, `${value}\n`)
  await folder.write('secret-hook', `${hook.origin}/${secrets.webhookPath}`)
  await folder.write('secret-ping', `${pings.origin}/${secrets.pingPath}`)
  await folder.write('secret-s3', bucket.server.secretAccessKey)
  const port = await freePort()
  const server = { databases: [source.name], schedule: { backup: '0 2 1 1 *' }, retention: { last: 1 } }
  await folder.configure({
    store: [storeIn(bucket), { name: 'far', url: `file://${folder.path}/store`, required: false }],
    encryption: {
      recipients: ['locked.pub.asc'],
      privateKeyFile: 'locked.key.asc',
      passphraseFile: 'secret-passphrase',
      signingKeyFile: 'signing.key.asc',
      signingPassphraseFile: 'secret-signingPassphrase',
      trustedSigners: ['signing.pub.asc'],
    },
    servers: [
      { name: 'main', url: urlOf(roles[0], secrets.urlPassword), ...server },
      { name: 'other', url: urlOf(roles[1]), passwordFile: 'secret-filePassword', ...server },
    ],
    drill: { spool: join(folder.path, 'spool') },
    postgres: { binDirs: [binDir] },
    http: {
      listen: `127.0.0.1:${port}`,
      tokens: (['read', 'drill', 'backup'] as const).map((scope) => ({
        ...{ name: scope, scope },
        hash: createHash('sha256').update(secrets[scope]).digest('hex'),
      })),
    },
    notify: [
      { webhookFile: 'secret-hook', tokenFile: 'secret-webhookToken', on: ['failure', 'recovery', 'success'] },
      { pingFile: 'secret-ping' },
      {
        ...{ email: ['ops@example.com'], from: 'pgproof@example.com', on: ['failure', 'recovery', 'success'] },
        ...{ smtp: `smtp://pgproof@127.0.0.1:${mail.port}`, smtpPasswordFile: 'secret-smtpPassword' },
      },
    ],
    prune: { largestShare: '100%' },
    log: { format: 'json', level: 'debug' },
  })
  const all = Object.entries({ ...secrets, ...keys }).flatMap(([name, value]) =>
    [
      value,
      encodeURIComponent(value),
      // Wherever in a longer text it stands, but for its first and last bytes.
      ...[0, 1, 2].map((skip) =>
        Buffer.from('\0'.repeat(skip) + value)
          .toString('base64')
          .slice(4, -4),
      ),
      createHash('sha256').update(value).digest('hex'),
    ].map((form) => ({ name, form })),
  )
  const store = new S3Store(bucket.settings({ url: `s3://${bucket.name}/prod` }), {
    clock: systemClock,
    log: silentLog,
  })
  const { signal } = new AbortController()
  return {
    ...{ folder, database: source.name, port, hook, pings, mail, recorded },
    caFile: certificates.at('ca.crt'),
    tokens: { read: secrets.read, drill: secrets.drill, backup: secrets.backup },
    target: urlOf(roles[0]).replace(/\/postgres$/, `/planted_${source.name}`),
    leaksIn: (text) => [...new Set(all.filter(({ form }) => text.includes(form)).map(({ name }) => name))],
    async objects() {
      const found = new Map<string, string>()
      for await (const { key } of store.list('', { signal }))
        found.set(`s3 ${key}`, Buffer.from(await store.get(key, { signal })).toString('latin1'))
      for (const file of folder.objects()) found.set(file, readFileSync(file, 'latin1'))
      return found
    },
    async [Symbol.asyncDispose]() {
      await store.close()
      await query(testUrl(), `DROP DATABASE IF EXISTS planted_${source.name} WITH (FORCE)`)
      await source[Symbol.asyncDispose]()
      for (const role of roles) await query(testUrl(), `DROP ROLE ${role}`)
      for (const one of [hook, pings, mail, folder, certificates]) await one[Symbol.asyncDispose]()
      await bucket.remove()
    },
  }
}

function storeIn({ name, server }: TestBucket): object {
  const { endpoint, region, provider, accessKeyId } = server
  const credentials = { accessKeyId, secretAccessKeyFile: 'secret-s3' }
  return { name: 'near', url: `s3://${name}/prod`, endpoint, region, provider, ...credentials }
}

/** Both key pairs under passphrases; a line out of the middle of each private key is as secret as the whole. */
async function makeKeys(
  folder: CliFolder,
  { passphrase, signingPassphrase }: { readonly passphrase: string; readonly signingPassphrase: string },
): Promise<Record<string, string>> {
  const now = new Date()
  const locked = await generateKeyPair({ name: 'locked', kind: 'ecc', use: 'backup', passphrase, now })
  const signing = await generateKeyPair({
    ...{ name: 'signing', kind: 'ecc' as const, use: 'signing' as const, now },
    passphrase: signingPassphrase,
  })
  await folder.write('locked.pub.asc', locked.publicKey)
  await folder.write('locked.key.asc', locked.privateKey)
  await folder.write('signing.pub.asc', signing.publicKey)
  await folder.write('signing.key.asc', signing.privateKey)
  return { privateKey: middleOf(locked), signingKey: middleOf(signing) }
}

/** Of the lines that are not in the public key, too. */
function middleOf({ privateKey, publicKey }: { readonly privateKey: string; readonly publicKey: string }): string {
  const lines = privateKey.split('\n').filter((line) => /^[A-Za-z0-9+/]{40,}$/.test(line) && !publicKey.includes(line))
  return lines.at(Math.floor(lines.length / 2)) ?? 'no line'
}

/** Text files anywhere below a folder, such as what a run left in the spool. */
export function filesBelow(folder: string): ReadonlyMap<string, string> {
  if (!existsSync(folder)) return new Map()
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return new Map(
    entries.map(({ parentPath, name }) => [join(parentPath, name), readFileSync(join(parentPath, name), 'latin1')]),
  )
}
