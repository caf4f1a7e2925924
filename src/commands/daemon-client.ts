import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import type { z } from 'zod'
import { assertNotAborted, PgproofError, reasonOf } from '../errors.ts'
import type { CommandContext } from './context.ts'
import { refusalOf } from './daemon-refusal.ts'

export type DaemonFlags = {
  /** `http://host:9432`, or the same behind a path of a proxy; else PGPROOF_URL. */
  readonly url?: string
  /** A file with the token; else PGPROOF_TOKEN. */
  readonly tokenFile?: string
  /** The certificates of the authorities that may have signed that of the daemon; else those of Node. */
  readonly caFile?: string
}

/** A daemon that was named; nothing has been asked yet. */
export type Daemon = {
  readonly base: URL
  readonly token: string | undefined
  readonly ca: Buffer | undefined
  readonly context: CommandContext
}

/** What a daemon needs to have been given for: a refused token is explained by it. */
type Scope = 'read' | 'drill' | 'backup'

const timeoutMs = 30_000
/** A daemon that lives sends something on an event stream every 15 seconds. */
const longestSilenceMs = 50_000
const longestAnswer = 64 << 20
/** A run takes a few kilobytes. It is looked through again with each piece that arrives, so it must not be long. */
const longestEvent = 1 << 20
const orderAttempts = 3

/**
 * The daemon that the flags or PGPROOF_URL name; undefined where the command works alone, which --config and --store also
 * ask for. Throws USAGE_INVALID.
 */
export async function namedDaemon(
  flags: DaemonFlags & { readonly store?: string | undefined },
  context: CommandContext,
): Promise<Daemon | undefined> {
  const isAlone = context.flags.config !== undefined || flags.store !== undefined
  const url = flags.url ?? (isAlone ? undefined : context.env['PGPROOF_URL']?.trim() || undefined)
  if (url === undefined) {
    for (const name of ['tokenFile', 'caFile'] as const)
      if (flags[name] !== undefined)
        throw usage(`${name === 'tokenFile' ? '--token-file' : '--ca-file'} has no meaning without --url`)
    return undefined
  }
  if (flags.store !== undefined) throw usage('--store has no meaning with --url: the daemon has its store')
  const base = baseOf(url, flags.url === undefined ? 'PGPROOF_URL' : '--url')
  const ca = flags.caFile === undefined ? undefined : await readGiven('--ca-file', flags.caFile)
  const token =
    flags.tokenFile === undefined
      ? context.env['PGPROOF_TOKEN']?.trim() || undefined
      : (await readGiven('--token-file', flags.tokenFile)).toString('utf8').trim()
  return { base, token, ca, context }
}

/**
 * One answer. Throws DAEMON_UNREACHABLE, DAEMON_UNAUTHORIZED, DAEMON_FORBIDDEN, DAEMON_STRANGE, or what the daemon
 * itself refused with, by its own code.
 */
export async function askDaemon<T extends z.ZodType>(daemon: Daemon, path: string, schema: T): Promise<z.output<T>> {
  return parsed(schema, await exchange(daemon, 'GET', path, { scope: 'read' }), daemon)
}

/**
 * Orders something. What may have been lost on the way is sent again under the same key, which orders nothing twice. Waits
 * for the answer also while the command is being cancelled: what was ordered must be known to be cancelled, too.
 */
export async function orderFromDaemon<T extends z.ZodType>(
  daemon: Daemon,
  path: string,
  { scope, body, schema }: { readonly scope: Scope; readonly body: object; readonly schema: T },
): Promise<z.output<T>> {
  const { clock, signal, warn } = daemon.context
  const headers = { 'idempotency-key': randomUUID() }
  assertNotAborted(signal, 'the command')
  for (let attempt = 1; ; attempt += 1)
    try {
      const unhurried = AbortSignal.timeout(timeoutMs)
      return parsed(schema, await exchange(daemon, 'POST', path, { scope, body, headers, signal: unhurried }), daemon)
    } catch (error) {
      const isPassing = error instanceof PgproofError && error.code === 'DAEMON_UNREACHABLE'
      if (isPassing && attempt < orderAttempts && !signal.aborted)
        // Cut short when the command is cancelled, of which is told below.
        await clock.sleep(attempt * 500, signal).catch(() => {})
      if (isPassing && signal.aborted) {
        warn('it is not known whether the daemon took the order; `pgproof runs` shows what it does')
        throw signal.reason
      }
      if (!isPassing || attempt === orderAttempts) throw error
    }
}

/** Cancels a run, also while the command itself is being cancelled: `signal` is another one then. */
export async function cancelAtDaemon<T extends z.ZodType>(
  daemon: Daemon,
  id: string,
  schema: T,
  signal: AbortSignal,
): Promise<z.output<T>> {
  const path = `v1/runs/${encodeURIComponent(id)}`
  return parsed(schema, await exchange(daemon, 'DELETE', path, { scope: 'drill', signal }), daemon)
}

