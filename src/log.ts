import { type Logger, pino } from 'pino'

export type Log = Logger

/** The key names of log lines; nothing else names one. */
export const logKeys = {
  run: 'run',
  job: 'job',
  server: 'server',
  database: 'database',
  trigger: 'trigger',
  attempt: 'attempt',
  label: 'label',
  outcome: 'outcome',
  code: 'code',
  hint: 'hint',
  details: 'details',
  durationSeconds: 'durationSeconds',
  bytes: 'bytes',
} as const

export type LogSettings = { level: 'debug' | 'info' | 'warn' | 'error' | 'silent'; format: 'json' | 'text' }

/** Logs to stderr, so that stdout stays the answer of a command. `text` is for people, `json` for collectors. */
export function createLog(
  settings: LogSettings,
  write: (line: string) => void = (line) => process.stderr.write(line),
): Log {
  const stream = {
    write: (line: string) => write(`${inert(settings.format === 'json' ? line.trimEnd() : readable(line))}\n`),
  }
  return pino(
    {
      level: settings.level,

      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  )
}

export const silentLog: Log = pino({ level: 'silent' })

function readable(line: string): string {
  const { time, level, msg, ...rest } = JSON.parse(line) as Record<string, unknown>
  const pairs = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? quoteIfNeeded(value) : JSON.stringify(value)}`,
  )
  return `${time} ${String(level).padEnd(5)} ${msg ?? ''}${pairs.length > 0 ? `  ${pairs.join(' ')}` : ''}`
}

/**
 * One line, whatever names are in it: what a terminal would obey or hide is written as JSON writes it, which changes
 * nothing of what the line says to those who parse it.
 */
function inert(line: string): string {
  return line.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) =>
    character
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

function quoteIfNeeded(value: string): string {
  return /^[\w./:@%+-]+$/.test(value) ? value : JSON.stringify(value)
}
