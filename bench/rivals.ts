import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { S3Server } from '../test/support/s3-server.ts'

/** What pgproof is measured against, and the Debian package it comes from. */
export const rivals = {
  gpg: 'gnupg',
  zstd: 'zstd',
  age: 'age',
  rclone: 'rclone',
  restic: 'restic',
  pgbackrest: 'pgbackrest',
} as const

export type Rival = keyof typeof rivals

/** What rclone's remote `:s3:` reads. Nothing else should be set: Debian's rclone fails where AWS_CA_BUNDLE is. */
export function rcloneEnvironment(server: Omit<S3Server, 'stop'>): Record<string, string> {
  return {
    RCLONE_CONFIG: '/dev/null',
    RCLONE_S3_PROVIDER: server.provider === 'minio' ? 'Minio' : 'Ceph',
    RCLONE_S3_ENDPOINT: server.endpoint,
    RCLONE_S3_REGION: server.region,
    RCLONE_S3_ACCESS_KEY_ID: server.accessKeyId,
    RCLONE_S3_SECRET_ACCESS_KEY: server.secretAccessKey,
  }
}

/** Those that are not on the PATH; with `install` they are installed first, as root or by sudo. */
export function missingRivals(install: boolean): ReadonlySet<Rival> {
  const missing = (): Rival[] => (Object.keys(rivals) as Rival[]).filter((rival) => !isInstalled(rival))
  const packages = missing().map((rival) => rivals[rival])
  if (packages.length === 0) return new Set()
  const command = ['apt-get', 'install', '-y', '--no-install-recommends', ...packages]
  const [program = '', ...args] = process.getuid?.() === 0 ? command : ['sudo', ...command]
  if (install) execFileSync(program, args, { stdio: ['ignore', 2, 2] })
  else process.stdout.write(`not all rivals are here; --install, or:\n  ${[program, ...args].join(' ')}\n`)
  return new Set(missing())
}

/** The first of `needed` that is missing, in words; undefined if all are there. */
export function whyAbsent(missing: ReadonlySet<Rival>, needed: readonly Rival[]): string | undefined {
  const first = needed.find((rival) => missing.has(rival))
  return first === undefined ? undefined : `${first} is not installed (Debian: ${rivals[first]})`
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .some((folder) => folder !== '' && existsSync(join(folder, program)))
}
