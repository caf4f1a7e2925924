import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkHttp } from '../../src/commands/check-http.ts'
import type { HttpConfig } from '../../src/config/config.ts'
import type { Finding } from '../../src/jobs/findings.ts'
import { type Certificates, testCertificates } from '../http/certificates.ts'
import { cliFolder, type Json } from './cli.ts'

let files: Certificates
beforeAll(async () => {
  files = await testCertificates()
  await files.issue('good', { until: '20970101000000Z' })
  await files.issue('other')
  await files.issue('soon', { until: '20261201000000Z' })
  await files.issue('expired', { until: '20240101000000Z' })
  await files.issue('future', { from: '20970101000000Z' })
})
afterAll(async () => await files[Symbol.asyncDispose]())

const now = new Date('2026-11-20T12:00:00Z')
const token = { name: 'ci', scope: 'drill', sha256: 'a'.repeat(64) } as const
const pair = (name: string, key = name) => ({
  certificateFile: files.at(`${name}.crt`),
  keyFile: files.at(`${key}.key`),
})

async function check(changes: Partial<HttpConfig>): Promise<Finding[]> {
  const listen = { host: '127.0.0.1', port: 9432 }
  const usual = { listen, tokens: [token], metricsToken: false, localRead: true, tls: undefined, rateLimit: 600 }
  return await checkHttp({ ...usual, ...changes }, now)
}

describe('the findings of http', () => {
  it('a pair that fits - ok, with the date of expiry', async () => {
    expect(await check({ tls: pair('good') })).toEqual([
      {
        subject: 'http',
        result: 'ok',
        message: `serves HTTPS with ${files.at('good.crt')}, valid until 2097-01-01T00:00:00.000Z`,
        hint: null,
        code: null,
      },
    ])
  })

  it('the key of another certificate, or none - the problem that a start would end with', async () => {
    expect(await check({ tls: pair('good', 'other') })).toEqual([
      {
        subject: 'http',
        result: 'problem',
        message: `cannot serve HTTPS with ${files.at('good.crt')}: it does not belong to the key ${files.at('other.key')}`,
        hint: expect.stringContaining('Give `http.tls` a certificate and its private key'),
        code: 'TLS_INVALID',
      },
    ])
    expect(await check({ tls: pair('good', 'none') })).toMatchObject([
      { result: 'problem', message: expect.stringContaining('none.key: ENOENT'), code: 'TLS_INVALID' },
    ])
  })

  it.each([
    ['expired', 'it expired at 2024-01-01T00:00:00.000Z'],
    ['future', 'it is not valid before 2097-01-01T00:00:00.000Z'],
  ])('a certificate of dates that clients refuse (%s) - a problem', async (name, reason) => {
    expect(await check({ tls: pair(name) })).toMatchObject([
      { result: 'problem', message: expect.stringContaining(reason), code: 'TLS_INVALID' },
    ])
  })

  it('a certificate that expires within 30 days - a warning', async () => {
    expect(await check({ tls: pair('soon') })).toMatchObject([
      { result: 'warning', message: `the certificate ${files.at('soon.crt')} expires at 2026-12-01T00:00:00.000Z` },
    ])
  })

  it('tokens, no TLS, and addresses beyond this machine - a warning', async () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.7', 'backup.example', '127.evil.example'])
      expect([host, await check({ listen: { host, port: 9432 } })]).toEqual([
        host,
        [expect.objectContaining({ result: 'warning', message: expect.stringMatching(/^tokens cross the network/) })],
      ])
  })

  it('this machine only, no tokens, or off - nothing to say', async () => {
    for (const host of ['127.0.0.1', '127.1.2.3', '::1', '0:0:0:0:0:0:0:1', 'localhost', 'LOCALHOST'])
      expect([host, await check({ listen: { host, port: 9432 } })]).toEqual([host, []])
    expect(await check({ listen: { host: '0.0.0.0', port: 9432 }, tokens: [] })).toEqual([])
    expect(await check({ listen: null, tls: pair('expired') })).toEqual([])
  })
})

describe('pgproof check', () => {
  const ofHttp = (document: Json): Json[] =>
    [...(document['findings'] ?? [])].filter(({ subject }) => String(subject) === 'http')

  it('a key of another certificate - listed beside everything else, exit code 3', async () => {
    await using folder = await cliFolder(['postgres'])
    await folder.configure({ http: { tls: pair('good', 'other') } })
    const { code, document } = await folder.json(['check'])
    expect(code).toBe(3)
    expect(ofHttp(document)).toMatchObject([{ result: 'problem', code: 'TLS_INVALID' }])
    const { stdout, stderr } = await folder.run(['check'])
    expect(stdout).toMatch(/\nhttp\n {2}problem {2}cannot serve HTTPS with .*good\.crt.*\n {6}hint: Give `http\.tls`/)
    expect(stderr).toContain('1 problem would make `pgproof serve` or its clients fail')
  })

  it('tokens in the clear - a warning, exit code 0', async () => {
    await using folder = await cliFolder(['postgres'])
    const tokens = [{ name: 'ci', scope: 'drill', hash: token.sha256 }]
    await folder.configure({ http: { listen: '0.0.0.0:9432', tokens } })
    const { code, document } = await folder.json(['check'])
    expect(code).toBe(0)
    expect(ofHttp(document)).toMatchObject([{ result: 'warning', code: null }])
  })
})
