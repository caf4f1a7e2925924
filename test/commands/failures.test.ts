import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { generateKeyPair } from '../../src/encryption/generate.ts'
import { testDatabase, testUrl } from '../support/installation.ts'
import { freePort, query } from '../support/postgres-server.ts'
import { type CliFolder, cliFolder } from './cli.ts'

const role = `cli_${randomBytes(4).toString('hex')}`
let database: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder

beforeAll(async () => {
  database = await testDatabase('template1')
  await query(database.url, 'CREATE TABLE t (a int); INSERT INTO t VALUES (1)')
  await query(testUrl(), `CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'right'`)
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await query(testUrl(), `DROP ROLE ${role}`)
})
beforeEach(async () => {
  folder = await cliFolder([database.name])
})
afterEach(async () => {
  const left = {
    files: folder.leftovers(),
    manifests: folder.objects().filter((key) => /\/backups\/.*manifest/.test(key)),
  }
  await folder[Symbol.asyncDispose]()
  expect(left).toEqual({ files: [], manifests: [] })
})

const loginUrl = (): string => testUrl().replace(/\/\/postgres@/, `//${role}@`)

/** The exit code and the register's code, which `--json` and the text must agree about. */
async function fails(args: readonly string[]): Promise<{ code: number | null; error: string }> {
  const { code, document, stderr } = await folder.json(args)
  expect(stderr).toBe('')
  const people = await folder.run(args)
  expect(people.code).toBe(code)
  expect(people.stderr).toContain(`error: ${document['error']?.['message']}\nhint: ${document['error']?.['hint']}\n`)
  return { code, error: String(document['error']?.['code']) }
}

describe('exit codes', () => {
  it('label that is not in the store - 2', async () => {
    for (const command of ['show', 'verify'])
      expect(await fails([command, '20260101T000000Z-aaaa'])).toEqual({ code: 2, error: 'LABEL_UNKNOWN' })
  })

  it('wrong database password - 12, and the password is nowhere', async () => {
    await folder.write('password', 'wrong-secret\n')
    await folder.configure({
      servers: [{ name: 'main', url: loginUrl(), passwordFile: 'password', databases: [database.name] }],
    })
    expect(await fails(['backup'])).toEqual({ code: 12, error: 'AUTHENTICATION_FAILED' })
    const { stdout, stderr } = await folder.run(['--verbose', 'backup'])
    expect(stdout + stderr).not.toContain('wrong-secret')
  })

  it('database that does not exist - 12', async () => {
    await folder.configure({ servers: [{ name: 'main', url: testUrl(), databases: 'all' }] })
    expect(await fails(['backup', 'main/no_such_database'])).toEqual({ code: 12, error: 'DATABASE_UNKNOWN' })
  })

  it('server that is down - 12', async () => {
    const url = `postgres://postgres@127.0.0.1:${await freePort()}/postgres`
    await folder.configure({ servers: [{ name: 'main', url, databases: [database.name] }] })
    expect(await fails(['backup'])).toEqual({ code: 12, error: 'SERVER_UNREACHABLE' })
  })

  it('store directory that does not exist - 11, for every command that needs it', async () => {
    await rm(join(folder.path, 'store'), { recursive: true })
    for (const command of ['backup', 'drill', 'list', 'prune', 'status'])
      expect(await fails([command])).toEqual({ code: 11, error: 'STORE_BUCKET_MISSING' })
  })

  it('recipient key that is no key - 13', async () => {
    await folder.write('pub.asc', 'no key\n')
    expect(await fails(['backup'])).toEqual({ code: 13, error: 'KEY_UNREADABLE' })
  })

  it('wrong passphrase of the signing key - 13', async () => {
    const now = new Date()
    const pair = await generateKeyPair({ name: 'signer', kind: 'ecc', use: 'signing', passphrase: 'right', now })
    await folder.write('signing.asc', pair.privateKey)
    await folder.write('signing.pass', 'wrong\n')
    await folder.configure({
      encryption: { recipients: ['pub.asc'], signingKeyFile: 'signing.asc', signingPassphraseFile: 'signing.pass' },
    })
    const { code, document } = await folder.json(['backup'])
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 13, error: 'PASSPHRASE_WRONG' })
  })
})

describe('check', () => {
  it('a store that is not there - a finding beside everything else, exit code 3', async () => {
    await folder.configure({ store: { url: 'file:///nonexistent/pgproof' } })
    const { stdout, code } = await folder.run(['--json', 'check'])
    const { findings, error } = JSON.parse(stdout)
    expect(code).toBe(3)
    expect(error).toMatchObject({ code: 'CHECK_FAILED' })
    expect(findings).toContainEqual(expect.objectContaining({ subject: 'store', result: 'problem' }))
    expect(findings).toContainEqual(expect.objectContaining({ subject: 'keys', result: 'ok' }))
  })
})

describe('the log of a command', () => {
  it('a run that fails - told once, not in the log as well', async () => {
    await folder.configure({ servers: [{ name: 'main', url: testUrl(), databases: ['no_such_database'] }] })
    const { stderr } = await folder.run(['backup'])
    expect(stderr).toMatch(/^error: .+\nhint: .+\n$/)
  })

  it('--verbose - begin and end line of each run on stderr, stdout unchanged', async () => {
    await folder.configure({ servers: [{ name: 'main', url: testUrl(), databases: ['no_such_database'] }] })
    const { stdout, stderr } = await folder.run(['--verbose', 'backup'])
    const lines = stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
    expect(lines).toMatchObject([
      { msg: 'run started', job: 'backup', database: 'no_such_database' },
      { msg: 'run finished', outcome: 'failed', code: 'DATABASE_UNKNOWN' },
    ])
    expect(stdout).toMatch(/^main\/no_such_database +FAILED/)
  })
})
