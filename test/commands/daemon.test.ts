import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { get } from 'node:https'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Certificates, testCertificates } from '../http/certificates.ts'
import { testDatabase } from '../support/installation.ts'
import { type DaemonFolder, daemonFolder } from './daemon-folder.ts'

let shop: Awaited<ReturnType<typeof testDatabase>>
let files: Certificates
let daemon: DaemonFolder
let label: string

beforeAll(async () => {
  shop = await testDatabase()
  files = await testCertificates()
  await files.issue('daemon')
  const tls = { certificateFile: files.at('daemon.crt'), keyFile: files.at('daemon.key') }
  daemon = await daemonFolder([shop.name], { tls, ca: files.at('ca.crt') })
})
afterAll(async () => {
  await daemon[Symbol.asyncDispose]()
  await files[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

/** Ages and spans, which two commands in a row tell unlike. */
const timeless = (text: string): string =>
  text.replaceAll(/\d+(\.\d+)? (s|min)( \d+ s)?( ago)?/g, 'N').replaceAll(/ +/g, ' ')

describe.sequential('commands at a daemon, over HTTPS with a CA of our own', () => {
  it('backup before there is any, and roles - made there, one line each, as if made here', async () => {
    const roles = await daemon.ask(['backup', '--roles'])
    expect(roles).toMatchObject({ code: 0, stderr: '' })
    expect(roles.stdout).toMatch(/^main \(roles\) {2}\S+ +[\d.]+ s {2}dump [\d.]+ (B|KiB), stored /)
    const { code, document } = await daemon.askJson(['backup', `main/${shop.name}`])
    label = String(document['runs']?.[0]?.['label'])
    expect({ code, runs: document['runs'] }).toMatchObject({
      code: 0,
      runs: [{ job: 'backup', server: 'main', database: shop.name, outcome: 'succeeded', error: null }],
    })
    const all = await daemon.ask(['backup'])
    expect([all.code, all.stderr]).toEqual([0, ''])
    const place = `main/${shop.name}`
    expect(all.stdout).toMatch(
      new RegExp(`^${place} {2}\\S+ +[\\d.]+ s {2}dump \\S+ KiB, stored \\S+ KiB; .*, counted and digested\n$`),
    )
  })

  it('drill - its page and exit code are those of a drill here, but for what is encrypted', async () => {
    const { code, stdout, stderr } = await daemon.ask(['drill', '--backup', label], 'drill')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^PASSED {2}drill \\S+ of main/${shop.name}\n`))
    expect(stdout).toContain(`Backup ${label} was restored into PostgreSQL`)
    const { document } = await daemon.askJson(['drill', `main/${shop.name}`, '--pick', 'latest'])
    expect(document['drill']).toMatchObject({ verdict: 'passed', pick: { rule: 'latest' } })
  })

  it('list, also of drills and of one database - as from the store', async () => {
    for (const args of [['list'], ['list', '--drills'], ['list', '--database', shop.name]]) {
      const there = await daemon.ask(args, 'read')
      expect([args, there.code, there.stderr]).toEqual([args, 0, ''])
      const here = await daemon.folder.run(args)
      expect(timeless(there.stdout)).toBe(timeless(here.stdout))
    }
    const { document } = await daemon.askJson(['list'])
    const { document: own } = await daemon.folder.json(['list'])
    const ageless = (list: unknown): unknown => JSON.parse(JSON.stringify(list).replaceAll(/"ageSeconds":\d+,/g, ''))
    expect(ageless(document['backups'])).toEqual(ageless(own['backups']))
  })

  it('show of a backup and of a drill - as from the store, without what is encrypted', async () => {
    const backup = await daemon.ask(['show', label], 'read')
    expect([backup.code, backup.stderr]).toEqual([0, ''])
    const { stdout } = await daemon.folder.run(['show', label])
    for (const name of ['snapshot', 'dump object', 'evidence', 'signed by', 'manifest']) {
      const line = new RegExp(`^ *${name}  .*$`, 'm')
      expect(timeless(backup.stdout.match(line)?.[0] ?? '')).toBe(timeless(stdout.match(line)?.[0] ?? 'none'))
    }
    expect(backup.stdout).toContain('Drills of it')
    expect(backup.stdout).toContain('a daemon does not tell them')
    const { document } = await daemon.askJson(['list', '--drills'])
    const drill = await daemon.ask(['show', String(document['drills']?.[0]?.['label'])], 'read')
    expect(drill.code).toBe(0)
    expect(drill.stdout).toMatch(/^PASSED {2}drill /)
    const unknown = await daemon.ask(['show', '20200101T000000Z-aaaa'], 'read')
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toContain('error: no backup or drill labelled "20200101T000000Z-aaaa" in the store\n')
  })

  it('status - the same tables as from the store', async () => {
    const there = await daemon.ask(['status'], 'read')
    expect([there.code, there.stderr]).toEqual([0, ''])
    const here = await daemon.folder.run(['status'])
    // Of runs that left nothing in the store only the daemon knows.
    const calm = /^Nothing worries.*$/m
    expect([there.stdout.match(calm)?.[0], here.stdout.match(calm)?.[0]]).toEqual([
      'Nothing worries.',
      expect.stringContaining('as far as the store tells'),
    ])
    expect(timeless(there.stdout).replace(calm, '')).toBe(timeless(here.stdout).replace(calm, ''))
    const { document } = await daemon.askJson(['status'])
    expect(document).toMatchObject({
      databases: [{ server: 'main', database: shop.name, worries: [] }],
      runs: [],
      failures: [],
      pauses: [],
    })
  })

  it('orders that a daemon refuses - its code, hint and exit code', async () => {
    const unknown = await daemon.ask(['backup', 'main/nowhere'])
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toBe(
      'error: database "nowhere" of server "main" is not configured for backup\n' +
        'hint: Add it to `databases` of that server, or check the spelling.\n',
    )
    const server = await daemon.ask(['drill', 'elsewhere/shop'])
    expect([server.code, server.stderr.split('\n')[0]]).toEqual([2, 'error: no server named "elsewhere" is known'])
    const weak = await daemon.ask(['backup'], 'drill')
    expect(weak.code).toBe(2)
    expect(weak.stderr).toContain('It needs the scope `backup`')
    const missing = await daemon.askJson(['drill', '--backup', '20200101T000000Z-aaaa'])
    expect([missing.code, missing.document['error']?.['code']]).toEqual([2, 'LABEL_UNKNOWN'])
  })

  it('--detach - prints the run and ends; runs shows it, cancel of one that is over says so', async () => {
    const { code, document } = await daemon.askJson(['drill', '--detach'])
    const id = String(document['run']?.['id'])
    expect([code, document['run']?.['job']]).toEqual([0, 'drill'])
    await expect
      .poll(async () => (await daemon.ask(['runs'], 'read')).stdout, { timeout: 60_000, interval: 200 })
      .toMatch(new RegExp(`^${id} +drill of main/${shop.name} +http .* succeeded `, 'm'))
    const over = await daemon.ask(['cancel', id])
    expect([over.code, over.stderr.split('\n')[0]]).toEqual([2, `error: run "${id}" has already finished`])
    const backups = await daemon.ask(['backup', '--detach'])
    expect(backups.stdout).toMatch(new RegExp(`^[0-9a-f-]{36} {2}backup of main/${shop.name} is ordered\n$`))
  })

  it('a certificate of a CA that nobody named - exit 11 and a hint that says what to give', async () => {
    const { url, folder } = daemon
    const { code, stderr } = await folder.run(['status', '--url', url], { config: null })
    expect(code).toBe(11)
    expect(stderr).toContain(`error: cannot ask the daemon at ${url}/: `)
    expect(stderr).toContain('--ca-file')
    const env = { NODE_EXTRA_CA_CERTS: files.at('ca.crt'), PGPROOF_URL: url, PGPROOF_TOKEN: 'token-to-read' }
    expect(await folder.run(['status'], { config: null, env })).toMatchObject({ code: 0, stderr: '' })
    expect(await folder.run(['gate', '--max-age', '1h'], { config: null, env })).toMatchObject({ code: 0 })
  })

  it('metrics of it - say when its certificate expires', async () => {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const ca = await readFile(files.at('ca.crt'))
    get(`${daemon.url}/metrics`, { ca, agent: false }, (response) => resolve(text(response))).on('error', reject)
    const [, value] = /^pgproof_tls_certificate_expiry_timestamp_seconds (\d+)$/m.exec(await promise) ?? []
    const { validTo } = new X509Certificate(await readFile(files.at('daemon.crt')))
    expect(Number(value)).toBe(Date.parse(validTo) / 1000)
  })

  it('flags that have no meaning there, or none without it - exit 2', async () => {
    const first = async (args: readonly string[], there = true): Promise<string> => {
      const { code, stderr } = there ? await daemon.ask(args) : await daemon.folder.run(args)
      return `${code} ${stderr.split('\n')[0]}`
    }
    expect(await first(['status', '--store', 'file:///x'])).toContain('2 error: --store has no meaning with --url')
    expect(await first(['list', '--history'])).toContain('2 error: --history reads the store itself')
    expect(await first(['drill', '--full'])).toContain('2 error: --full has no meaning with --url')
    expect(await first(['drill', '--from', 'x'])).toContain('2 error: --from has no meaning with --url')
    expect(await first(['backup', '--detach'], false)).toBe('2 error: --detach has no meaning without --url')
    expect(await first(['status', '--ca-file', 'x'], false)).toBe('2 error: --ca-file has no meaning without --url')
    expect(await first(['runs'], false)).toContain('2 error: runs are those of a daemon')
  })
})
