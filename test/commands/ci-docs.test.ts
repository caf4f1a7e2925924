import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { testDatabase, testUrl } from '../support/installation.ts'
import { freePort, query } from '../support/postgres-server.ts'
import { type CliFolder, cliFolder, type Json, waitFor } from './cli.ts'

/** The pipelines in docs/ci.md, in their order: GitHub, GitLab, the step that migrates. */
const pipelines = [...readFileSync('docs/ci.md', 'utf8').matchAll(/^```yaml\n(.*?)^```$/gms)].map(
  ([, text]) => parse(text ?? '') as Json,
)
const [github, gitlab, migrate] = pipelines

const token = 'token-of-the-pipeline'
const address = 'https://pgproof.internal.example'
let database: Awaited<ReturnType<typeof testDatabase>>
let folder: CliFolder
let daemon: ReturnType<CliFolder['start']>
let url: string

beforeAll(async () => {
  database = await testDatabase('template1')
  await query(database.url, 'CREATE TABLE customer (id int)')
  folder = await cliFolder([database.name])
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  const hash = createHash('sha256').update(token).digest('hex')
  await folder.configure({
    http: { listen: `127.0.0.1:${port}`, tokens: [{ name: 'ci', scope: 'read', hash }] },
    log: { format: 'json' },
  })
  await folder.write('token', token)
  // What the pipelines call: this very program, and the migration tool of this project.
  const bin = join(folder.path, 'bin')
  mkdirSync(bin)
  const write = (name: string, line: string): void => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${line}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  write('pgproof', `exec '${process.execPath}' '${resolve('src/main.ts')}' "$@"`)
  // Of docker only what the line asks of it: the variable goes along, and what follows the image are the arguments.
  write(
    'docker',
    `case "$*" in 'run --rm --env PGPROOF_TOKEN registry.internal.example/pgproof '*) shift 5; exec env -i HOME="$HOME" TMPDIR="$TMPDIR" PATH="$PATH" PGPROOF_TOKEN="$PGPROOF_TOKEN" pgproof "$@" ;; esac; exit 125`,
  )
  write(
    'npx',
    `shift; exec '${process.execPath}' '${resolve('node_modules/node-pg-migrate/bin/node-pg-migrate.js')}' "$@"`,
  )
  daemon = folder.start(['serve'])
  await waitFor('ready', () => daemon.stderr().includes('"msg":"ready"'))
})
afterAll(async () => {
  daemon.child.kill('SIGTERM')
  await daemon.result
  await folder[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

/** Runs a line of a pipeline as a runner does, at our daemon and our database. */
async function runLine(line: string, env: Record<string, string> = {}): Promise<{ code: number; output: string }> {
  const ours = line.replaceAll(address, url).replaceAll('main/shop', `main/${database.name}`)
  const child = spawn('bash', ['-ec', ours], {
    cwd: folder.path,
    env: {
      PATH: `${folder.path}/bin:${process.env['PATH']}`,
      HOME: folder.path,
      TMPDIR: join(folder.path, 'tmp'),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  const [code] = await once(child, 'close')
  return { code, output }
}

describe('the pipelines in docs/ci.md', () => {
  it('are three, with what each system demands of one', () => {
    expect(pipelines).toHaveLength(3)
    expect(github?.['jobs']?.['deploy']).toMatchObject({ 'runs-on': expect.any(String), steps: expect.any(Array) })
    for (const job of [gitlab?.['proven-backup'], gitlab?.['deploy'], migrate?.['migrate']])
      expect(job).toMatchObject({ stage: expect.any(String), script: expect.any(Array) })
    expect(gitlab?.['stages']).toEqual(['gate', 'deploy'])
  })

  it('the gates of both - closed as long as nothing is there, open after a backup and a drill', async () => {
    const steps = [...(github?.['jobs']?.['deploy']?.['steps'] ?? [])]
    const step = steps.find((one) => String(one['run']).includes('pgproof'))
    expect(Object.keys(step?.['env'] ?? {})).toEqual(['PGPROOF_TOKEN'])
    const [line] = gitlab?.['proven-backup']?.['script'] ?? []
    const gates = (): Promise<{ code: number; output: string }[]> =>
      Promise.all([
        runLine(String(step?.['run']), { PGPROOF_TOKEN: token }),
        runLine(String(line), { TOKEN_OF_PGPROOF: 'token' }),
      ])
    for (const { code, output } of await gates())
      expect({ code, output }).toEqual({ code: 3, output: expect.stringContaining('the gate is closed') })
    expect((await folder.run(['backup'])).code).toBe(0)
    expect((await folder.run(['drill'])).code).toBe(0)
    daemon.child.kill('SIGTERM')
    await daemon.result
    daemon = folder.start(['serve'])
    await waitFor('ready', () => daemon.stderr().includes('"msg":"ready"'))
    for (const { code, output } of await gates())
      expect({ code, output }).toEqual({
        code: 0,
        output: expect.stringMatching(/^open: 1 database, oldest backup \d+ s/),
      })
  })

  it('the step that migrates - migrates', async () => {
    mkdirSync(join(folder.path, 'migrations'))
    await folder.write(
      'migrations/1700000000001_a.cjs',
      `exports.up = (pgm) => { pgm.addColumns('customer', { phone: { type: 'text' } }) }`,
    )
    const [line] = migrate?.['migrate']?.['script'] ?? []
    const { code, output } = await runLine(String(line), { DATABASE_URL: testUrl(database.name) })
    expect({ code, output }).toEqual({
      code: 0,
      output: expect.stringContaining(`guarded main/${database.name}: backup `),
    })
    expect(await query(database.url, 'SELECT phone FROM customer')).toEqual([])
  })
})
