import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Connection, connect, parseConnectionUrl } from '../../src/postgres/connect.ts'
import { programEnvironment } from '../../src/postgres/program-environment.ts'
import type { TlsSettings } from '../../src/postgres/tls.ts'
import { runProgram } from '../../src/streams/child-process.ts'
import { query, startPostgres, type TestServer, unprivileged } from '../support/postgres-server.ts'
import { codeOf, connectionTo, errorOf, signal } from './sandbox.ts'

let folder: string
let server: TestServer
let own: string
let other: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pgproof-test-tls-'))
  chmodSync(folder, 0o755)
  own = selfSigned('own', 'IP:127.0.0.1')
  other = selfSigned('other', 'IP:127.0.0.1')
  const user = unprivileged()
  const key = join(folder, 'own.key')
  chmodSync(key, 0o600)
  if (user !== undefined) chownSync(key, user.uid, user.gid)
  server = await startPostgres(`ssl = on\nssl_cert_file = '${own}'\nssl_key_file = '${key}'`)
  const [row] = await query(server.url(), 'SHOW hba_file')
  const hba = String(row?.['hba_file'])
  const lines = `hostssl all only_tls 127.0.0.1/32 trust\nhost all only_tls 127.0.0.1/32 reject
hostnossl all never_tls 127.0.0.1/32 trust\nhost all never_tls 127.0.0.1/32 reject\n`
  writeFileSync(hba, lines + readFileSync(hba, 'utf8'))
  await query(server.url(), 'CREATE ROLE only_tls LOGIN; CREATE ROLE never_tls LOGIN; SELECT pg_reload_conf()')
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true })
})

/** A certificate of its own authority; its path. */
function selfSigned(name: string, subject: string): string {
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const files = ['-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.crt`)]
  const names = ['-subj', `/CN=${name}.example`, '-addext', `subjectAltName=${subject}`]
  execFileSync('openssl', [...args, ...files, ...names], { stdio: 'ignore' })
  return join(folder, `${name}.crt`)
}

function over(tls: TlsSettings, more: Partial<Connection> = {}): Connection {
  return { ...parseConnectionUrl('main', server.url()), tls, ...more }
}

/** Whether our own connection and a client program get through; they must agree. */
async function attempts(connection: Connection): Promise<{ ours: string; program: string }> {
  const ours = await connect(connection, signal).then(
    async (held) => {
      const { rows } = await held.client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')
      await held[Symbol.asyncDispose]()
      return rows[0].ssl ? 'encrypted' : 'plain'
    },
    () => 'refused',
  )
  await using environment = await programEnvironment(connection, 'pgproof test')
  const args = [
    '-XAtwc',
    "SELECT CASE WHEN ssl THEN 'encrypted' ELSE 'plain' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
  ]
  const psql = { path: join(server.binDir, 'psql'), args, env: environment.env }
  const program = await runProgram(psql, { signal }).then(
    (output) => output.trim(),
    () => 'refused',
  )
  return { ours, program }
}

describe('TLS, by our own connection and by a client program alike', () => {
  it.each<[string, TlsSettings['mode'], 'own' | 'other' | 'system' | 'none', string]>([
    ['encryption off', 'disable', 'none', 'plain'],
    ['encryption if possible', 'prefer', 'none', 'encrypted'],
    ['encryption if possible, any certificate', 'prefer', 'other', 'encrypted'],
    ['encryption demanded, any certificate', 'require', 'none', 'encrypted'],
    ['encryption demanded, and the right root given', 'require', 'own', 'encrypted'],
    ['encryption demanded, and another root given', 'require', 'other', 'refused'],
    ['authority checked', 'verify-ca', 'own', 'encrypted'],
    ['authority checked against another', 'verify-ca', 'other', 'refused'],
    ['name checked', 'verify-full', 'own', 'encrypted'],
    ['name checked, another authority', 'verify-full', 'other', 'refused'],
    ['name checked against the authorities of the system', 'verify-full', 'system', 'refused'],
    ['name checked, no root given', 'verify-full', 'none', 'refused'],
    ['authority checked, no root given', 'verify-ca', 'none', 'refused'],
  ])('%s (%s, root: %s) - %s', async (_, mode, root, outcome) => {
    const rootCertFile = root === 'own' ? own : root === 'other' ? other : root === 'system' ? 'system' : undefined
    expect(await attempts(over({ mode, rootCertFile }))).toEqual({ ours: outcome, program: outcome })
  })

  it('the certificate is for another name - refused by verify-full, accepted by verify-ca', async () => {
    const named = { host: 'localhost' }
    expect(await attempts(over({ mode: 'verify-full', rootCertFile: own }, named))).toEqual({
      ours: 'refused',
      program: 'refused',
    })
    expect(await attempts(over({ mode: 'verify-ca', rootCertFile: own }, named))).toEqual({
      ours: 'encrypted',
      program: 'encrypted',
    })
  })

  it('refused for its certificate - SERVER_UNREACHABLE that names the certificate', async () => {
    const error = await errorOf(connect(over({ mode: 'verify-full' }), signal))
    expect(error).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      message: expect.stringMatching(/self-signed certificate/),
    })
  })

  it('a root file that does not exist - SERVER_UNREACHABLE that names the file', async () => {
    const error = await errorOf(connect(over({ mode: 'verify-full', rootCertFile: '/nonexistent/root.crt' }), signal))
    expect(error).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      message: expect.stringContaining('/nonexistent/root.crt'),
    })
  })

  it('pg_hba.conf lets a role in only without TLS, or only with it - `prefer` gets in both ways', async () => {
    expect(await attempts(over({ mode: 'prefer' }, { user: 'never_tls' }))).toEqual({ ours: 'plain', program: 'plain' })
    expect(await attempts(over({ mode: 'prefer' }, { user: 'only_tls' }))).toEqual({
      ours: 'encrypted',
      program: 'encrypted',
    })
    expect(await codeOf(connect(over({ mode: 'require' }, { user: 'never_tls' }), signal))).toBe(
      'AUTHENTICATION_FAILED',
    )
    expect(await codeOf(connect(over({ mode: 'disable' }, { user: 'only_tls' }), signal))).toBe('AUTHENTICATION_FAILED')
  })

  it('a server without TLS - `prefer` falls back, `require` does not', async () => {
    const plain = connectionTo('postgres', { tls: { mode: 'prefer' } })
    await (await connect(plain, signal))[Symbol.asyncDispose]()
    const error = await errorOf(connect({ ...plain, tls: { mode: 'require' } }, signal))
    expect(error).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      message: expect.stringContaining('does not support SSL'),
    })
  })

  it('an abort while a query runs over TLS - cancelled on the server', async () => {
    const controller = new AbortController()
    await using held = await connect(over({ mode: 'verify-full', rootCertFile: own }), controller.signal)
    const running = errorOf(held.client.query('SELECT pg_sleep(60)'))
    controller.abort()
    expect(await running).toMatchObject({ code: '57014' })
  })
})
