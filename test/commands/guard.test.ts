import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { openSync, readFileSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase, testUrl } from '../support/installation.ts'
import { query } from '../support/postgres-server.ts'
import { type CliFolder, cliFolder, waitFor } from './cli.ts'

type Ended = { readonly code: number | null; readonly stdout: Buffer; readonly stderr: string }

let database: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder

beforeAll(async () => {
  database = await testDatabase('template1')
  await query(
    database.url,
    'CREATE TABLE product AS SELECT g AS id, md5(g::text) AS name FROM generate_series(1, 500) g',
  )
  folder = await cliFolder([database.name])
})
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

type Input = {
  readonly stdinFile?: string
  readonly stdin?: Uint8Array
  readonly env?: Record<string, string>
  readonly options?: readonly string[]
}

function start(command: readonly string[], { env = {}, options = [], stdinFile }: Input = {}) {
  const child = spawn(
    process.execPath,
    [resolve('src/main.ts'), '--config', join(folder.path, 'pgproof.yaml'), 'guard', ...options, '--', ...command],
    {
      cwd: folder.path,
      env: { PATH: process.env['PATH'] ?? '', HOME: folder.path, TMPDIR: join(folder.path, 'tmp'), ...env },
      stdio: [stdinFile === undefined ? 'pipe' : openSync(stdinFile, 'r'), 'pipe', 'pipe'],
    },
  )
  const stdout: Buffer[] = []
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdin?.on('error', () => {})
  const result = once(child, 'close').then(([code]): Ended => ({ code, stdout: Buffer.concat(stdout), stderr }))
  return { child, result, stdout: () => Buffer.concat(stdout).toString(), stderr: () => stderr }
}

async function guard(command: readonly string[], input: Input = {}): Promise<Ended> {
  const { child, result } = start(command, input)
  child.stdin?.end(input.stdin)
  return await result
}

const node = (script: string): string[] => [process.execPath, '-e', script]
const backups = (): number => folder.objects().filter((file) => file.endsWith('manifest.json')).length
const label = /\d{8}T\d{6}Z-\w{4}/.source

