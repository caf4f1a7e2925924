import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openPasswordFolder, sweepPasswordFiles } from '../../src/streams/spool.ts'

const run = promisify(execFile)
const child = join(import.meta.dirname, 'password-files.child.ts')
/** A container: the first process in it has the id 1, as the next one of the same container has. */
const container = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--kill-child', '--mount-proc']

const before = process.env['TMPDIR']
let root: string
const started: ChildProcess[] = []
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pw '))
  process.env['TMPDIR'] = root
})
afterEach(async () => {
  if (before === undefined) delete process.env['TMPDIR']
  else process.env['TMPDIR'] = before
  for (const one of started.splice(0)) one.kill('SIGKILL')
  await rm(root, { recursive: true, force: true })
})

async function hold(around: readonly string[]): Promise<{ pid: number; file: string; kill(): Promise<void> }> {
  const [program = '', ...args] = [...around, process.execPath, child, 'hold']
  const holder = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  started.push(holder)
  const [line] = (await once(holder.stdout, 'data')) as [Buffer]
  const [pid = '', ...file] = line.toString().trim().split(' ')
  const kill = async (): Promise<void> => {
    holder.kill('SIGKILL')
    await once(holder, 'close')
  }
  return { pid: Number(pid), file: file.join(' '), kill }
}

async function sweepIn(around: readonly string[]): Promise<number> {
  const [program = '', ...args] = [...around, process.execPath, child, 'sweep']
  return Number((await run(program, args)).stdout)
}

describe('password files', () => {
  it('no folder for temporary files - nothing to sweep', async () => {
    process.env['TMPDIR'] = join(root, 'absent')
    await sweepPasswordFiles()
    expect(existsSync(join(root, 'absent'))).toBe(false)
  })

  it('of a living process - kept; of one that was killed - removed', async () => {
    const { file, kill } = await hold([])
    await sweepPasswordFiles()
    expect(await readFile(file, 'utf8')).toBe('*:*:*:*:hunter2\n')
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect((await stat(dirname(file))).mode & 0o777).toBe(0o700)
    await kill()
    await sweepPasswordFiles()
    expect(await readdir(root)).toEqual([])
  })

  it('of a container that was killed - removed by the next one, whose process has the same id', async () => {
    const { pid, file, kill } = await hold(container)
    await kill()
    expect(existsSync(file)).toBe(true)
    expect(await sweepIn(container)).toBe(pid)
    expect(await readdir(root)).toEqual([])
  })

  it('of a container that lives, where process ids are others - kept by another one and from outside', async () => {
    const { pid, file, kill } = await hold(container)
    expect(await sweepIn(container)).toBe(pid)
    await sweepPasswordFiles()
    expect(existsSync(file)).toBe(true)
    await kill()
  })

  it('of this very process - kept until its scope ends', async () => {
    {
      await using own = await openPasswordFolder()
      await sweepPasswordFiles()
      expect(existsSync(own.folder)).toBe(true)
    }
    expect(await readdir(root)).toEqual([])
  })

  it('a folder that names no owner - removed after a day; one that was just opening - after ten minutes', async () => {
    const longAgo = (ms: number): number => (Date.now() - ms) / 1000
    for (const [name, ms] of [
      ['pgproof-pass-1-AbCdEf', 25 * 3_600_000],
      ['pgproof-pass-1-GhIjKl', 23 * 3_600_000],
      ['.opening-pass-AbCdEf', 11 * 60_000],
      ['.opening-pass-GhIjKl', 9 * 60_000],
    ] as const) {
      await mkdir(join(root, name))
      await utimes(join(root, name), longAgo(ms), longAgo(ms))
    }
    await sweepPasswordFiles()
    expect((await readdir(root)).sort()).toEqual(['.opening-pass-GhIjKl', 'pgproof-pass-1-GhIjKl'])
  })

  it('another user’s, and what is none of ours - kept', async () => {
    const dead = JSON.stringify({ pid: 1, startTime: '-1', hasSocket: false })
    const names = ['pgproof-pass-theirs', 'pgproof-passage', 'pgproof-abc']
    for (const name of names) {
      await mkdir(join(root, name))
      await writeFile(join(root, name, 'owner.json'), dead)
    }
    const isRoot = process.getuid?.() === 0
    if (isRoot) await chown(join(root, 'pgproof-pass-theirs'), 65_534, 65_534)
    await sweepPasswordFiles()
    const kept = (await readdir(root)).map((name) => basename(name)).sort()
    expect(kept).toEqual(names.filter((name) => isRoot || name !== 'pgproof-pass-theirs').sort())
  })
})
