import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { type GateFacts, type GateSource, spellAge, toleratedSkewMs } from '../domain/gate.ts'
import { PgproofError, reasonOf } from '../errors.ts'
import type { CommandContext } from './context.ts'

export type DaemonAddress = {
  /** `http://host:9432`, or the same behind a path of a proxy. */
  readonly url: string
  /** A file with a token of scope `read`; else PGPROOF_TOKEN. */
  readonly tokenFile: string | undefined
}

/**
 * What a daemon says of its databases; no configuration is needed. One that cannot know, because it has not read its
 * store, closes the gate. Throws DAEMON_UNREACHABLE, DAEMON_UNAUTHORIZED, DAEMON_FORBIDDEN, DAEMON_STRANGE.
 */
export async function readGateOfDaemon(address: DaemonAddress, context: CommandContext): Promise<GateSource> {
  const base = baseOf(address.url)
  const daemon = { base, token: await tokenOf(address.tokenFile, context), context }
  const answer = await ask(daemon, 'v1/status')
  if (answer === 'not ready') return { servers: [], databases: [], closed: ['the daemon is not ready'], time: null }
  const status = parsed(statusSchema, answer, base)
  const time = new Date(status.time)
  warnOfSkew(time, context)
  const servers = [...new Set([...status.databases, ...status.roles].map(({ server }) => server))]
  if (!status.isReady)
    return { servers, databases: [], closed: [`the daemon is not ready: ${status.reasons.join('; ')}`], time }
  const closed = status.store.isComplete ? [] : ['the daemon could not read everything in its store']
  const databases: GateFacts[] = []
  for (const one of status.databases) databases.push(await factsOf(one, daemon))
  return { servers, databases, closed, time }
}

type Daemon = { readonly base: URL; readonly token: string | undefined; readonly context: CommandContext }

const timeoutMs = 30_000
const longestAnswer = 64 << 20

const drillSchema = z.object({
  label: z.string(),
  finishedAt: z.iso.datetime(),
  verdict: z.enum(['passed', 'failed', 'inconclusive']),
  reason: z.object({ message: z.string() }).nullable(),
})

const databaseSchema = z.object({
  server: z.string(),
  database: z.string(),
  newestBackup: z.object({ label: z.string(), snapshotTime: z.iso.datetime() }).nullable(),
  recoveryPoint: z.iso.datetime().nullable(),
  lastDrill: drillSchema.nullable(),
  lastPassedDrill: drillSchema.nullable(),
})
type DaemonDatabase = z.infer<typeof databaseSchema>

/** As much of the status as a gate needs; a newer daemon may say more. */
const statusSchema = z.object({
  time: z.iso.datetime(),
  isReady: z.boolean(),
  reasons: z.array(z.string()),
  databases: z.array(databaseSchema),
  roles: z.array(z.object({ server: z.string() })),
  store: z.object({ isComplete: z.boolean() }),
})

const drillsSchema = z.object({ items: z.array(drillSchema) })

async function factsOf(one: DaemonDatabase, daemon: Daemon): Promise<GateFacts> {
  const { server, database, newestBackup, recoveryPoint, lastPassedDrill: passed } = one
  const failed = await lastFailure(one, daemon)
  return {
    server,
    database,
    backup:
      recoveryPoint === null
        ? null
        : {
            label: newestBackup?.snapshotTime === recoveryPoint ? newestBackup.label : null,
            snapshotTime: new Date(recoveryPoint),
          },
    onlyDamaged: recoveryPoint === null && newestBackup !== null,
    proof: passed === null ? null : { drill: passed.label, finishedAt: new Date(passed.finishedAt) },
    failure:
      failed === undefined
        ? null
        : { drill: failed.label, finishedAt: new Date(failed.finishedAt), reason: failed.reason?.message ?? null },
  }
}

/** Drills that came to no end after one that failed do not hide it. */
async function lastFailure(one: DaemonDatabase, daemon: Daemon): Promise<z.infer<typeof drillSchema> | undefined> {
  const { server, database, lastDrill } = one
  if (lastDrill === null || lastDrill.verdict === 'passed') return undefined
  if (lastDrill.verdict === 'failed') return lastDrill
  const answer = await ask(daemon, `v1/drills?${new URLSearchParams({ server, database, limit: '200' })}`)
  const { items } = parsed(drillsSchema, answer, daemon.base)
  return items.find(({ verdict }) => verdict === 'failed')
}

function baseOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
    throw new PgproofError('USAGE_INVALID', { reason: '--url must be http://host:port or https://host' })
  if (url.username !== '' || url.password !== '')
    throw new PgproofError('USAGE_INVALID', {
      reason: 'the token goes into --token-file or PGPROOF_TOKEN, not into --url',
    })
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return url
}

async function tokenOf(file: string | undefined, { env }: CommandContext): Promise<string | undefined> {
  if (file === undefined) return env['PGPROOF_TOKEN']?.trim() || undefined
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    throw new PgproofError(
      'USAGE_INVALID',
      { reason: `cannot read --token-file: ${reasonOf(error)}` },
      { cause: error },
    )
  }
}

/** One answer as JSON. A redirection is not followed: the token is for this address only. */
async function ask({ base, token, context }: Daemon, path: string): Promise<unknown> {
  const { status, text } = await fetchText(base, path, token, context.signal)
  if (status === 401) throw new PgproofError('DAEMON_UNAUTHORIZED', { url: base.href })
  if (status === 403) throw new PgproofError('DAEMON_FORBIDDEN', { url: base.href })
  if (status === 503 && /"code":\s*"(NOT_READY|SHUTTING_DOWN)"/.test(text)) return 'not ready'
  if (status >= 500)
    throw new PgproofError('DAEMON_UNREACHABLE', { url: base.href, reason: `it answers with HTTP ${status}` })
  if (status !== 200)
    throw new PgproofError('DAEMON_STRANGE', { url: base.href, reason: `it answers with HTTP ${status}` })
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new PgproofError('DAEMON_STRANGE', { url: base.href, reason: 'its answer is no JSON' }, { cause: error })
  }
}

async function fetchText(
  base: URL,
  path: string,
  token: string | undefined,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const headers = { accept: 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
    const response = await fetch(new URL(path, base), { headers, redirect: 'manual', signal: limit })
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true })
      if (text.length > longestAnswer) throw new Error('its answer has no end')
    }
    return { status: response.status, text }
  } catch (error) {
    signal.throwIfAborted()
    const isTimeout = error instanceof Error && error.name === 'TimeoutError'
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    const reason = isTimeout ? `no answer within ${timeoutMs / 1000} s` : reasonOf(cause)
    throw new PgproofError('DAEMON_UNREACHABLE', { url: base.href, reason }, { cause: error })
  }
}

function parsed<T extends z.ZodType>(schema: T, answer: unknown, base: URL): z.output<T> {
  const result = schema.safeParse(answer)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const reason = `its status lacks ${issue?.path.join('.') || 'everything'}`
  throw new PgproofError('DAEMON_STRANGE', { url: base.href, reason })
}

/** A daemon's answer is never older than the question. */
function warnOfSkew(time: Date, context: CommandContext): void {
  const skewMs = time.getTime() - context.clock.now().getTime()
  if (Math.abs(skewMs) <= toleratedSkewMs) return
  const direction = skewMs > 0 ? 'ahead of' : 'behind'
  context.warn(
    `the daemon's clock is ${spellAge(Math.abs(skewMs) / 1000)} ${direction} this one's, or its answer comes from a cache: the ages may be wrong by that`,
  )
}
