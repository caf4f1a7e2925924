import { StringDecoder } from 'node:string_decoder'
import { PgproofError } from '../errors.ts'

/** Where a person types; `process.stdin`. */
export type InputStream = {
  readonly isTTY?: boolean | undefined
  setRawMode?(isRaw: boolean): unknown
  on(event: 'data', listener: (chunk: Buffer) => void): unknown
  on(event: 'end', listener: () => void): unknown
  off(event: 'data', listener: (chunk: Buffer) => void): unknown
  off(event: 'end', listener: () => void): unknown
  resume(): unknown
  pause(): unknown
}

type Terminal = { readonly stdin: InputStream; write(text: string): void; readonly signal: AbortSignal }

/** One line from the terminal, which shows it. Throws what aborted the signal, or CANCELLED where nothing more comes. */
export async function askLine(question: string, { stdin, write, signal }: Terminal): Promise<string> {
  write(question)
  let text = ''
  return await listen(stdin, signal, (chunk, done) => {
    text += chunk
    const end = text.indexOf('\n')
    if (end !== -1) done(text.slice(0, end).replace(/\r$/, ''))
  })
}

/** The same, and nothing of it is shown. Ctrl-C throws CANCELLED. */
export async function askHidden(question: string, { stdin, write, signal }: Terminal): Promise<string> {
  // Before the question is seen, so that nothing typed after it can be.
  stdin.setRawMode?.(true)
  try {
    write(question)
    let text = ''
    return await listen(stdin, signal, (chunk, done) => {
      for (const character of withoutControlSequences(chunk))
        if (character === '\r' || character === '\n') return done(text)
        else if (character === '\u0003' || character === '\u0004') throw cancelled()
        else if (character === '\u007f' || character === '\b') text = [...text].slice(0, -1).join('')
        else if (character === '\u0015') text = ''
        else if (character >= ' ') text += character
    })
  } finally {
    stdin.setRawMode?.(false)
    write('\n')
  }
}

/** The text without what cursor and function keys send. */
function withoutControlSequences(text: string): string {
  const [first = '', ...others] = text.split('\u001b')
  return first + others.map((part) => part.replace(/^(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])/, '')).join('')
}

/** Hands over what arrives until `done` is called; throws what `onText` throws. */
async function listen(
  stdin: InputStream,
  signal: AbortSignal,
  onText: (text: string, done: (answer: string) => void) => void,
): Promise<string> {
  signal.throwIfAborted()
  const decoder = new StringDecoder('utf8')
  const release: (() => void)[] = []
  try {
    return await new Promise<string>((resolve, reject) => {
      const onData = (chunk: Buffer): void => {
        try {
          onText(decoder.write(chunk), resolve)
        } catch (error) {
          reject(error)
        }
      }
      const onEnd = (): void => reject(cancelled())
      const onAbort = (): void => reject(signal.reason)
      stdin.on('data', onData)
      stdin.on('end', onEnd)
      signal.addEventListener('abort', onAbort, { once: true })
      release.push(
        () => stdin.off('data', onData),
        () => stdin.off('end', onEnd),
        () => signal.removeEventListener('abort', onAbort),
      )
      stdin.resume()
    })
  } finally {
    for (const free of release) free()
    stdin.pause()
  }
}

function cancelled(): PgproofError {
  return new PgproofError('CANCELLED', { what: 'the command' })
}
