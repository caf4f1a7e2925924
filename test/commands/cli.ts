import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { generateKeyPair, type KeyPair } from '../../src/encryption/generate.ts'
import { testUrl } from '../support/installation.ts'
import { markStore } from '../support/mark-store.ts'

export type CliResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** A parsed document, to be asked step by step; the assertions say what is really there. */
export interface Json {
  readonly [key: string]: Json | undefined
  [Symbol.iterator](): Iterator<Json>
}

export type CliOptions = {
  readonly env?: Record<string, string>
  readonly config?: string | null
  readonly cwd?: string
}

/** A folder with a directory store, keys and a configuration, in which the real command line runs. */
export type CliFolder = AsyncDisposable & {
  readonly path: string
  /** Writes `pgproof.yaml`: the settings over the usual ones. */
  configure(settings: object): Promise<void>
  write(name: string, text: string, mode?: number): Promise<string>
  /** Runs `node src/main.ts` to its end. */
  run(args: readonly string[], options?: CliOptions): Promise<CliResult>
  /** The same with `--json`; throws unless stdout is one document. */
  json(args: readonly string[], options?: CliOptions): Promise<{ code: number | null; document: Json; stderr: string }>
  start(args: readonly string[], options?: CliOptions): Started
  /** Every object in the store. */
  objects(): string[]
  /** What no command may leave behind: files in the spool and the temporary folder, unfinished writes. */
  leftovers(): string[]
}

export type Started = {
  readonly child: ChildProcess
  readonly result: Promise<CliResult>
  /** What was written to stderr so far. */
  stderr(): string
}

const main = resolve('src/main.ts')
const shared: { keys?: Promise<KeyPair> } = {}

export async function cliFolder(databases: readonly string[] | 'all', settings: object = {}): Promise<CliFolder> {
  const path = await mkdtemp(join(tmpdir(), 'cli-test-'))
  // The embedded scratch server runs as another user and has to reach the spool.
  await chmod(path, 0o711)
  for (const name of ['store', 'tmp']) await mkdir(join(path, name))
  markStore(join(path, 'store'))
  shared.keys ??= generateKeyPair({ name: 'test', kind: 'ecc', use: 'backup', now: new Date() })
  const { publicKey, privateKey } = await shared.keys
  const folder: CliFolder = {
    path,
    async configure(changes) {
      const usual = {
        store: { url: `file://${path}/store` },
        encryption: { recipients: ['pub.asc'], privateKeyFile: 'key.asc' },
        servers: [{ name: 'main', url: testUrl(), databases }],
        drill: { spool: join(path, 'spool') },
      }
      await folder.write('pgproof.yaml', JSON.stringify({ ...usual, ...changes }, null, 1))
    },
    async write(name, text, mode = 0o600) {
      const file = join(path, name)
      await writeFile(file, text)
      await chmod(file, mode)
      return file
    },
    start(args, options = {}) {
      const config = options.config === undefined ? join(path, 'pgproof.yaml') : options.config
      const child = spawn(process.execPath, [main, ...(config === null ? [] : ['--config', config]), ...args], {
        cwd: options.cwd ?? path,
        env: { ...fromOutside(['PATH', 'NODE_COMPILE_CACHE']), HOME: path, TMPDIR: join(path, 'tmp'), ...options.env },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      const output = { stdout: '', stderr: '' }
      for (const name of ['stdout', 'stderr'] as const)
        child[name].setEncoding('utf8').on('data', (text: string) => {
          output[name] += text
        })
      const result = once(child, 'close').then(([code]) => ({ code: code as number | null, ...output }))
      return { child, result, stderr: () => output.stderr }
    },
    run: (args, options) => folder.start(args, options).result,
    async json(args, options) {
      const { code, stdout, stderr } = await folder.run([...args, '--json'], options)
      return { code, document: JSON.parse(stdout) as Json, stderr }
    },
    objects: () => filesIn(join(path, 'store')).filter((file) => !file.includes('/.')),
    leftovers: () => [
      ...filesIn(join(path, 'tmp')),
      ...filesIn(join(path, 'spool')),
      ...filesIn(join(path, 'store')).filter((file) => file.includes('.part')),
    ],
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
  await folder.write('pub.asc', publicKey)
  await folder.write('key.asc', privateKey)
  await folder.configure(settings)
  return folder
}

/** Those variables of this process that are set. */
function fromOutside(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  )
}

/** Waits until `condition` gives something; fails with `what` after a minute. */
export async function waitFor<T>(what: string, condition: () => T | undefined | false): Promise<T> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const found = condition()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`waited a minute for ${what}`)
    await new Promise((done) => setTimeout(done, 5))
  }
}

function filesIn(folder: string): string[] {
  if (!existsSync(folder)) return []
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => !entry.isDirectory()).map(({ parentPath, name }) => `${parentPath}/${name}`)
}
