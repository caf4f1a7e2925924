import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommandLine } from '../../src/commands/table.ts'
import { version } from '../../src/version.ts'
import { type CliFolder, cliFolder } from './cli.ts'
import { bareSurroundings } from './in-process.ts'

let folder: CliFolder
beforeAll(async () => {
  folder = await cliFolder(['shop'])
})
afterAll(() => folder[Symbol.asyncDispose]())

describe('help and version', () => {
  it('--version - the version, nothing else', async () => {
    expect(await folder.run(['--version'], { config: null })).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it('--help - every command with its summary', async () => {
    const { code, stdout } = await folder.run(['--help'], { config: null })
    expect(code).toBe(0)
    for (const name of [
      'serve',
      'backup',
      'drill',
      'list',
      'show',
      'prune',
      'status',
      'check',
      'verify',
      'keygen',
      'kit',
    ])
      expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
  })

  it('`help drill` - the same as `drill --help`', async () => {
    const [one, other] = await Promise.all([
      folder.run(['help', 'drill'], { config: null }),
      folder.run(['drill', '--help'], { config: null }),
    ])
    expect(one).toEqual(other)
  })

  it('help of a command - its flags and those of every command', async () => {
    const { code, stdout } = await folder.run(['drill', '--help'], { config: null })
    expect(code).toBe(0)
    for (const flag of ['--backup', '--pick', '--seed', '--json', '--config']) expect(stdout).toContain(flag)
  })
})

describe('usage errors', () => {
  it.each([
    ['no command', [], 'no command is given'],
    ['an unknown command', ['lits'], "unknown command 'lits' (Did you mean list?)"],
    ['an unknown flag', ['list', '--wide'], "unknown option '--wide'"],
    ['a missing label', ['show'], "missing required argument 'label'"],
    ['one argument too many', ['list', 'shop'], 'too many arguments'],
    ['a seed that is no number', ['drill', '--seed', 'x'], 'It must be a whole number'],
    ['an unknown rule', ['drill', '--pick', 'oldest'], 'latest, random'],
    ['a seed for a named backup', ['drill', '--backup', 'x', '--seed', '1'], '--pick and --seed have no meaning'],
    [
      'a seed for the newest backup',
      ['drill', '--pick', 'latest', '--seed', '1'],
      '--seed has no meaning with --pick latest',
    ],
    ['all drills, and no daemon', ['drill', '--all'], '--all has no meaning without --url'],
    [
      'a store that is not configured',
      ['verify', 'x', '--from', 'cloud'],
      'no store is named "cloud"; there are store',
    ],
    ['an unknown server', ['backup', 'other/shop'], 'no server named "other" is known'],
    ['a database that is not configured', ['backup', 'main/other'], 'not configured for backup'],
  ])('%s - exit 2, said as error and hint', async (_what, args, message) => {
    const { code, stdout, stderr } = await folder.run(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^error: .+\nhint: .+\n$/)
    expect(stderr).toContain(message)
  })

  it('with --json - one document on stdout, nothing on stderr', async () => {
    const { code, document, stderr } = await folder.json(['lits'])
    expect({ code, stderr }).toEqual({ code: 2, stderr: '' })
    expect(document).toEqual({
      error: {
        code: 'USAGE_INVALID',
        message: expect.stringContaining('lits'),
        hint: expect.any(String),
        details: null,
      },
    })
  })
})

describe('configuration errors', () => {
  const faulty = JSON.stringify({
    timezone: 'Mars/Olympus',
    store: { url: 'ftp://somewhere', colour: 'red' },
    encryption: { recipients: ['absent.asc'] },
    servers: [{ name: 'main', url: 'postgres://backup@db/postgres', lockTimeout: '30 parsecs' }],
  })

  it('five faults - exit 2, each of them listed', async () => {
    const config = await folder.write('faulty.yaml', faulty)
    const { code, stderr } = await folder.run(['list'], { config })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error: the configuration has 5 faults\nhint: /)
    for (const key of ['timezone', 'store.url', 'store.colour', 'encryption.recipients', 'lockTimeout'])
      expect(stderr).toMatch(new RegExp(`^  .*${key}`, 'm'))
  })

  it('five faults with --json - all in the details of the one document', async () => {
    const config = await folder.write('faulty.yaml', faulty)
    const { code, document } = await folder.json(['backup'], { config })
    expect({ code, error: document['error']?.['code'] }).toEqual({ code: 2, error: 'CONFIG_INVALID' })
    expect(String(document['error']?.['details']).split('\n')).toHaveLength(5)
  })

  it('a file that is not there - exit 2', async () => {
    const { code, stderr } = await folder.run(['status'], { config: '/nonexistent/pgproof.yaml' })
    expect(code).toBe(2)
    expect(stderr).toContain('cannot read the configuration file /nonexistent/pgproof.yaml')
  })

  it('everything from the environment, no file - works', async () => {
    const env = {
      PGPROOF_STORE__URL: `file://${folder.path}/store`,
      PGPROOF_ENCRYPTION__RECIPIENTS: 'pub.asc',
      PGPROOF_SERVERS__0__NAME: 'main',
      PGPROOF_SERVERS__0__URL: 'postgres://backup@db/postgres',
    }
    expect(await folder.run(['list'], { env, config: null })).toEqual({ code: 0, stdout: 'No backups.\n', stderr: '' })
  })
})

describe('output', () => {
  it('a reader that goes away (`| true`) - quiet, exit code of the command', async () => {
    const shell = spawn(
      'bash',
      [
        '-c',
        '"$0" src/main.ts --config "$1" list | true; echo "$PIPESTATUS"',
        process.execPath,
        `${folder.path}/pgproof.yaml`,
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let output = ''
    for (const stream of [shell.stdout, shell.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    await once(shell, 'close')
    expect(output).toBe('0\n')
  })

  it('an answer that cannot be written, because the disk is full - exit 1 and why', async () => {
    const args = ['src/main.ts', '--config', `${folder.path}/pgproof.yaml`, 'list']
    const full = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, args, { stdio: ['ignore', full, 'pipe'] })
    closeSync(full)
    const stderr = child.stderr === null ? '' : text(child.stderr)
    const [said, [code]] = await Promise.all([stderr, once(child, 'close')])
    expect([code, said]).toEqual([1, 'error: unexpected fault: ENOSPC: no space left on device, write\n'])
  })

  it('a fault that nobody waited for, of a command that ends thereafter - exit 1 and why, once', async () => {
    const script =
      "import fs from 'node:fs/promises';import{syncBuiltinESMExports}from'node:module';fs.readFile=()=>new Promise((_,reject)=>{setImmediate(()=>{setImmediate(reject);throw new Error('one')})});syncBuiltinESMExports()"
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
    const { code, stderr } = await folder.run(['list'], { env })
    expect([code, stderr.match(/error: unexpected fault: .*/g)]).toEqual([1, ['error: unexpected fault: one']])
  })

  it('a fault that nobody waited for, and another one while everything is being released - exit 1 at once', async () => {
    const script =
      "import fs from 'node:fs/promises';import{syncBuiltinESMExports}from'node:module';fs.readFile=()=>{for(const what of ['one','two'])setImmediate(()=>{throw new Error(what)});return new Promise(()=>{})};syncBuiltinESMExports()"
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
    const stderr = 'error: unexpected fault: one\n'
    expect(await folder.run(['list'], { env })).toEqual({ code: 1, stdout: '', stderr })
  })

  it('a fault that nobody waited for, of a command that does not end thereafter - exit 1 and why after ten seconds', async () => {
    // What is to be waited for hangs, the process lives, and its ten seconds are a tenth of one.
    const script =
      "import fs from 'node:fs/promises';import{syncBuiltinESMExports}from'node:module';const later=setTimeout;globalThis.setTimeout=(run,ms,...rest)=>later(run,ms===10_000?100:ms,...rest);setInterval(()=>{},1000);fs.readFile=()=>{setImmediate(()=>{throw new Error('one')});return new Promise(()=>{})};syncBuiltinESMExports()"
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
    const stderr = 'error: unexpected fault: one\n'
    expect(await folder.run(['list'], { env })).toEqual({ code: 1, stdout: '', stderr })
  })

  it('an output that takes nothing - exit 1, and why on the other one', async () => {
    const said: string[] = []
    const stdout = {
      write: () => {
        throw new Error('write EIO')
      },
    }
    const stderr = { write: (text: string) => said.push(text) }
    expect(await runCommandLine(['--help'], { ...bareSurroundings, stdout, stderr })).toBe(1)
    expect(said.join('')).toMatch(/^error: unexpected fault: write EIO\nhint: /)
  })

  it('a command that waits for what never comes - exit 1, not the 13 of Node', async () => {
    const script =
      "import fs from 'node:fs/promises';import{syncBuiltinESMExports}from'node:module';fs.readFile=()=>new Promise(()=>{});syncBuiltinESMExports()"
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
    const { code, stderr } = await folder.run(['list'], { env })
    expect(code).toBe(1)
    expect(stderr).toContain('error: unexpected fault: the command stopped without an answer\n')
  })
})
