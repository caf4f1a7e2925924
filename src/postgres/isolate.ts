import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import type { Reach } from '../domain/drill-report.ts'
import { type Program, runProgram } from '../streams/child-process.ts'
import { findOnPath } from './programs.ts'

/** A program as it is started, and what the system did not let it be shut off from. */
export type Isolated = { readonly program: Program; readonly notIsolated: readonly Reach[] }

/** What an isolated program sees of this machine, besides its programs and libraries. */
export type Sight = {
  /** An empty folder, over which its own root is mounted; nothing is written into it here. */
  readonly root: string
  /** Folders that it may change, at the same path; what others see of their Unix sockets works across. */
  readonly writable: readonly string[]
  /** Folders and files that it may read. */
  readonly readable: readonly string[]
}

/** Where the system keeps its settings and shows its processes; of either, a machine may have nothing that can be listed. */
type System = { readonly settings: string; readonly processes: string }

const linux: System = { settings: '/etc', processes: '/proc' }

/**
 * The same program in namespaces of its own (namespaces(7)): a network with nothing but an unconfigured loopback device, a
 * root that holds programs, libraries and what `sight` names, no process and no shared memory but its own; and without
 * a way to more rights. All by `unshare`, `mount`, `setpriv` and `prlimit` of util-linux: as root directly, otherwise by
 * a user namespace, which needs no rights. It ends with this process. Where the system does not allow all of that, it
 * is shut off from the network alone, or from nothing (other systems than Linux, many containers).
 */
export async function isolate(
  program: Program,
  sight: Sight,
  signal: AbortSignal,
  system: System = linux,
): Promise<Isolated> {
  const unshare = await findOnPath('unshare')
  const limits = [`--core=0:0`, `--nproc=${await processLimit(program, system)}`]
  const ways =
    unshare === undefined ? [] : [...(await wholeWays(program, sight, system, unshare, limits)), networkAlone(unshare)]
  const plain: Way = { wrap: (one) => one, notIsolated: ['network', 'files', 'processes'] }
  const guarded = [...ways, plain].flatMap((way) => (way.isWhole === true ? [way] : [withLimits(way, limits), way]))
  for (const { wrap, notIsolated } of guarded) {
    const probe = wrap({ ...program, args: ['--version'] })
    try {
      await runProgram({ ...probe, cwd: '/' }, { signal })
      return { program: wrap(program), notIsolated }
    } catch {
      signal.throwIfAborted()
    }
  }
  // Why it does not even say its version comes out when it is started.
  return { program, notIsolated: ['network', 'files', 'processes', 'privileges'] }
}

/** One way to start a program. */
type Way = {
  readonly wrap: (program: Program) => Program
  readonly notIsolated: readonly Reach[]
  readonly isWhole?: boolean
}

const unshared = ['--net', '--mount', '--ipc', '--pid', '--fork', '--kill-child']

async function wholeWays(
  program: Program,
  sight: Sight,
  system: System,
  unshare: string,
  limits: readonly string[],
): Promise<Way[]> {
  const { user } = program
  const shown = await existing([...systemFolders, ...(await libraryFolders(system)), ...sight.readable])
  const settings = await systemSettings(system)
  const noRights = ['--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all', '--bounding-set=-all']
  const setpriv = [...noRights, '--pdeathsig', 'KILL']
  const wayBy = (flags: readonly string[], identity: readonly string[], isRoot: boolean): Way => {
    const before = ['--pdeathsig', 'KILL', unshare, ...flags, ...unshared, '--', '/bin/sh', '-c', script, 'sh']
    const wrap = (one: Program): Program => ({
      ...one,
      path: 'setpriv',
      args: [
        ...[...before, sight.root, ...settings, '--', ...shown, '--', ...sight.writable, '--'],
        ...['prlimit', ...limits, 'setpriv', ...setpriv, ...identity, one.path, ...one.args],
      ],
      user: isRoot ? undefined : one.user,
    })
    return { wrap, notIsolated: [], isWhole: true }
  }
  const byUserNamespace = wayBy(['--user', '--map-current-user', '--keep-caps'], [], false)
  if (user === undefined) return [byUserNamespace]
  // Root needs no user namespace, which many systems keep from everybody else.
  const identity = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']
  return [wayBy([], identity, true), byUserNamespace]
}

function networkAlone(unshare: string): Way {
  const flags = ['--user', '--map-current-user', '--net', '--']
  const wrap = (one: Program): Program => ({ ...one, path: unshare, args: [...flags, one.path, ...one.args] })
  return { wrap, notIsolated: ['files', 'processes'] }
}

/** The way with limits and without new rights; as it is, where that cannot be had either. */
function withLimits({ wrap, notIsolated }: Way, limits: readonly string[]): Way {
  const before = [...limits, 'setpriv', '--no-new-privs']
  return {
    wrap: (one) => wrap({ ...one, path: 'prlimit', args: [...before, one.path, ...one.args] }),
    notIsolated,
  }
}