/** The data of server-sent events, until the stream ends, which it may do at any time. */
export async function* eventsOf<T extends z.ZodType>(
  daemon: Daemon,
  path: string,
  schema: T,
  signal: AbortSignal,
  silenceMs = longestSilenceMs,
): AsyncGenerator<z.output<T>> {
  const response = await send(daemon, 'GET', path, { scope: 'read', accept: 'text/event-stream', signal, silenceMs })
  if (response.statusCode !== 200) return await refuse(response, daemon, 'read', signal)
  let text = ''
  for await (const chunk of chunksOf(response, daemon, signal)) {
    text += chunk
    if (text.length > longestEvent) throw strange(daemon, 'its event has no end')
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n')
      text = text.slice(end + 2)
      const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trimStart())
      if (data.length > 0) yield parsed(schema, parseJson(data.join('\n'), daemon), daemon)
    }
  }
}

type Exchange = {
  readonly scope: Scope
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
  readonly accept?: string
  readonly signal?: AbortSignal
  readonly silenceMs?: number
}

async function exchange(daemon: Daemon, method: string, path: string, what: Exchange): Promise<unknown> {
  const signal = AbortSignal.any([what.signal ?? daemon.context.signal, AbortSignal.timeout(timeoutMs)])
  const response = await send(daemon, method, path, { ...what, signal })
  const status = response.statusCode ?? 0
  if (status < 200 || status > 299) return await refuse(response, daemon, what.scope, signal)
  return parseJson(await textOf(response, daemon, signal), daemon)
}

/** Never resolves: says why in an error of the register. */
async function refuse(response: IncomingMessage, daemon: Daemon, scope: Scope, signal: AbortSignal): Promise<never> {
  const text = await textOf(response, daemon, signal)
  throw refusalOf({ status: response.statusCode ?? 0, text }, { url: daemon.base.href, scope })
}

/** The head of the answer. A redirection is not followed: the token is for this address only. */
async function send(
  daemon: Daemon,
  method: string,
  path: string,
  { body, headers = {}, accept = 'application/json', signal = daemon.context.signal, silenceMs: silence }: Exchange,
): Promise<IncomingMessage> {
  const { base, token, ca } = daemon
  const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  try {
    assertNotAborted(signal)
    // Loaded here: it takes a tenth of the time that a command needs to start, and most commands ask no daemon.
    const { request } = base.protocol === 'https:' ? await import('node:https') : await import('node:http')
    const sent = request(new URL(path, base), {
      method,
      signal,
      agent: false,
      timeout: silence ?? timeoutMs,
      ...(ca === undefined ? {} : { ca }),
      headers: {
        ...headers,
        accept,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(bytes === undefined ? {} : { 'content-type': 'application/json', 'content-length': bytes.length }),
      },
    })
    let response: IncomingMessage | undefined
    sent.on('response', (head) => {
      response = head
      resolve(head)
    })
    sent.on('error', reject)
    // Once there is an answer, whoever reads it is told only what was said to it.
    sent.on('timeout', () => (response ?? sent).destroy(new Error('it has gone silent')))
    sent.end(bytes)
    return await promise
  } catch (error) {
    throw unreachable(error, daemon, signal)
  }
}

async function textOf(response: IncomingMessage, daemon: Daemon, signal: AbortSignal): Promise<string> {
  let text = ''
  for await (const chunk of chunksOf(response, daemon, signal)) {
    text += chunk
    if (text.length > longestAnswer) throw unreachable(new Error('its answer has no end'), daemon, signal)
  }
  return text
}

async function* chunksOf(response: IncomingMessage, daemon: Daemon, signal: AbortSignal): AsyncGenerator<string> {
  try {
    for await (const chunk of response.setEncoding('utf8')) yield chunk as string
  } catch (error) {
    throw unreachable(error, daemon, signal)
  }
}

function unreachable(error: unknown, { base, context }: Daemon, signal: AbortSignal): unknown {
  if (context.signal.aborted && signal.reason === context.signal.reason) return context.signal.reason
  const isTimeout = signal.aborted && signal.reason instanceof Error && signal.reason.name === 'TimeoutError'
  const reason = isTimeout ? `no answer within ${timeoutMs / 1000} s` : reasonOf(error)
  return new PgproofError('DAEMON_UNREACHABLE', { url: base.href, reason }, { cause: error })
}

function parseJson(text: string, daemon: Daemon): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw strange(daemon, 'its answer is no JSON', error)
  }
}

function parsed<T extends z.ZodType>(schema: T, answer: unknown, daemon: Daemon): z.output<T> {
  const result = schema.safeParse(answer)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw strange(daemon, `its answer lacks ${issue?.path.join('.') || 'everything'}`)
}

function strange({ base }: Daemon, reason: string, cause?: unknown): PgproofError {
  return new PgproofError('DAEMON_STRANGE', { url: base.href, reason }, { cause })
}

function usage(reason: string, cause?: unknown): PgproofError {
  return new PgproofError('USAGE_INVALID', { reason }, { cause })
}

/** `given` is what named it. */
function baseOf(text: string, given: '--url' | 'PGPROOF_URL'): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
    throw usage(`${given} must be http://host:port or https://host`)
  if (url.username !== '' || url.password !== '')
    throw usage(`the token goes into --token-file or PGPROOF_TOKEN, not into ${given}`)
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return url
}

async function readGiven(flag: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    throw usage(`cannot read ${flag}: ${reasonOf(error)}`, error)
  }
}
