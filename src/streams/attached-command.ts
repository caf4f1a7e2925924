import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { reasonOf } from '../errors.ts'

/** How a command ended, as a shell would say it. */
export type AttachedEnd = {
  /** 128 and the number of the signal that killed it; 127 where it was not found, 126 where it could not be executed. */
  readonly exitCode: number
  readonly signalName: NodeJS.Signals | null
  /** ENOENT and the like, when it could not even be started. */
  readonly startCode: string | null
}

export type AttachedCommand = {
  readonly command: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly onStart?: ((pid: number) => void) | undefined
}

/**
 * Runs a command in our place: with our standard streams untouched, our folder and our terminal, without a shell. Until
 * it has ended the signals to this process are the command's: they are passed on and end nothing here. Never rejects.
 */
export async function runAttached({ command, args, env, onStart }: AttachedCommand): Promise<AttachedEnd> {
  let child: ChildProcess
  try {
    // Not detached: only the terminal's own process group may read from it.
    child = spawn(command, [...args], { env, stdio: 'inherit', shell: false })
  } catch (error) {
    // Node tells some failures to start by the event `error`, and throws the others: ENOTDIR, E2BIG.
    return notStarted((error as NodeJS.ErrnoException).code ?? reasonOf(error))
  }
  using _signals = takeSignals((name) => {
    if (name === 'SIGTERM' || name === 'SIGHUP' || !isSentByTerminal()) child.kill(name)
  })
  return await new Promise((resolve) => {
    child.on('spawn', () => onStart?.(child.pid ?? 0))
    child.on('error', (error: NodeJS.ErrnoException) => {
      // Anything else is a signal that could not be sent, since the command has just ended.
      if (child.pid === undefined) resolve(notStarted(error.code ?? error.message))
    })
    child.on('close', (exitCode, signalName) => {
      if (child.pid === undefined) return
      const code = signalName === null ? (exitCode ?? 1) : 128 + constants.signals[signalName]
      resolve({ exitCode: code, signalName, startCode: null })
    })
  })
}

function notStarted(startCode: string): AttachedEnd {
  const isMissing = startCode === 'ENOENT' || startCode === 'ENOTDIR'
  return { exitCode: isMissing ? 127 : 126, signalName: null, startCode }
}

const taken = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP'] as const

/** Ours first, then the others away: without any listener the signal would end this process. */
function takeSignals(handle: (name: NodeJS.Signals) => void): Disposable {
  const giveBack = taken.map((name) => {
    const others = process.rawListeners(name) as NodeJS.SignalsListener[]
    const listener = (): void => handle(name)
    process.on(name, listener)
    for (const other of others) process.off(name, other)
    return (): void => {
      for (const other of others) process.on(name, other)
      process.off(name, listener)
    }
  })
  return {
    [Symbol.dispose]: () => {
      for (const one of giveBack) one()
    },
  }
}

/** A terminal sends Ctrl-C and Ctrl-\ to its whole foreground group, so the command has got them already. */
function isSentByTerminal(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8')
    const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return terminal !== '0' && group === foreground
  } catch {
    return process.stderr.isTTY === true
  }
}
