import type { Clock } from '../clock.ts'
import { PgproofError } from '../errors.ts'
import { askHidden, askLine, type InputStream } from './ask.ts'
import { failureText } from './failure.ts'
import { createPainter, type Painter, printable } from './print.ts'
import { Progress, type TextStream } from './progress.ts'

/** What main.ts takes from the process. */
export type Surroundings = {
  readonly stdin: InputStream
  readonly stdout: TextStream
  readonly stderr: TextStream
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** Aborted with a register error by the first signal to the process. */
  readonly signal: AbortSignal
  readonly clock: Clock
  /** From now on SIGHUP calls `handler`. */
  onReload(handler: () => void): void
}

/** The flags that every command has. */
export type GlobalFlags = {
  readonly config?: string | undefined
  readonly json?: boolean | undefined
  readonly verbose?: boolean | undefined
}

/** What a command works with; nothing here is written to stdout when `--json` is given. */
export type CommandContext = Omit<Surroundings, 'stdin' | 'stdout' | 'stderr'> & {
  readonly flags: GlobalFlags
  readonly isTerminal: boolean
  readonly progress: Progress
  /** Whether somebody sits there who can be asked. */
  readonly canAsk: boolean
  /** What somebody types after the question, on one line. Throws USAGE_INVALID where nobody can be asked, CANCELLED. */
  ask(question: string): Promise<string>
  /** The same for what must not be seen. */
  askSecret(question: string): Promise<string>
  /** Colours for what goes to stdout. */
  readonly paint: Painter
  /** One or more lines for people, at once; for commands whose work takes long. The text must be printable. */
  say(text: string): void
  /** What a person wants to know and a script does not, on stderr. */
  note(text: string): void
  /** A warning on stderr, for people and scripts. */
  warn(text: string): void
  /** One failure of several, on stderr; for `--json` it is in the document. */
  complain(error: PgproofError, what: string): void
}

/** What a command answers. */
export type Answer = {
  /** The document of `--json`; `error` is added to it. */
  readonly document: Readonly<Record<string, unknown>>
  /** The same for people; printable, without a line break at its end. */
  readonly text?: string | undefined
  /** Why the answer is bad; printed after the text, and decides about the exit code. */
  readonly error?: PgproofError | null | undefined
  /** Where the exit code is not that of the error: a drill's goes by its verdict. */
  readonly exitCode?: number | undefined
}

export function createContext(surroundings: Surroundings, flags: GlobalFlags): CommandContext {
  const { stdin, stdout, stderr, env, cwd, signal, clock, onReload } = surroundings
  const isTerminal = stderr.isTTY === true && env['TERM'] !== 'dumb'
  const mode = isTerminal ? 'terminal' : flags.json === true ? 'off' : 'plain'
  const progress = new Progress(stderr, { clock, mode })
  const paintStderr = createPainter(hasColours(stderr, env))
  const canAsk = stdin.isTTY === true && stderr.isTTY === true
  const asked = async (question: string, read: typeof askLine): Promise<string> => {
    if (!canAsk) throw new PgproofError('USAGE_INVALID', { reason: 'there is no terminal to ask at' })
    using _quiet = progress.pause()
    return await read(printable(question), { stdin, write: (text) => stderr.write(text), signal })
  }
  return {
    env,
    cwd,
    signal,
    clock,
    onReload,
    flags,
    isTerminal,
    canAsk,
    ask: (question) => asked(question, askLine),
    askSecret: (question) => asked(question, askHidden),
    progress,
    paint: createPainter(hasColours(stdout, env)),
    say: (text) => {
      // An empty write makes a line that is being redrawn go away first.
      progress.write('')
      if (flags.json !== true) stdout.write(`${text}\n`)
    },
    note: (text) => {
      if (flags.json !== true) progress.write(`${printable(text)}\n`)
    },
    warn: (text) => progress.write(`${paintStderr('warning:', 'doubtful')} ${printable(text)}\n`),
    complain: (error, what) => {
      if (flags.json !== true) progress.write(`${failureText(error, paintStderr, what)}\n`)
    },
  }
}

/** https://no-color.org: any text but the empty one switches colours off. */
export function hasColours(stream: TextStream, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb'
}
