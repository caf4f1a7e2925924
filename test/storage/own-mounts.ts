import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Whether this process may mount something, in a namespace of its own. */
export async function canMount(): Promise<boolean> {
  return await run('unshare', [...namespaces(), 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).then(
    () => true,
    () => false,
  )
}

/** Whether it may also serve a file system of its own. */
export async function canMountFuse(): Promise<boolean> {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch {
    return false
  }
  return await canMount()
}

/** Runs a shell script in `folder`, where it mounts something in a namespace that ends with it. Returns what it printed. */
export async function inOwnMounts(folder: string, lines: readonly string[]): Promise<string> {
  const script = ['set -e', `PATH='${join(process.execPath, '..')}':$PATH`, ...lines].join('\n')
  const needsMounts = lines.some((line) => line.includes('mount'))
  const command = [...(needsMounts ? ['unshare', ...namespaces()] : []), 'sh', '-c', script]
  const { stdout } = await run(command[0] as string, command.slice(1), {
    cwd: folder,
    timeout: 20_000,
    killSignal: 'SIGKILL',
  })
  return stdout.trim()
}

/** One line of such a script: a file beside this one, run by Node. */
export function nodeLine(file: string, ...words: readonly string[]): string {
  return ['exec', 'node', join(import.meta.dirname, file), ...words].map((word) => `'${word}'`).join(' ')
}

/** Of `unshare`, which runs what follows them where it may mount. */
export function namespaces(): string[] {
  return process.getuid?.() === 0 ? ['--mount'] : ['--map-root-user', '--mount']
}
