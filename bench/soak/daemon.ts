import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { keptHeapBytes } from './inspector.ts'

/** A daemon, and what its log has said. */
export type SoakDaemon = {
  readonly pid: number
  /** Runs that ended, `backup succeeded` to how many. */
  readonly ended: ReadonlyMap<string, number>
  /** Codes of errors with which runs ended. */
  readonly codes: ReadonlyMap<string, number>
  /** Labels of the backups, of databases and roles, that it says it has made. */
  readonly made: readonly string[]
  /** Lines at the level of an error that are no end of a run, each message to how many. */
  readonly complaints: ReadonlyMap<string, number>
  /** How often it has taken over a new configuration. */
  reloads(): number
  signal(name: NodeJS.Signals): void
  /** Its exit code; null if a signal ended it. */
  exitCode(): Promise<number | null>
  /** The samples of /metrics, `name{labels}` to value; undefined while it does not answer. */
  metrics(): Promise<Map<string, number> | undefined>
  /** MB of JS heap that are still in use when everything that nothing leads to has been collected. */
  keptHeap(): Promise<number>
  /** Holds the schedules back; the returned function lets them go on. */
  pause(): Promise<() => Promise<void>>
  /** Orders a run by hand; false if it is refused, as while the database is busy, or the daemon does not answer. */
  order(path: '/v1/backups' | '/v1/drills', database: string): Promise<boolean>
  /** Runs that go on or will, even while the schedules are paused. */
  unfinishedRuns(): Promise<number>
}

type RunAnswer = { readonly state: string; readonly trigger: string }

type LogLine = { readonly [key: string]: unknown }

export async function startSoakDaemon(
  child: ChildProcessByStdio<null, Readable, Readable>,
  base: string,
  token: string,
): Promise<SoakDaemon> {
  const ended = new Map<string, number>()
  const codes = new Map<string, number>()
  const complaints = new Map<string, number>()
  const made: string[] = []
  const said: string[] = []
  let reloads = 0
  let inspector: string | undefined
  const count = (map: Map<string, number>, key: string): void => void map.set(key, (map.get(key) ?? 0) + 1)
  createInterface({ input: child.stderr }).on('line', (text) => {
    said.push(text)
    if (said.length > 40) said.shift()
    const listening = /^Debugger listening on (ws:\S+)$/.exec(text)?.[1]
    inspector = listening ?? inspector
    if (isOfInspector(text)) return
    const line = parsed(text)
    if (line?.['msg'] === 'run finished') {
      count(ended, `${line['job']} ${line['outcome']}`)
      // What nobody expected is told in full.
      const reason = line['code'] === 'INTERNAL' ? ` (${String(line['reason'])}; ${String(line['details'])})` : ''
      if (line['code'] !== undefined) count(codes, `${line['job']} ${line['code']}${reason}`)
      const isBackup = line['job'] === 'backup' || line['job'] === 'roles'
      if (isBackup && line['outcome'] === 'succeeded' && line['label'] !== undefined) made.push(String(line['label']))
    } else if (line?.['msg'] === 'the configuration was read again and is in force') reloads += 1
    else if (line === undefined || line['level'] === 'error' || line['level'] === 'fatal')
      count(complaints, line === undefined ? text.slice(0, 100) : String(line['msg']))
  })
  child.stdout.resume()
  const end = once(child, 'close').then(([code]) => code as number | null)
  let isOver = false
  void end.then(() => {
    isOver = true
  })
  const ask = async (method: string, path: string, body?: object): Promise<unknown> => {
    const answer = await fetch(`${base}${path}`, {
      method,
      // A connection that is kept would be one of the handles that are counted.
      headers: {
        authorization: `Bearer ${token}`,
        connection: 'close',
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return path === '/metrics' ? await answer.text() : await answer.json()
  }
  const metrics: SoakDaemon['metrics'] = async () => {
    const text = await ask('GET', '/metrics').catch(() => undefined)
    return text === undefined ? undefined : samplesOf(String(text))
  }
  for (const deadline = Date.now() + 120_000; (await metrics()) === undefined; ) {
    if (isOver || Date.now() > deadline) throw new Error(`the daemon does not start:\n${said.join('\n')}`)
    await new Promise((done) => setTimeout(done, 100))
  }
  return {
    pid: child.pid ?? 0,
    ...{ ended, codes, made, complaints, metrics },
    reloads: () => reloads,
    keptHeap: async () => {
      if (inspector === undefined) throw new Error('the daemon was started without its inspector')
      return (await keptHeapBytes(inspector)) / 2 ** 20
    },
    signal: (name) => void child.kill(name),
    exitCode: () => end,
    pause: async () => {
      const pause = (await patiently(() =>
        ask('POST', '/v1/pauses', { for: '10m', reason: 'a look at what is at rest' }),
      )) as {
        id: string
      }
      return async () => void (await patiently(() => ask('DELETE', `/v1/pauses/${pause.id}`)))
    },
    order: (path, database) =>
      ask('POST', path, { server: 'main', database }).then(
        () => true,
        () => false,
      ),
    unfinishedRuns: async () => {
      const { items } = (await patiently(() => ask('GET', '/v1/runs?limit=100'))) as { items: RunAnswer[] }
      return items.filter(({ state, trigger }) => state === 'running' || (state === 'queued' && trigger !== 'schedule'))
        .length
    },
  }
}

/** A machine that is busy, or a store that is away for a moment, is no reason to stop. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1)
    try {
      return await ask()
    } catch (error) {
      if (attempt === 10) throw error
      await new Promise((done) => setTimeout(done, 1000))
    }
}

/** What Node itself says of its inspector is no line of the log. */
function isOfInspector(text: string): boolean {
  return text.startsWith('Debugger ') || text.startsWith('For help, see: ')
}

function parsed(text: string): LogLine | undefined {
  try {
    return JSON.parse(text) as LogLine
  } catch {
    return undefined
  }
}

function samplesOf(text: string): Map<string, number> {
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(samples.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]))
}
