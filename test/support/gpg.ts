import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A real GnuPG with a key ring of its own, gone with its agent when the scope ends. */
export type Gpg = AsyncDisposable & {
  /** For files of the test; removed with the key ring. */
  readonly folder: string
  /** Runs gpg without questions; throws with what it printed unless it exits with 0. */
  run(args: readonly string[], options?: GpgOptions): Promise<GpgOutput>
  /** Makes a key by `--quick-generate-key` and returns its fingerprint. */
  generateKey(
    userId: string,
    algorithm: string,
    use: string,
    options?: GpgOptions & { expires?: string },
  ): Promise<string>
  import(key: string | Uint8Array): Promise<void>
  /** Writes bytes into the folder and returns the path. */
  file(name: string, contents: string | Uint8Array): Promise<string>
}

export type GpgOptions = {
  readonly input?: Uint8Array | string
  /** Of the keys that the command uses or makes; none if left out. */
  readonly passphrase?: string
  /** As gpg takes it: `20200101T000000`. */
  readonly fakedTime?: string
}

export type GpgOutput = { readonly stdout: Buffer; readonly stderr: string }

export async function startGpg(): Promise<Gpg> {
  // A short path: the agent's socket lies in it, and the path of a socket has a limit.
  const folder = await mkdtemp(join(tmpdir(), 'gpg-'))
  // Locking a key takes the agent a tenth of a second by default; a test need not be that hard to guess.
  await writeFile(join(folder, 'gpg-agent.conf'), 's2k-count 65536\n')
  await runProgram('gpg', ['--homedir', folder, '--batch', '--quiet', '--check-trustdb'])
  const run = async (args: readonly string[], options: GpgOptions = {}): Promise<GpgOutput> => {
    const fakedTime = options.fakedTime === undefined ? [] : ['--faked-system-time', `${options.fakedTime}!`]
    const passphrase = ['--pinentry-mode', 'loopback', '--passphrase', options.passphrase ?? '']
    const common = ['--homedir', folder, '--batch', '--yes', '--no-tty', '--trust-model', 'always']
    return await runProgram('gpg', [...common, ...passphrase, ...fakedTime, ...args], options.input)
  }
  return {
    folder,
    run,
    async generateKey(userId, algorithm, use, options = {}) {
      const args = ['--status-fd', '2', '--quick-generate-key', userId, algorithm, use, options.expires ?? 'never']
      const { stderr } = await run(args, options)
      return /KEY_CREATED \w ([0-9A-F]{40})/.exec(stderr)?.[1] as string
    },
    async import(key) {
      await run(['--import'], { input: key })
    },
    async file(name, contents) {
      const path = join(folder, name)
      await writeFile(path, contents)
      return path
    },
    async [Symbol.asyncDispose]() {
      await runProgram('gpgconf', ['--homedir', folder, '--kill', 'all'])
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

async function runProgram(program: string, args: readonly string[], input?: Uint8Array | string): Promise<GpgOutput> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  child.stdin.on('error', () => {})
  child.stdin.end(input ?? '')
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on('error', () => reject(new Error(`${program} is needed by this test: apt-get install gnupg`)))
    child.on('close', resolve)
  })
  const errors = Buffer.concat(stderr).toString('utf8')
  if (exitCode !== 0) throw new Error(`${program} ${args.at(-1)}: exit code ${exitCode}\n${errors}`)
  return { stdout: Buffer.concat(stdout), stderr: errors }
}