describe('guard around a command', () => {
  it('one that succeeds - exit 0, a backup, one line of ours on stderr and none on stdout', async () => {
    const { code, stdout, stderr } = await guard(node('console.log("migrated")'))
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: 'migrated\n' })
    expect(stderr).toMatch(
      new RegExp(`^guarded main/${database.name}: backup ${label} in .+ s, the command succeeded after .+ s\n$`),
    )
    expect(backups()).toBe(1)
    expect(folder.leftovers()).toEqual([])
  })

  it.each([1, 7, 255])('exit code %i - passed on, with the command that goes back', async (exit) => {
    const { code, stdout, stderr } = await guard(node(`process.exit(${exit})`))
    expect({ code, stdout: stdout.toString() }).toEqual({ code: exit, stdout: '' })
    const lines = stderr.trimEnd().split('\n')
    expect(lines).toHaveLength(4)
    expect(lines[3]).toMatch(/^its login must own the database /)
    expect(lines[0]).toMatch(new RegExp(`^the command failed with exit code ${exit} after .+ s$`))
    expect(lines[1]).toMatch(
      /is as the command left it; backup .+ holds it as of .+ UTC, without anything written since$/,
    )
    const url = new URL(testUrl(database.name)).href
    expect(lines[2]).toMatch(
      new RegExp(
        `: pgproof --config ${folder.path}/pgproof.yaml restore ${label} main/${database.name} --to ${url} --force$`,
      ),
    )
  })

  it('the command that goes back, as printed - brings back the rows that the failed one deleted', async () => {
    await using own = await testDatabase('template1')
    await query(own.url, 'CREATE TABLE kept AS SELECT 1 AS id')
    await using other = await cliFolder([own.name])
    const failing = `psql ${own.url} -qc 'DELETE FROM kept'; exit 4`
    const { code, stderr } = await other.run(['guard', '--', 'sh', '-c', failing])
    expect(code).toBe(4)
    const line = /renamed aside: pgproof (.+)$/m.exec(stderr)?.[1] ?? ''
    const restored = await other.run(line.split(' '), { config: null })
    expect({ code: restored.code, stderr: restored.stderr.match(/^error.*/m) }).toEqual({ code: 0, stderr: null })
    expect(await query(own.url, 'SELECT id FROM kept')).toEqual([{ id: 1 }])
    await dropAsides(own.name)
  })

  it('binary output on both streams, and more than a pipe holds - byte for byte', async () => {
    const bytes = randomBytes(300_000)
    await writeFile(join(folder.path, 'bytes'), bytes)
    const script = `const b=require('fs').readFileSync('${folder.path}/bytes');process.stdout.write(b);`
    expect((await guard(node(script))).stdout.equals(bytes)).toBe(true)
    const twice = `const fs=require('fs');fs.writeSync(2,Buffer.from([0xff,0x00,0x0a]));fs.writeSync(1,Buffer.from([0x00,0xfe]))`
    const { stdout, stderr } = await guard(node(twice))
    expect([...stdout]).toEqual([0x00, 0xfe])
    expect(stderr.startsWith('\ufffd\u0000\n')).toBe(true)
  })

  it('standard input and environment - as they are, with PGAPPNAME and without what configures pgproof', async () => {
    const bytes = randomBytes(100_000)
    expect((await guard(['cat'], { stdin: bytes })).stdout.equals(bytes)).toBe(true)
    const file = join(folder.path, 'stdin')
    await writeFile(file, bytes)
    expect((await guard(['cat'], { stdinFile: file })).stdout.equals(bytes)).toBe(true)
    const env = { MIGRATE: 'a b', PGPROOF_DRILL__JOBS: '2' }
    const print = node('console.log(JSON.stringify(process.env))')
    const seen = JSON.parse(String((await guard(print, { env })).stdout))
    expect(seen['MIGRATE']).toBe('a b')
    expect(seen['PGAPPNAME']).toMatch(/^pgproof-guard-[0-9a-f]{12}$/)
    expect(Object.keys(seen).filter((name) => name.startsWith('PGPROOF_'))).toEqual([])
    const named = JSON.parse(String((await guard(print, { env: { PGAPPNAME: 'mine' } })).stdout))
    expect(named['PGAPPNAME']).toBe('mine')
  })

  it('words that look like our flags, or like a shell - reach the command as they are', async () => {
    const words = ['--json', '--config', 'x', '--', '$HOME', '*', '; exit 9', '', '--restore-on-failure']
    const { code, stdout } = await guard([
      process.execPath,
      '-e',
      'console.log(JSON.stringify(process.argv.slice(1)))',
      '--',
      ...words,
    ])
    expect({ code, words: JSON.parse(stdout.toString()) }).toEqual({ code: 0, words })
  })

  it('one that is not there - 127; one that cannot be executed - 126; nothing to go back from', async () => {
    const missing = await guard(['no-such-program'])
    expect(missing.code).toBe(127)
    expect(missing.stderr).toBe(`the command did not run: it was not found; main/${database.name} is untouched\n`)
    await folder.write('not-executable', '#!/bin/sh\nexit 0\n', 0o600)
    const within = await guard([join(folder.path, 'not-executable', 'migrate')])
    expect([within.code, within.stderr]).toEqual([127, missing.stderr])
    const denied = await guard([join(folder.path, 'not-executable')])
    expect(denied.code).toBe(126)
    expect(denied.stderr).toContain('it cannot be executed (EACCES)')
  })

  it('one that a signal ends - 128 and its number', async () => {
    const { code, stderr } = await guard(node('process.kill(process.pid, "SIGKILL")'))
    expect(code).toBe(137)
    expect(stderr).toMatch(/^the command was ended by SIGKILL after /)
  })
})

