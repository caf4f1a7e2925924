import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type CliResult, waitFor } from '../commands/cli.ts'
import { type Seen, type Watch, watchChildren } from './children.ts'
import { filesBelow, type Planted, plantSecrets } from './planted.ts'

let planted: Planted
let watch: Watch
beforeAll(async () => {
  planted = await plantSecrets()
  watch = watchChildren(planted.recorded)
})
afterAll(async () => {
  watch[Symbol.dispose]()
  await planted[Symbol.asyncDispose]()
})

/** What a child may be told; the passwords themselves are in the file that PGPASSFILE names, for its user alone. */
const allowedVariables = new Set([
  ...['PATH', 'LC_ALL', 'LC_MESSAGES', 'HOME', 'TZ', 'PWD', 'SHLVL', '_', 'OLDPWD'],
  ...['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE', 'PGAPPNAME', 'PGCONNECT_TIMEOUT', 'PGSSLMODE', 'PGGSSENCMODE'],
  ...['PGOPTIONS', 'PGSSLROOTCERT', 'PGSSLCERT', 'PGSSLKEY', 'PGPASSFILE'],
  // What initdb and postgres set for what they start themselves.
  ...['PGDATA', 'PGLOCALEDIR', 'PGSYSCONFDIR', 'LC_COLLATE', 'LC_CTYPE', 'LC_MONETARY', 'LC_NUMERIC', 'LC_TIME'],
])

const isOurs = ({ command }: Seen): boolean => / \S*src\/main\.ts /.test(command) || /^\S*node /.test(command)

/** No child was told a secret, and those of PostgreSQL nothing but what they need. */
function expectChildrenClean(watched: readonly Seen[], programs: readonly string[]): void {
  const leaks = watched.flatMap((seen) =>
    planted.leaksIn(`${seen.command}\n${seen.environment.join('\n')}`).map((name) => `${name} in ${seen.command}`),
  )
  expect(leaks).toEqual([])
  for (const program of programs)
    expect([program, watched.some(({ command }) => command.includes(program))]).toEqual([program, true])
  // It runs what a backslash in a script says; no job has any use for it.
  expect(watched.filter(({ command }) => /(^|\/)psql /.test(command))).toEqual([])
  const others = watched.filter((seen) => !isOurs(seen) && !seen.command.includes('guarded'))
  const variables = others.flatMap(({ environment }) => environment.map((one) => one.replace(/=.*/s, '')))
  expect([...new Set(variables)].filter((name) => !allowedVariables.has(name))).toEqual([])
}

async function expectStoresClean(kinds: readonly string[]): Promise<void> {
  const objects = await planted.objects()
  for (const kind of ['manifest.json', 'RECOVERY', 'drills/main/', 'pauses/', ...kinds])
    expect([kind, [...objects.keys()].some((key) => key.includes(kind))]).toEqual([kind, true])
  for (const [key, text] of objects) expect([key, planted.leaksIn(text + key)]).toEqual([key, []])
}

it('every command, by command line - no secret in arguments, environments, output, logs, stores or files left', async () => {
  const { folder, database, target } = planted
  const label = async (): Promise<string> =>
    String((await folder.json(['list', '--database', database])).document['backups']?.[0]?.['label'] ?? '')
  const done: [string, CliResult][] = []
  const run = async (args: readonly string[], env: Record<string, string> = {}): Promise<CliResult> => {
    const result = await folder.run([...args, '--verbose'], { env })
    done.push([args.join(' '), result])
    return result
  }
  await folder.write('pgpass', `*:*:*:*:${(await secretOf('secret-urlPassword')).trim()}\n`)
  const password = { PGPASSFILE: join(folder.path, 'pgpass') }
  for (const args of [
    ...[['init'], ['check'], ['kit'], ['backup', '--roles', 'main'], ['backup', `main/${database}`], ['sync']],
    ...[
      ['backup', `other/${database}`],
      ['drill', `main/${database}`],
      ['drill', '--full', 'main'],
    ],
    ...[['pause', 'main', '--for', '1h', '--reason', 'x'], ['list'], ['status'], ['gate', '--max-age', '26h']],
    ...[['guard', `main/${database}`, '--', '/bin/echo', 'guarded'], ['prune']],
  ])
    await run(args)
  const named = await label()
  for (const args of [
    ['verify', named],
    ['show', named],
  ])
    await run(args)
  await run(['restore', named, '--to', target, '--create', '--verify'], password)
  // What can succeed has: the gate and the check have things to say.
  const failed = done.filter(([args, { code }]) => code !== 0 && !/^(check|gate)/.test(args))
  expect(failed).toEqual([])
  for (const [file, args] of [
    ['secret-filePassword', ['backup', `other/${database}`]],
    ['secret-s3', ['backup', `main/${database}`]],
    ['secret-passphrase', ['drill', `main/${database}`]],
  ] as const) {
    const right = await secretOf(file)
    await folder.write(file, `wrong-${right}`)
    expect([file, (await run([...args, '--json'])).code === 0]).toEqual([file, false])
    await folder.write(file, right)
  }
  for (const [args, { stdout, stderr }] of done) expect([args, planted.leaksIn(stdout + stderr)]).toEqual([args, []])
  expectChildrenClean(watch.seen(), [
    ...['/pg_dump', '/pg_dumpall', '/pg_restore', '/initdb', '/postgres -D', 'unshare', 'guarded'],
  ])
  await expectStoresClean(['full-drills/main/'])
  expect(folder.leftovers()).toEqual([])
}, 900_000)

