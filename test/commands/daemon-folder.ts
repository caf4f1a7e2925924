import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { testUrl } from '../support/installation.ts'
import { freePort } from '../support/postgres-server.ts'
import { type CliFolder, type CliResult, cliFolder, type Json, type Started, waitFor } from './cli.ts'

export const daemonTokens = { read: 'token-to-read', drill: 'token-to-drill', backup: 'token-to-back-up' } as const

/** A folder in which `pgproof serve` runs; nothing falls due. */
export type DaemonFolder = AsyncDisposable & {
  readonly folder: CliFolder
  readonly url: string
  readonly daemon: Started
  /** Runs a command with --url, a token of that scope (`backup` by default) and no configuration. */
  ask(args: readonly string[], scope?: keyof typeof daemonTokens): Promise<CliResult>
  askJson(args: readonly string[]): Promise<{ code: number | null; document: Json; stderr: string }>
  begin(args: readonly string[]): Started
}

export async function daemonFolder(
  databases: readonly string[],
  { tls, ca, ...settings }: { tls?: object; ca?: string } & Record<string, unknown> = {},
): Promise<DaemonFolder> {
  const folder = await cliFolder(databases)
  const port = await freePort()
  const url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
  const tokens = Object.entries(daemonTokens).map(([scope, token]) => {
    return { name: `${scope}er`, scope, hash: createHash('sha256').update(token).digest('hex') }
  })
  await folder.configure({
    // Once a year, so that nothing is due meanwhile; what is scheduled is known without a backup, too.
    servers: [{ name: 'main', url: testUrl(), databases, schedule: { backup: '0 2 1 1 *' } }],
    http: { listen: `127.0.0.1:${port}`, tokens, ...(tls === undefined ? {} : { tls }) },
    log: { format: 'json' },
    ...settings,
  })
  for (const [scope, token] of Object.entries(daemonTokens)) await folder.write(`token-${scope}`, `${token}\n`)
  const daemon = folder.start(['serve'])
  await waitFor('a daemon that is ready', () => {
    if (daemon.child.exitCode !== null) throw new Error(`the daemon ended: ${daemon.stderr()}`)
    return daemon.stderr().includes('"msg":"ready"')
  })
  const flags = (scope: keyof typeof daemonTokens): string[] => [
    ...['--url', url, '--token-file', join(folder.path, `token-${scope}`)],
    ...(ca === undefined ? [] : ['--ca-file', ca]),
  ]
  return {
    ...{ folder, url, daemon },
    ask: (args, scope = 'backup') => folder.run([...args, ...flags(scope)], { config: null }),
    askJson: (args) => folder.json([...args, ...flags('backup')], { config: null }),
    begin: (args) => folder.start([...args, ...flags('backup')], { config: null }),
    [Symbol.asyncDispose]: async () => {
      daemon.child.kill('SIGTERM')
      await daemon.result
      await folder[Symbol.asyncDispose]()
    },
  }
}
