import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './postgres-server.ts'

export type Series = {
  readonly labels: Readonly<Record<string, string>>
  /** The newest last. */
  readonly values: readonly number[]
}

export type TestPrometheus = AsyncDisposable & {
  /** Throws what Prometheus has to say against the query. */
  instant(query: string): Promise<readonly Series[]>
  /** From the start of the server until now. */
  range(query: string): Promise<readonly Series[]>
  labelValues(label: string, metric: string): Promise<readonly string[]>
  /** Those that are pending or firing now. */
  alerts(): Promise<readonly ActiveAlert[]>
}

export type ActiveAlert = {
  readonly state: 'pending' | 'firing'
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

type Answer<T> = { readonly status: string; readonly error?: string; readonly data: T }
type Sample = readonly [time: number, value: string]
type Result = { result: readonly { metric: Record<string, string>; value?: Sample; values?: readonly Sample[] }[] }

/**
 * A real Prometheus that scrapes `targets` (host:port) every second, as config/prometheus/rules.yml wants it, and
 * evaluates `rules`, the text of such a file, as often.
 */
export async function startPrometheus(
  targets: string | readonly string[],
  rules = 'groups: []',
): Promise<TestPrometheus> {
  const folder = await mkdtemp(join(tmpdir(), 'prometheus-'))
  const file = join(folder, 'prometheus.yml')
  await writeFile(join(folder, 'rules.yml'), rules)
  await writeFile(
    file,
    JSON.stringify({
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      rule_files: ['rules.yml'],
      scrape_configs: [{ job_name: 'pgproof', static_configs: [{ targets: [targets].flat() }] }],
    }),
  )
  const port = await freePort()
  const startedAt = Date.now() / 1000
  const child = spawn(
    'prometheus',
    [`--config.file=${file}`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const ended = once(child, 'close').catch((error: unknown) => {
    throw new Error('no prometheus: apt-get install prometheus', { cause: error })
  })
  ended.catch(() => undefined)
  const ask = async <T>(path: string, parameters: Record<string, string>): Promise<T> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}?${new URLSearchParams(parameters)}`)
    const answer = (await response.json()) as Answer<T>
    if (answer.status !== 'success') throw new Error(`${answer.error} in: ${JSON.stringify(parameters)}`)
    return answer.data
  }
  const series = ({ result }: Result): readonly Series[] =>
    result.map(({ metric, value, values }) => ({
      labels: metric,
      values: (values ?? (value === undefined ? [] : [value])).map(([, number]) => Number(number)),
    }))

  for (;;) {
    if (child.exitCode !== null || child.pid === undefined) await ended.then(() => Promise.reject(new Error(said)))
    const ready = await fetch(`http://127.0.0.1:${port}/-/ready`).catch(() => undefined)
    if (ready?.ok === true) break
  }
  return {
    instant: async (query) => series(await ask('query', { query })),
    async range(query) {
      // The last step is now.
      const [step, end] = [2, Date.now() / 1000]
      const start = end - step * Math.ceil((end - startedAt) / step)
      return series(await ask('query_range', { query, start: String(start), end: String(end), step: String(step) }))
    },
    alerts: async () => (await ask<{ alerts: ActiveAlert[] }>('alerts', {})).alerts,
    labelValues: (label, metric) => ask(`label/${label}/values`, { 'match[]': metric }),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}