it('every job, by a daemon - no secret in arguments, environments, log, answers, page, metrics, notices or stores', async () => {
  const { folder, database, port, tokens, hook, pings, mail, caFile } = planted
  const daemon = folder.start(['serve'], { env: { NODE_EXTRA_CA_CERTS: caFile } })
  await waitFor('ready', () => daemon.stderr().includes('"msg":"ready"') || daemon.child.exitCode !== null)
  expect(daemon.stderr()).toContain('"msg":"ready"')
  const told: [string, string][] = []
  const ask = async (method: string, path: string, token: string | null, body?: object): Promise<string> => {
    const authorization = token === null ? undefined : { authorization: `Bearer ${token}` }
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { ...authorization, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = `${JSON.stringify([...answer.headers])}\n${await answer.text()}`
    told.push([`${method} ${path}`, text])
    return text
  }
  const runIn = async (path: string, body: object): Promise<void> => {
    const text = await ask('POST', path, tokens.backup, body)
    const id = /"id":"([^"]+)"/.exec(text)?.[1]
    expect([path, id]).toEqual([path, expect.any(String)])
    const state = async (): Promise<string | undefined> =>
      /"state":"(\w+)"/.exec(await ask('GET', `/v1/runs/${id}`, tokens.read))?.[1]
    await expect.poll(state, { timeout: 400_000, interval: 300 }).toMatch(/^(succeeded|failed|inconclusive|cancelled)$/)
  }
  const wrong = `${tokens.backup}x`
  await runIn('/v1/backups', { server: 'main', roles: true })
  await runIn('/v1/backups', { server: 'main', database })
  await runIn('/v1/drills', { server: 'main', database })
  await folder.write('secret-filePassword', 'wrong')
  await runIn('/v1/backups', { server: 'other', database })
  await ask('POST', '/v1/pauses', tokens.backup, { server: 'main', for: '1h', reason: 'x' })
  await ask('POST', '/v1/backups', wrong, { server: 'main', database })
  await ask('GET', `/v1/status?token=${tokens.read}`, tokens.read)
  const paths = ['/', '/metrics', '/healthz', '/readyz', '/v1/status', '/v1/backups', '/v1/drills', '/v1/runs']
  for (const path of [...paths, '/v1/pauses', '/openapi.json', '/no-such'])
    for (const token of [tokens.read, null]) await ask('GET', path, token)
  await Promise.all([hook.until(2), pings.until(2), mail.until(2)])
  daemon.child.kill('SIGTERM')
  const { stderr, stdout } = await daemon.result
  for (const [what, text] of told) expect([what, planted.leaksIn(text)]).toEqual([what, []])
  expect(planted.leaksIn(stdout + stderr)).toEqual([])
  expect(stderr).toContain('"level":"debug"')
  for (const { body } of [...hook.received, ...pings.received]) expect(planted.leaksIn(body)).toEqual([])
  for (const { headers, text } of mail.mails) expect(planted.leaksIn(`${[...headers].join()} ${text}`)).toEqual([])
  expectChildrenClean(watch.seen(), ['serve', '/pg_dump', '/postgres -D'])
  await expectStoresClean([])
  for (const place of ['tmp', 'spool'])
    for (const [file, text] of filesBelow(join(folder.path, place)))
      expect([file, planted.leaksIn(text)]).toEqual([file, []])
}, 900_000)

async function secretOf(file: string): Promise<string> {
  return filesBelow(planted.folder.path).get(join(planted.folder.path, file)) ?? ''
}
