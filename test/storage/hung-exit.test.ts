import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { canMount, namespaces } from './own-mounts.ts'

// A pipe that nobody opens for writing stands in for a mount that does not answer: whoever opens it waits, and can be killed,
// as on NFS.
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-hung-'))
  spawnSync('mkfifo', [join(folder, 'pipe')])
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

const endProcess = pathToFileURL(join(import.meta.dirname, '../../src/commands/end-process.ts')).href

/** The code with which a process ends that asks for 11, and what it printed. */
async function run(...lines: readonly string[]): Promise<{ code: unknown; printed: string }> {
  return await runBy([process.execPath], lines)
}

/** `program` is Node, or leads to it. */
async function runBy(
  [program = '', ...words]: readonly string[],
  lines: readonly string[],
): Promise<{ code: unknown; printed: string }> {
  const script = [
    `import { endProcess } from '${endProcess}'`,
    `const pipe = '${join(folder, 'pipe')}'`,
    "process.on('exit', (code) => process.stdout.write('cleaned up at ' + code))",
    ...lines,
    'await endProcess(11)',
  ]
  return await new Promise((resolve) => {
    const args = [...words, '--input-type=module', '-e', script.join('\n')]
    execFile(program, args, { timeout: 30_000, killSignal: 'SIGKILL' }, (error, printed) =>
      resolve({ code: error?.code ?? error?.signal ?? 0, printed }),
    )
  })
}

const waitingThreads = [
  "import { open } from 'node:fs/promises'",
  'for (let n = 0; n < 6; n += 1) open(pipe).catch(() => {})',
]
const cleanedUp = { code: 11, printed: 'cleaned up at 11' }

describe('the end of a process', () => {
  it('nothing is under way - its code', async () => {
    expect(await run()).toEqual(cleanedUp)
  })

  it('threads of Node that wait for a file for ever - its code, and what runs at the end has run', async () => {
    expect(await run(...waitingThreads)).toEqual(cleanedUp)
  })

  it('the same on a machine without a shell - the same', async ({ skip }) => {
    if (!(await canMount())) skip('this process may mount nothing')
    const hideShell = 'mount --bind /dev/null /bin/sh && exec "$0" "$@"'
    const program = ['unshare', ...namespaces(), 'sh', '-c', hideShell, process.execPath]
    expect(await runBy(program, waitingThreads)).toEqual(cleanedUp)
  })

  it('a worker thread that waits for a file for ever - the same', async () => {
    const source =
      "require('node:worker_threads').parentPort.on('message', (pipe) => require('node:fs').openSync(pipe))"
    const lines = [
      "import { Worker } from 'node:worker_threads'",
      `const worker = new Worker(${JSON.stringify(source)}, { eval: true })`,
      "await new Promise((resolve) => worker.on('online', resolve))",
      'worker.postMessage(pipe)',
    ]
    expect(await run(...lines)).toEqual(cleanedUp)
  })
})
