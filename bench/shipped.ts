import { execFileSync } from 'node:child_process'
import { dirname, join } from 'node:path'

const root = dirname(import.meta.dirname)

/** As the image and the unit of systemd set it. */
export const shippedEnvironment = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '262144',
  NODE_OPTIONS: '--max-semi-space-size=8',
}

/** Builds pgproof, as its users have it; returns the path of its command line. Type stripping is not what is measured. */
export function buildPgproof(): string {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' })
  return join(root, 'dist', 'main.js')
}