/**
 * Makes a root out of nothing, changes to it and lets go of the old one, then becomes what follows. Arguments: the folder
 * to mount it over; settings to copy; `--`; what can be read; `--`; what can be changed; `--`; the command. A mount that shows more of /proc than
 * the one around it is refused (containers): then /proc stays empty. The rest has to succeed.
 */
const script = `
set -eu
umask 022
root=$1; shift
echo 500 2>/dev/null >/proc/self/oom_score_adj || :
mount -n -t tmpfs -o mode=0755,nosuid,nodev,size=64m pgproof "$root"
cd "$root"
mkdir -p dev/shm proc tmp usr .old
mount -n -t tmpfs -o mode=1777,nosuid,nodev,size=256m pgproof tmp
mount -n -t tmpfs -o mode=1777,nosuid,nodev pgproof dev/shm
for name in null zero full random urandom; do : >dev/$name; mount -n --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd
show() {
  if [ -L "$1" ]; then mkdir -p ".\${1%/*}"; ln -s "$(readlink "$1")" ".$1"; return; fi
  if [ -d "$1" ]; then mkdir -p ".$1"; else mkdir -p ".\${1%/*}"; : >".$1"; fi
  mount -n --rbind "$1" ".$1"
}
copy=
while [ "$1" != -- ]; do copy="$copy $1"; shift; done; shift
cp -R -P --parents $copy . 2>/dev/null || :
while [ "$1" != -- ]; do show "$1"; mount -n -o remount,bind,ro ".$1" 2>/dev/null || :; shift; done; shift
[ ! -d usr/local/etc ] || mount -n -t tmpfs -o mode=0755,ro pgproof usr/local/etc
while [ "$1" != -- ]; do show "$1"; shift; done; shift
proc=own
mount -n -t proc -o nosuid,nodev,noexec proc proc 2>/dev/null || { proc=none; mount -n --rbind /proc proc; }
pivot_root . .old
cd /
umount -n -l /.old
[ $proc = own ] || umount -n -l /proc
rmdir /.old
mount -n -o remount,ro / 2>/dev/null || :
exec "$@"
`

const systemFolders = [
  ...['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/usr', '/nix/store', '/gnu/store'],
  // Dictionaries of text search, as Debian makes them.
  '/var/cache/postgresql',
]

/** Of /etc, only what programs and libraries need to work; it holds other programs' passwords as well. */
async function systemSettings({ settings }: System): Promise<readonly string[]> {
  const needed =
    /^(alternatives|crypto-policies|fonts|group|java[\w.-]*|ld\.so\.(cache|conf|conf\.d)|locale\.[a-z]+|localtime|nsswitch\.conf|os-release|passwd|perl|protocols|python[\d.]*|R|services|timezone|xml)$/
  const names = (await namesIn(settings)).filter((name) => needed.test(name))
  return [...names, 'ssl/openssl.cnf', 'pki/tls/openssl.cnf'].map((name) => join(settings, name))
}

/** Where others than the system keep their libraries (ld.so(8)), such as those of a database that a foreign data wrapper reads. */
async function libraryFolders({ settings }: System): Promise<readonly string[]> {
  const folder = join(settings, 'ld.so.conf.d')
  const files = (await namesIn(folder)).filter((name) => name.endsWith('.conf'))
  const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8').catch(() => '')))
  const lines = texts.flatMap((text) => text.split('\n').map((line) => line.trim()))
  return lines.filter((line) => isAbsolute(line) && dirname(line) !== '/')
}

/** None where it is not there, or may not be listed: whoever looks does without. */
async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch(() => [])
}

/** Those that are there and that nothing else among them holds already; by their own paths where those are links. */
async function existing(paths: readonly string[]): Promise<readonly string[]> {
  const found = new Set<string>()
  for (const path of paths) {
    const target = await stat(path).catch(() => undefined)
    if (target === undefined || (!target.isDirectory() && !target.isFile())) continue
    const own = systemFolders.includes(path) ? path : await realpath(path)
    if (![...found].some((other) => own === other || own.startsWith(`${other}/`))) found.add(own)
  }
  return [...found]
}

/** So many processes and threads may its user have: what there are, and far more than one server needs. */
async function processLimit({ user }: Program, { processes }: System): Promise<number> {
  const uid = String(user?.uid ?? process.getuid?.() ?? 0)
  let count = 1024
  for (const name of await namesIn(processes)) {
    if (!/^\d+$/.test(name)) continue
    const status = await readFile(join(processes, name, 'status'), 'utf8').catch(() => '')
    if (/^Uid:\t(\d+)/m.exec(status)?.[1] === uid) count += Number(/^Threads:\t(\d+)/m.exec(status)?.[1] ?? 1)
  }
  return count
}
