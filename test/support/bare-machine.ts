import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { serverBinDir } from './postgres-server.ts'

/** The blocks of commands of a Markdown text, in order. */
export function commandBlocks(markdown: string): string[] {
  return [...markdown.matchAll(/^```sh\n([\s\S]*?)\n```$/gm)].map(([, commands]) => commands ?? '')
}

export type Outcome = {
  /** The block that failed, by its number from 0 on; undefined if none did. */
  readonly failed: number | undefined
  readonly output: string
}

/** An empty folder and home on a machine without pgproof and Node. */
export type BareMachine = AsyncDisposable & {
  readonly folder: string
  /** Runs blocks of commands in one bash, as somebody would paste them; stops at the first that fails. */
  run(blocks: readonly string[], env?: Record<string, string>): Promise<Outcome>
}

/** What Debian's `coreutils`, `sed`, `grep`, `findutils` and `gnupg` have of what the commands say, and no more. */
const programs = [
  ...['bash', 'cat', 'cp', 'rm', 'mkdir', 'sort', 'tail', 'comm', 'sha256sum', 'sed', 'grep', 'find', 'df', 'ls'],
  ...['gpg', 'gpg-agent', 'zstd'],
]
const clients = ['psql', 'pg_restore', 'createdb', 'dropdb']

export function bareMachine(others: readonly string[] = []): BareMachine {
  // A short path: the socket of gpg's agent lies below it.
  const home = mkdtempSync(join(tmpdir(), 'bare-'))
  const bin = join(home, 'bin')
  const folder = join(home, 'work')
  for (const made of [bin, folder]) mkdirSync(made)
  mkdirSync(join(home, 'g'), { mode: 0o700 })
  for (const name of [...programs, ...others]) symlinkSync(pathOf(name), join(bin, name))
  for (const name of clients) symlinkSync(join(serverBinDir(), name), join(bin, name))
  const environment = { PATH: bin, HOME: home, GNUPGHOME: join(home, 'g'), LC_ALL: 'C.UTF-8' }
  return {
    folder,
    async run(blocks, env = {}) {
      const script = blocks.map((block, index) => `${block}\n[ $? = 0 ] || { echo "block ${index} failed"; exit 1; }\n`)
      const options = { cwd: folder, env: { ...environment, ...env }, stdio: 'pipe' as const }
      const child = spawn(join(bin, 'bash'), ['-c', script.join('')], options)
      child.stdin.end()
      const chunks: Buffer[] = []
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      const [exitCode] = (await once(child, 'close')) as [number | null]
      const output = Buffer.concat(chunks).toString()
      const failed = /^block (\d+) failed$/m.exec(output)?.[1]
      if ((exitCode === 0) !== (failed === undefined)) throw new Error(`bash ended with ${exitCode}:\n${output}`)
      return { failed: failed === undefined ? undefined : Number(failed), output }
    },
    async [Symbol.asyncDispose]() {
      const child = spawn('gpgconf', ['--homedir', join(home, 'g'), '--kill', 'all'], { stdio: 'ignore' })
      await once(child, 'close')
      rmSync(home, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

function pathOf(program: string): string {
  const folder = (process.env['PATH'] ?? '').split(delimiter).find((one) => existsSync(join(one, program)))
  if (folder === undefined) throw new Error(`${program} is needed by this test: node scripts/setup.mjs --tests`)
  return join(folder, program)
}
