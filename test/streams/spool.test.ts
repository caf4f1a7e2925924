import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { showLife } from '../../src/streams/sign-of-life.ts'
import { asSpoolError, openSpool, sweepSpool } from '../../src/streams/spool.ts'
import { eventually, failureOf } from './processes.ts'

const run = promisify(execFile)
const child = join(import.meta.dirname, 'spool.child.ts')

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pgproof spool '))
})
afterEach(async () => {
  await rm(root, { recursive: true, force: true })
})

describe('opening a spool', () => {
  it('a private folder below the root, made with it, and gone with its scope, whatever is in it', async () => {
    const deep = join(root, 'a', 'b')
    let folder: string
    {
      await using spool = await openSpool(deep, 1000)
      folder = spool.folder
      expect((await stat(folder)).mode & 0o777).toBe(0o700)
      await mkdir(join(folder, 'data', 'base'), { recursive: true })
      await writeFile(join(folder, 'dump'), 'x')
    }
    expect(existsSync(folder)).toBe(false)
    expect(await readdir(deep)).toEqual([])
  })

  it('two at a time - each its own', async () => {
    await using first = await openSpool(root, 0)
    await using second = await openSpool(root, 0)
    expect(first.folder).not.toBe(second.folder)
    expect(await readdir(root)).toHaveLength(2)
  })

  it('more than the disk has free - SPOOL_FULL that says how much is missing, nothing left', async () => {
    const failure = await failureOf(openSpool(root, 2 ** 60))
    expect(failure).toMatchObject({ code: 'SPOOL_FULL' })
    expect((failure as Error).message).toMatch(/1,099,511,627,776 MiB needed, [\d,]+ MiB free/)
    expect(await readdir(root)).toEqual([])
  })

  it('root below a file, or a broken link - SPOOL_UNUSABLE', async () => {
    await writeFile(join(root, 'file'), '')
    await symlink('/nonexistent/target', join(root, 'link'))
    for (const place of [join(root, 'file', 'spool'), join(root, 'link')])
      expect(await failureOf(openSpool(place, 0))).toMatchObject({ code: 'SPOOL_UNUSABLE' })
  })

  it('not a byte left on the disk - SPOOL_FULL, no half-made folder stays', async () => {
    const inOwnMounts = process.getuid?.() === 0 ? ['--mount'] : ['--map-root-user', '--mount']
    const canMount = await run('unshare', [...inOwnMounts, 'mount', '-t', 'tmpfs', 'tmpfs', root]).then(
      () => true,
      () => false,
    )
    const node = `'${process.execPath}' '${child}' full '${root}'`
    // Where nothing may be mounted, a limit on the size of files stands in for the full disk.
    const script = canMount
      ? `mount -t tmpfs -o size=64k tmpfs '${root}' && head -c 65536 /dev/zero > '${root}/filler' ; ${node}`
      : `trap '' XFSZ; touch '${root}/filler'; ulimit -f 0; ${node} | cat`
    const command = canMount ? ['unshare', ...inOwnMounts, 'sh', '-c', script] : ['sh', '-c', script]
    const { stdout } = await run(command[0] as string, command.slice(1))
    expect(stdout.trim()).toBe(`${canMount ? 'SPOOL_FULL' : 'SPOOL_UNUSABLE'} filler`)
  })

  it('a write that finds no space - SPOOL_FULL; any other failure stays what it is', async () => {
    const full = await failureOf(writeFile('/dev/full', 'x'))
    expect(asSpoolError(full, '/spool')).toMatchObject({ code: 'SPOOL_FULL' })
    const other = await failureOf(writeFile('/nonexistent/file', 'x'))
    expect(asSpoolError(other, '/spool')).toBe(other)
  })
})

it('a sign of life where no folder is - none, and no error', async () => {
  expect(await showLife(join(root, 'absent', 'socket'))).toBeNull()
})

