// Makes a fresh clone ready: node packages, PostgreSQL's server programs and, with `--tests`, what the tests need;
// with `--packages` the node packages alone.
// Runs before anything is installed, on Node 18 or newer and without dependencies. Does nothing twice.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const forTests = process.argv.includes('--tests')

const swiftModule = '/usr/lib/python3/dist-packages/swift'

installPackages()
if (process.argv.includes('--packages')) process.exit(0)
const wanted = []
if (!findPostgres()) wanted.push('postgresql')
if (!onPath('gpg')) wanted.push('gnupg')
if (!onPath('zstd')) wanted.push('zstd')
if (forTests && needsS3Server()) wanted.push('radosgw', 'ceph-mon', 'ceph-osd', 'ceph-common')
if (forTests && !onPath('pgbouncer') && !existsSync('/usr/sbin/pgbouncer')) wanted.push('pgbouncer')
// A second S3 server, by other people than the first: scripts/swift-s3.sh.
if (forTests && onPath('apt-get') && !onPath('swift-proxy-server') && !existsSync(swiftModule))
  wanted.push('python3-swift')
if (forTests && !onPath('promtool')) wanted.push('prometheus')
if (forTests && !onPath('openssl')) wanted.push('openssl')
// The status page is tried in it.
if (forTests && !['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'].some(onPath))
  wanted.push('chromium')
if (forTests && !onPath('rclone')) wanted.push('rclone')
if (forTests && !onPath('s3cmd')) wanted.push('s3cmd')
// The image runs with it, and so does the daemon of the soak.
if (forTests && onPath('apt-get') && !hasLibrary('libjemalloc.so.2')) wanted.push('libjemalloc2')
// Gets a newer PostgreSQL for the tests: see scripts/newer-postgres.sh.
if (forTests && needsNewerPostgres() && !onPath('mmdebstrap')) wanted.push('mmdebstrap')
if (wanted.length > 0) installDebianPackages(wanted)
// Once it is known which PostgreSQL they are for.
const extensions = forTests && onPath('apt-get') ? missingExtensions() : []
if (extensions.length > 0) installDebianPackages(extensions)

function installPackages() {
  const lock = readFileSync(join(root, 'package-lock.json'))
  const digest = createHash('sha256').update(lock).digest('hex')
  const marker = join(root, 'node_modules', '.pgproof-lock')
  if (existsSync(marker) && readFileSync(marker, 'utf8') === digest) return
  say('installing node packages (npm ci)')
  // The engine warning is expected here: the right Node is one of the packages.
  const { status } = spawnSync('npm', ['ci', '--loglevel=error'], { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) fail('npm ci failed', 'Look at its output above; the npm registry must be reachable.')
  writeFileSync(marker, digest)
}

/** The server programs of a supported major, where Debian, PGDG, Homebrew or the PATH have them. */
function findPostgres() {
  const majors = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : []
  if (majors.some((major) => Number(major) >= 14 && existsSync(`/usr/lib/postgresql/${major}/bin/initdb`))) return true
  return onPath('initdb') && onPath('pg_dump')
}

/** Those that do not come with PostgreSQL itself: awkward ones to back up, restore and drill. */
function missingExtensions() {
  const majors = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql').map(Number) : []
  const newest = majors
    .sort((one, other) => other - one)
    .find((major) => existsSync(`/usr/lib/postgresql/${major}/bin/initdb`))
  const packages = { pg_cron: 'cron', postgis: 'postgis-3' }
  return Object.entries(packages)
    .filter(([name]) => newest >= 14 && !existsSync(`/usr/share/postgresql/${newest}/extension/${name}.control`))
    .map(([, suffix]) => `postgresql-${newest}-${suffix}`)
}

/** Only root can unpack one; to others the tests say what they lack. */
function needsNewerPostgres() {
  if (process.env.PGPROOF_TEST_PG_NEWER_URL || process.getuid?.() !== 0) return false
  return onPath('apt-get') && !existsSync('/usr/lib/postgresql/17/bin/postgres')
}

function needsS3Server() {
  if (process.env.PGPROOF_TEST_S3_ENDPOINT) return false
  if (existsSync('/usr/bin/radosgw')) return false
  return spawnSync('docker', ['pull', '--quiet', minioImage()], { stdio: 'ignore' }).status !== 0
}

function minioImage() {
  return process.env.PGPROOF_TEST_MINIO_IMAGE ?? 'minio/minio:RELEASE.2025-09-07T16-13-09Z'
}

function installDebianPackages(packages) {
  const isRoot = process.getuid?.() === 0
  const prefix = isRoot ? [] : onPath('sudo') ? ['sudo', '--non-interactive'] : null
  if (!onPath('apt-get') || prefix === null)
    fail(
      `missing: ${packages.join(', ')}`,
      `Install them with the system's package manager (Debian: apt-get install ${packages.join(' ')}).`,
    )
  say(`installing Debian packages: ${packages.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const run = (...args) =>
    execFileSync([...prefix, 'apt-get'][0], [...[...prefix, 'apt-get'].slice(1), ...args], {
      env,
      stdio: ['ignore', 'ignore', 2],
    })
  try {
    run('update', '-qq')
    run('install', '-y', '-qq', '--no-install-recommends', ...packages)
  } catch {
    fail('apt-get failed', `Run it by hand: apt-get install ${packages.join(' ')}`)
  }
}

function hasLibrary(name) {
  return readdirSync('/usr/lib').some((folder) => existsSync(join('/usr/lib', folder, name)))
}

function onPath(program) {
  return (process.env.PATH ?? '').split(':').some((folder) => folder !== '' && existsSync(join(folder, program)))
}

function say(text) {
  process.stderr.write(`set-up: ${text}\n`)
}

function fail(text, hint) {
  process.stderr.write(`error: set-up: ${text}\nhint: ${hint}\n`)
  process.exit(1)
}
