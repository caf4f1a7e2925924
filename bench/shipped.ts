import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = dirname(import.meta.dirname)

/** As the image sets it. Without jemalloc, which Debian has as `libjemalloc2`, it is an error: what is measured would not be what is shipped. */
export function shippedEnvironment(): Readonly<Record<string, string>> {
  const folders = ['/usr/lib', ...readdirSync('/usr/lib').map((name) => join('/usr/lib', name))]
  const library = folders.map((folder) => join(folder, 'libjemalloc.so.2')).find((path) => existsSync(path))
  if (library === undefined) throw new Error('no jemalloc: apt-get install libjemalloc2')
  return {
    LD_PRELOAD: library,
    MALLOC_CONF: 'narenas:2,dirty_decay_ms:0,muzzy_decay_ms:0',
    NODE_OPTIONS: '--max-semi-space-size=8',
  }
}

/** Builds pgproof, as its users have it; returns the path of its command line. Type stripping is not what is measured. */
export function buildPgproof(): string {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' })
  return join(root, 'dist', 'main.js')
}