describe('signals to guard', () => {
  const waiting = (name: string): string[] =>
    node(
      `process.on('${name}',()=>{process.stdout.write('got ${name}\\n',()=>process.exit(5))});console.log('here');setInterval(()=>{},1000)`,
    )

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    '%s while the command runs - passed on once, its end waited for, its exit code ours',
    async (name) => {
      const { child, result, stdout } = start(waiting(name))
      await waitFor('the command', () => stdout().includes('here'))
      child.kill(name)
      const ended = await result
      expect({ code: ended.code, stdout: ended.stdout.toString() }).toEqual({ code: 5, stdout: `here\ngot ${name}\n` })
    },
  )

  it('SIGTERM to a command that takes it as usual - 143', async () => {
    const { child, result, stdout } = start(node('console.log("here");setInterval(()=>{},1000)'))
    await waitFor('the command', () => stdout().includes('here'))
    child.kill('SIGTERM')
    expect((await result).code).toBe(143)
  })

  it('SIGINT during the backup - exit 130, the command never runs', async () => {
    await query(
      database.url,
      `CREATE TABLE big AS SELECT g AS id, (SELECT string_agg(md5(g::text || part), '') FROM generate_series(1, 32) part) AS body
         FROM generate_series(1, 60000) g`,
    )
    const before = backups()
    const ran = join(folder.path, 'ran')
    const { child, result } = start(['touch', ran])
    await waitFor('the dump', () => folder.leftovers().some((file) => file.includes('/backups/')))
    child.kill('SIGINT')
    const { code, stdout, stderr } = await result
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 130, stdout: '' })
    expect(stderr).toContain('was cancelled')
    expect(() => readFileSync(ran)).toThrow()
    expect(backups()).toBe(before)
    await query(database.url, 'DROP TABLE big')
  })
})

/** `script` of util-linux gives a real terminal, whose Ctrl-C goes to the whole foreground group. */
describe('guard on a terminal', () => {
  it('Ctrl-C - the command gets it once, and the terminal is its own', async () => {
    const script = join(folder.path, 'counts.mjs')
    writeFileSync(
      script,
      "let n=0;process.on('SIGINT',()=>{n+=1;console.log('noticed')});process.stdout.write('here\\n');process.stdin.once('data',(d)=>{console.log(['count',n,process.stdin.isTTY,String(d).trim()].join(' '));process.exit(6)})",
    )
    const words = [
      process.execPath,
      'src/main.ts',
      '--config',
      join(folder.path, 'pgproof.yaml'),
      'guard',
      '--',
      process.execPath,
      script,
    ]
    const child = spawn('script', ['-qefc', `stty cols 100; exec ${words.join(' ')}`, '/dev/null'], {
      env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm', HOME: folder.path },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    let shown = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text
    })
    await waitFor('the command', () => shown.includes('here'))
    child.stdin.write('\u0003')
    // Not the echo: what is typed next could reach the command before the signal does.
    await waitFor('the command to notice', () => shown.includes('noticed'))
    child.stdin.write('word\n')
    const [code] = await once(child, 'close')
    expect(shown).toContain('count 1 true word')
    expect(code).toBe(6)
  })
})

describe('guard that must not begin', () => {
  it('a backup that fails - the command does not run, exit code by the register', async () => {
    await using other = await cliFolder(['nowhere'])
    const { code, stdout } = await other.run(['guard', '--', 'echo', 'ran'])
    expect({ code, stdout }).toEqual({ code: 12, stdout: '' })
  })

  it('no command, --json, a database that is not configured, several to choose from - exit 2', async () => {
    await using other = await cliFolder(['one', 'two'])
    const asked = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await other.run(args)
      return `${code} ${stdout}${stderr.split('\n')[0]}`
    }
    expect(await asked('guard', 'main/one')).toMatch(/^2 error: say after -- what to run/)
    expect(await asked('guard', 'main/one', '--')).toMatch(/^2 error: say after -- what to run/)
    expect(await asked('guard', 'main/three', '--', 'true')).toMatch(
      /^2 error: database "three" of server "main" is not/,
    )
    expect(await asked('guard', '--', 'true')).toBe('2 error: say which database to guard: main/one, main/two')
    expect(await asked('guard', 'main/one', '--to', 'postgres://u@h/two', '--', 'true')).toMatch(/^2 error: --to names/)
    expect(await asked('guard', 'main/one', '--to', 'nonsense', '--', 'true')).toMatch(/^2 error: --to is not the URL/)
    const { code, document } = await other.json(['guard', 'main/one'])
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 2, error: 'USAGE_INVALID' })
  })
})

async function dropAsides(name: string): Promise<void> {
  const rows = await query(testUrl(), 'SELECT datname FROM pg_database WHERE datname LIKE $1', [`${name}%`])
  for (const { datname } of rows)
    if (datname !== name) await query(testUrl(), `DROP DATABASE "${String(datname)}" WITH (FORCE)`)
}