describe('sweeping a spool', () => {
  it('owner alive - left alone; owner killed - removed', async () => {
    const holder = spawn(process.execPath, [child, 'hold', root], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [line] = (await once(holder.stdout, 'data')) as [Buffer]
      const folder = line.toString().trim()
      expect(await sweepSpool(root)).toBe(0)
      expect(existsSync(folder)).toBe(true)
      holder.kill('SIGKILL')
      await once(holder, 'close')
      expect(await sweepSpool(root)).toBe(1)
      expect(await readdir(root)).toEqual([])
    } finally {
      holder.kill('SIGKILL')
    }
  })

  it('owner killed before its folder took its place - removed; one that is just opening - left alone', async () => {
    const holder = spawn(process.execPath, [child, 'hold', root], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [line] = (await once(holder.stdout, 'data')) as [Buffer]
      await rename(line.toString().trim(), join(root, '.opening-withsocket'))
      for (const name of ['.opening-new', '.opening-old']) await mkdir(join(root, name))
      const anHourAgo = new Date(Date.now() - 3_600_000)
      await utimes(join(root, '.opening-old'), anHourAgo, anHourAgo)
      expect(await sweepSpool(root)).toBe(1)
      expect((await readdir(root)).sort()).toEqual(['.opening-new', '.opening-withsocket'])
      holder.kill('SIGKILL')
      await once(holder, 'close')
      expect(await sweepSpool(root)).toBe(1)
      expect(await readdir(root)).toEqual(['.opening-new'])
    } finally {
      holder.kill('SIGKILL')
    }
  })

  it('owner killed but not yet asked for by its parent - removed', async () => {
    // The shell stops being a parent that asks: it becomes `sleep`.
    const script = `'${process.execPath}' '${child}' hold '${root}' & exec sleep 60`
    const parent = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [line] = (await once(parent.stdout, 'data')) as [Buffer]
      const owner = JSON.parse(await readFile(join(line.toString().trim(), 'owner.json'), 'utf8')) as { pid: number }
      process.kill(owner.pid, 'SIGKILL')
      await eventually(() => readFile(`/proc/${owner.pid}/stat`, 'utf8')).toMatch(/\) Z /)
      // Its other threads may take a moment longer to let go of the socket.
      await expect.poll(() => sweepSpool(root)).toBe(1)
    } finally {
      parent.kill('SIGKILL')
      await once(parent, 'close')
    }
  })

  it('owner in another container, where process ids are others - left alone while it lives, removed afterwards', async () => {
    const args = ['--user', '--map-root-user', '--pid', '--fork', '--kill-child', '--mount-proc']
    const holder = spawn('unshare', [...args, process.execPath, child, 'hold', root], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const [line] = (await once(holder.stdout, 'data')) as [Buffer]
      const folder = line.toString().trim()
      const owner = JSON.parse(await readFile(join(folder, 'owner.json'), 'utf8')) as { pid: number }
      expect(owner.pid).toBe(1)
      expect(await sweepSpool(root)).toBe(0)
      holder.kill('SIGKILL')
      await once(holder, 'close')
      await expect.poll(() => sweepSpool(root)).toBe(1)
      expect(existsSync(folder)).toBe(false)
    } finally {
      holder.kill('SIGKILL')
    }
  })

  it('a root too deep for a socket - none is made anywhere; its owner is told by the process id', async () => {
    const deep = join(root, 'd'.repeat(100))
    await using spool = await openSpool(deep, 0)
    expect(await readdir(spool.folder)).toEqual(['owner.json'])
    expect(await readdir(deep)).toHaveLength(1)
    expect(await readdir(root)).toEqual(['d'.repeat(100)])
    expect(await sweepSpool(deep)).toBe(0)
  })

  it('no socket in it, and the owner’s process id given to another process since - removed', async () => {
    await using spool = await openSpool(root, 0)
    const file = join(spool.folder, 'owner.json')
    const owner = JSON.parse(await readFile(file, 'utf8')) as { pid: number; startTime: string }
    await writeFile(
      file,
      JSON.stringify({ ...owner, hasSocket: false, startTime: String(Number(owner.startTime) - 1) }),
    )
    expect(await sweepSpool(root)).toBe(1)
    expect(existsSync(spool.folder)).toBe(false)
  })

  it('owner file unreadable - removed; other folders, files and a folder without an owner - left alone', async () => {
    await mkdir(join(root, 'pgproof-damaged'))
    await writeFile(join(root, 'pgproof-damaged', 'owner.json'), '{"pid":')
    const others = ['lost+found', 'pgproof-pass-abc', 'pgproof-s-abc', 'pgproof-note.txt']
    for (const name of others.slice(0, 3)) await mkdir(join(root, name))
    await writeFile(join(root, 'pgproof-note.txt'), '')
    expect(await sweepSpool(root)).toBe(1)
    expect((await readdir(root)).sort()).toEqual([...others].sort())
  })

  it('a postmaster.pid that names somebody else’s process - that process lives', async () => {
    const bystander = spawn('sleep', ['60'])
    try {
      const folder = join(root, 'pgproof-dead')
      const data = join(folder, 'data')
      await mkdir(data, { recursive: true })
      await writeFile(join(folder, 'owner.json'), JSON.stringify({ pid: 2 ** 22 + 1, startTime: '1' }))
      await writeFile(join(data, 'postmaster.pid'), `${bystander.pid}\n${data}\n1\n5432\n/nonexistent\n`)
      expect(await sweepSpool(root)).toBe(1)
      expect(bystander.exitCode ?? bystander.signalCode).toBeNull()
    } finally {
      bystander.kill()
      await once(bystander, 'close')
    }
  })

  it('a postmaster.pid of a process that is gone - the leftover is removed all the same', async () => {
    const data = join(root, 'pgproof-dead', 'data')
    await mkdir(data, { recursive: true })
    await writeFile(join(root, 'pgproof-dead', 'owner.json'), '{}')
    await writeFile(join(data, 'postmaster.pid'), `${2 ** 22 + 1}\n${data}\n1\n5432\n/nonexistent\n`)
    expect(await sweepSpool(root)).toBe(1)
    expect(await readdir(root)).toEqual([])
  })

  it('a server of a dead drill that does not heed SIGQUIT - killed, and its folder removed', async () => {
    const data = join(root, 'pgproof-dead', 'data')
    await mkdir(data, { recursive: true })
    await writeFile(join(root, 'pgproof-dead', 'owner.json'), '{}')
    const deaf = "process.on('SIGQUIT', () => {}); setInterval(() => {}, 1000); console.log('up')"
    const server = spawn(process.execPath, ['-e', deaf, data], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(server, 'close')
    await once(server.stdout, 'data')
    await writeFile(join(data, 'postmaster.pid'), `${server.pid}\n${data}\n1\n5432\n/nonexistent\n`)
    expect(await sweepSpool(root)).toBe(1)
    expect(await ended).toEqual([null, 'SIGKILL'])
    expect(await readdir(root)).toEqual([])
  })

  it('no root at all - nothing to sweep', async () => {
    expect(await sweepSpool(join(root, 'absent'))).toBe(0)
  })

  it('a leftover that cannot be removed - no error, and the next one is swept', async () => {
    const stuck = join(root, 'pgproof-aaa')
    for (const folder of [stuck, join(root, 'pgproof-bbb')]) {
      await mkdir(folder)
      await writeFile(join(folder, 'owner.json'), '{}')
    }
    await mkdir(join(stuck, 'data'))
    await writeFile(join(stuck, 'data', 'PG_VERSION'), '15')
    const lock = process.getuid?.() === 0 ? immovable : readOnly
    {
      await using _ = await lock(join(stuck, 'data'))
      expect(await sweepSpool(root)).toBe(1)
      expect(await readdir(root)).toEqual(['pgproof-aaa'])
    }
    expect(await sweepSpool(root)).toBe(1)
    expect(await readdir(root)).toEqual([])
  })
})

async function readOnly(folder: string): Promise<AsyncDisposable> {
  await chmod(folder, 0o500)
  return { [Symbol.asyncDispose]: () => chmod(folder, 0o700) }
}

/** Root may write everywhere; a mount point is what it cannot remove, nor an immutable folder. */
async function immovable(folder: string): Promise<AsyncDisposable> {
  const isMounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]).then(
    () => true,
    () => false,
  )
  if (!isMounted) await run('chattr', ['+i', folder])
  return {
    [Symbol.asyncDispose]: async () => {
      if (isMounted) await run('umount', [folder])
      else await run('chattr', ['-i', folder])
    },
  }
}
