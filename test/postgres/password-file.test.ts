import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../src/postgres/connect.ts'
import { passwordFromFile } from '../../src/postgres/password-file.ts'
import { programEnvironment } from '../../src/postgres/program-environment.ts'
import { runProgram } from '../../src/streams/child-process.ts'
import { testUrl } from '../support/installation.ts'
import { query, serverBinDir } from '../support/postgres-server.ts'
import { connectionTo, signal } from './sandbox.ts'

const role = `filed_${Math.random().toString(36).slice(2)}`
const password = 'a:b\\c d\\:'
const escaped = 'a\\:b\\\\c d\\\\\\:'
const login = { ...connectionTo('postgres'), user: role }
const saved = process.env['PGPASSFILE']
let folder: string
let file: string

beforeAll(async () => {
  await query(testUrl(), `CREATE ROLE ${role} LOGIN PASSWORD '${password}'`)
})
afterAll(async () => {
  await query(testUrl(), `DROP ROLE ${role}`)
})
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-pass-file-'))
  file = join(folder, 'pgpass')
  process.env['PGPASSFILE'] = file
})
afterEach(async () => {
  if (saved === undefined) delete process.env['PGPASSFILE']
  else process.env['PGPASSFILE'] = saved
  await rm(folder, { recursive: true })
})

/** Whether our own connection and a client program get in by the file; they must agree. */
async function getsIn(text: string, mode = 0o600): Promise<boolean> {
  await writeFile(file, text)
  await chmod(file, mode)
  const ours = await connect(login, signal).then(
    async (held) => {
      await held[Symbol.asyncDispose]()
      return true
    },
    () => false,
  )
  await using environment = await programEnvironment(login, 'pgproof test')
  const psql = { path: join(serverBinDir(), 'psql'), args: ['-XAtwc', 'SELECT 1'], env: environment.env }
  const program = await runProgram(psql, { signal }).then(
    () => true,
    () => false,
  )
  expect({ ours, program }).toEqual({ ours, program: ours })
  return ours
}

describe('a password file, read by our own connection as by a client program', () => {
  const { host, port } = login
  it.each<[string, string, boolean]>([
    ['everything named', `${host}:${port}:postgres:${role}:${escaped}\n`, true],
    ['wildcards', `*:*:*:*:${escaped}`, true],
    ['the first line that fits counts', `*:*:*:${role}:wrong\n*:*:*:*:${escaped}\n`, false],
    [
      'lines that do not fit are passed over',
      `other:*:*:*:x\n*:1:*:*:x\n*:*:other:*:x\n*:*:*:other:x\n*:*:*:*:${escaped}\n`,
      true,
    ],
    ['comments, empty and short lines', `# *:*:*:*:x\n\n*:*:*\n*:*:*:*:${escaped}\n`, true],
    ['lines that end as on Windows', `*:*:*:*:${escaped}\r\n`, true],
    ['a name with needless backslashes', `\\1\\27.0.0.1:*:*:*:${escaped}\n`, true],
    ['more fields than there are', `*:*:*:*:${escaped}:more\n`, true],
    ['an escaped star is no wildcard', `\\*:*:*:*:${escaped}\n`, false],
    ['an empty password', '*:*:*:*:\n', false],
    ['an empty file', '', false],
  ])('%s', async (_, text, expected) => {
    expect(await getsIn(text)).toBe(expected)
  })

  it('others may read it - passed over', async () => {
    expect(await getsIn(`*:*:*:*:${escaped}\n`, 0o640)).toBe(false)
  })

  it('none, or a folder in its place - no password', async () => {
    expect(await passwordFromFile(login)).toBeUndefined()
    process.env['PGPASSFILE'] = folder
    expect(await passwordFromFile(login)).toBeUndefined()
  })
})
