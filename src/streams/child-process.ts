import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** A program to run. Its environment is exactly `env`: nothing is inherited, so no secret of ours reaches it. */
export type Program = {
  readonly path: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string | undefined
  /** Run as another OS user (only root can). */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
}

export type ProgramOptions = {
  readonly signal: AbortSignal
  /** From SIGTERM to SIGKILL. */
  readonly graceMs?: number | undefined
  /** Each line of standard error as it comes, cut to 2,000 characters; it may hold row values, so never log it. */
  readonly onStderrLine?: ((line: string) => void) | undefined
}

/** How a program ended that did not exit with 0, with the last lines it wrote to standard error. */
export class ProgramError extends Error {
  readonly program: string
  readonly exitCode: number | null
  readonly signalName: NodeJS.Signals | null
  /** ENOENT and the like, when it could not even be started. */
  readonly startCode: string | undefined
  readonly stderrTail: string

  constructor(program: string, end: ProgramEnd, stderrTail: string) {
    super(`${program}: ${describeEnd(end)}`)
    this.name = 'ProgramError'
    this.program = program
    this.exitCode = end.exitCode
    this.signalName = end.signalName
    this.startCode = end.startCode
    this.stderrTail = stderrTail
  }

  /** `exit code 1`, `killed by SIGKILL`, `cannot be started (ENOENT)`. */
  get outcome(): string {
    return describeEnd(this)
  }
}

type ProgramEnd = {
  readonly exitCode: number | null
  readonly signalName: NodeJS.Signals | null
  readonly startCode: string | undefined
}

/**
 * A program's standard output as a stream stage. It ends only after the program has exited with 0: a consumer that
 * takes the end of the stream for success is right. It throws `ProgramError` for any other end, and when the signal
 * aborts or the consumer stops early the whole process group is ended and waited for before that is passed on.
 */
export async function* programOutput(
  program: Program,
  options: ProgramOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const running = start(program, options, ['ignore', 'pipe', 'pipe'])
  try {
    const { stdout } = running.child
    if (stdout !== null) for await (const chunk of stdout) yield chunk as Uint8Array
    assertSucceeded(program, await running.ended, running, options.signal)
  } finally {
    await running.stop()
  }
}

/** Runs a program to its end and returns what it printed (up to 64 MiB). Throws `ProgramError` unless it exits with 0. */
export async function runProgram(program: Program, options: ProgramOptions): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of programOutput(program, options)) {
    bytes += chunk.length
    if (bytes <= 64 << 20) chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/**
 * Runs a program that reads `input`. It sees the end of its input only if that ended by itself: where the input fails,
 * the program is killed first, so that it cannot take a half for the whole. Throws what the input throws, or
 * `ProgramError`.
 */
export async function feedProgram(
  program: Program,
  input: AsyncIterable<Uint8Array>,
  options: ProgramOptions,
): Promise<void> {
  const running = start(program, options, ['pipe', 'ignore', 'pipe'])
  const failed = { input: undefined as { readonly error: unknown } | undefined }
  const whole = async function* (): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* input
    } catch (error) {
      failed.input = { error }
      await running.stop('SIGKILL')
      throw error
    }
  }
  try {
    const { stdin } = running.child
    // A program that ends early closes its input; why it ended says more than that.
    if (stdin !== null) await pipeline(whole, stdin).catch(() => {})
    const end = await running.ended
    options.signal.throwIfAborted()
    if (failed.input !== undefined) throw failed.input.error
    assertSucceeded(program, end, running, options.signal)
  } finally {
    await running.stop()
  }
}

/** A program that runs until it is stopped, such as a scratch server. */
export type RunningProgram = AsyncDisposable & {
  /** Settles when it has ended; never rejects. */
  readonly ended: Promise<ProgramEnd>
  stderrTail(): string
  /** `first` lets it end by itself (a server's fast shutdown); SIGKILL to the group follows after the grace. */
  stop(first?: NodeJS.Signals): Promise<void>
}

export function startProgram(program: Program, options: ProgramOptions): RunningProgram {
  const running = start(program, options, ['ignore', 'ignore', 'pipe'])
  return {
    ended: running.ended,
    stderrTail: running.stderrTail,
    stop: running.stop,
    [Symbol.asyncDispose]: () => running.stop(),
  }
}

/** If this process ends without waiting (a second Ctrl-C), no program of it may go on. */
const liveGroups = new Set<number>()
process.on('exit', () => {
  for (const pid of liveGroups) signalGroup(pid, 'SIGKILL')
})

type Started = {
  readonly child: ChildProcess
  readonly ended: Promise<ProgramEnd>
  stderrTail(): string
  stop(first?: NodeJS.Signals): Promise<void>
}

function start(program: Program, options: ProgramOptions, stdio: SpawnOptions['stdio']): Started {
  const graceMs = options.graceMs ?? 10_000
  options.signal.throwIfAborted()
  // Its own process group, so that the workers of a parallel pg_restore end with it.
  const child = spawn(program.path, [...program.args], {
    env: { ...program.env },
    cwd: program.cwd ?? '/',
    stdio: stdio ?? 'pipe',
    detached: true,
    ...(program.user ?? {}),
  })
  let startCode: string | undefined
  // Listen at once: a missing binary must not become an unhandled error.
  const ended = new Promise<ProgramEnd>((resolve) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      startCode = error.code ?? error.message
      if (child.pid === undefined) resolve({ exitCode: null, signalName: null, startCode })
    })
    child.on('close', (exitCode, signalName) => resolve({ exitCode, signalName, startCode }))
  })
  const tail = new StderrTail()
  if (child.stderr !== null)
    readLines(child.stderr, (line) => {
      tail.add(line)
      options.onStderrLine?.(line)
    })
  const { pid } = child
  if (pid !== undefined) liveGroups.add(pid)
  let hasEnded = false
  void ended.then(() => {
    hasEnded = true
    if (pid !== undefined) liveGroups.delete(pid)
  })
  const stop = async (first: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    options.signal.removeEventListener('abort', onAbort)
    if (hasEnded || pid === undefined) {
      await ended
      return
    }
    child.stdout?.resume()
    signalGroup(pid, first)
    const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), graceMs)
    await ended
    clearTimeout(timer)
  }
  const onAbort = (): void => void stop()
  options.signal.addEventListener('abort', onAbort, { once: true })
  void ended.then(() => options.signal.removeEventListener('abort', onAbort))
  return { child, ended, stderrTail: () => tail.text(), stop }
}

function assertSucceeded(program: Program, end: ProgramEnd, running: Started, signal: AbortSignal): void {
  signal.throwIfAborted()
  if (end.exitCode === 0 && end.startCode === undefined) return
  throw new ProgramError(nameOf(program.path), end, running.stderrTail())
}

function signalGroup(pid: number, signalName: NodeJS.Signals): void {
  try {
    process.kill(-pid, signalName)
  } catch {
    // It has ended meanwhile.
  }
}

function describeEnd(end: ProgramEnd): string {
  if (end.startCode !== undefined) return `cannot be started (${end.startCode})`
  return end.signalName === null ? `exit code ${end.exitCode}` : `killed by ${end.signalName}`
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

const longestLine = 2_000

/** Hands over line by line. Of a line only its beginning is held: a program may write gigabytes without a break. */
function readLines(input: Readable, onLine: (line: string) => void): void {
  let begun = ''
  const hand = (line: string): void => onLine(line.length > longestLine ? `${line.slice(0, longestLine)}…` : line)
  input.setEncoding('utf8')
  input.on('data', (text: string) => {
    const lines = text.split('\n')
    const last = lines.pop() ?? ''
    for (const line of lines) {
      hand(begun + line)
      begun = ''
    }
    begun = (begun + last).slice(0, longestLine + 1)
  })
  input.on('end', () => {
    if (begun !== '') hand(begun)
  })
}

/** The first lines say what went wrong, the last ones how it ended; what lies between is dropped. */
class StderrTail {
  readonly #first: string[] = []
  #last: string[] = []

  add(line: string): void {
    if (this.#first.length < 10) this.#first.push(line)
    else {
      this.#last.push(line)
      if (this.#last.length > 60) this.#last = this.#last.slice(-30)
    }
  }

  text(): string {
    return [...this.#first, ...this.#last.slice(-30)].join('\n')
  }
}
