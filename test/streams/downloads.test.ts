import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDownload, removeOldDownloads } from '../../src/streams/downloads.ts'
import { processIdentity, sweepSpool } from '../../src/streams/spool.ts'
import { failureOf } from './processes.ts'

const child = join(import.meta.dirname, 'downloads.child.ts')
const label = '20261120T020000Z-4f7k'
const of = { label, sha256: 'ab'.repeat(32), bytes: 1000 }
const part = `${label}-abababababab.part`

let root: string
let children: ChildProcess[]
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pgproof downloads '))
  children = []
})
afterEach(async () => {
  await Promise.all(children.map(kill))
  await rm(root, { recursive: true, force: true })
})

const files = (): string[] => readdirSync(join(root, 'downloads')).sort()

/** Another process with a claim, and what it said. */
async function claimElsewhere(): Promise<{ claimer: ChildProcess; said: string }> {
  const args = [child, root, JSON.stringify(of)]
  const claimer = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(claimer)
  const [line] = (await once(claimer.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  return { claimer, said: line.toString().trim() }
}

async function kill(claimer: ChildProcess): Promise<void> {
  if (claimer.exitCode !== null || claimer.signalCode !== null) return
  claimer.kill('SIGKILL')
  await once(claimer, 'close')
}

/** A part that was last written to so many days ago. */
async function leave(name: string, days: number): Promise<void> {
  await mkdir(join(root, 'downloads'), { recursive: true })
  writeFileSync(join(root, 'downloads', name), 'x')
  const time = Date.now() / 1000 - days * 86_400
  utimesSync(join(root, 'downloads', name), time, time)
}

describe('opening a download', () => {
  it('the first time - a place in a private folder, nothing there; its claim goes with the scope, the part stays', async () => {
    {
      await using download = await openDownload(root, of)
      expect(download).toMatchObject({ path: join(root, 'downloads', part), haveBytes: 0 })
      expect(statSync(join(root, 'downloads')).mode & 0o777).toBe(0o700)
      expect(existsSync(download.path)).toBe(false)
      writeFileSync(download.path, 'x'.repeat(400))
    }
    expect(files()).toEqual([part])
    await using again = await openDownload(root, of)
    expect(again.haveBytes).toBe(400)
  })

  it('removed - part and claim gone, also when the scope ends after it', async () => {
    {
      await using download = await openDownload(root, of)
      writeFileSync(download.path, 'x')
      await download.remove()
      expect(files()).toEqual([])
    }
    await using again = await openDownload(root, of)
    expect(again.haveBytes).toBe(0)
  })

  it('more there than the object has - none of it counts', async () => {
    await leave(part, 0)
    await using download = await openDownload(root, { ...of, bytes: 0 })
    expect(download.haveBytes).toBe(0)
  })

  it('another object of the same label - a part of its own', async () => {
    await using _ = await openDownload(root, of)
    await using other = await openDownload(root, { ...of, sha256: 'cd'.repeat(32) })
    expect(other.path).toBe(join(root, 'downloads', `${label}-cdcdcdcdcdcd.part`))
  })

  it('claimed by this very process - LOCKED until it is given up', async () => {
    {
      await using _ = await openDownload(root, of)
      expect(await failureOf(openDownload(root, of))).toMatchObject({
        code: 'LOCKED',
        message: `the download of ${label} is locked by another run`,
      })
      expect(await failureOf(openDownload(join(root, '.'), of))).toMatchObject({ code: 'LOCKED' })
    }
    await using again = await openDownload(root, of)
    expect(again.haveBytes).toBe(0)
  })

  it('claimed by a living process - LOCKED, its claim stays; killed - taken over', async () => {
    const { claimer, said } = await claimElsewhere()
    expect(said).toBe(join(root, 'downloads', part))
    expect(await failureOf(openDownload(root, of))).toMatchObject({ code: 'LOCKED' })
    expect(files()).toHaveLength(1)
    await kill(claimer)
    expect(files()).toHaveLength(1)
    {
      await using download = await openDownload(root, of)
      expect(download.haveBytes).toBe(0)
      expect(files()).toHaveLength(1)
    }
    expect(files()).toEqual([])
  })

  it('its owner’s process id given to another process since - taken over', async () => {
    const { startTime } = await processIdentity(process.ppid)
    await leave(`${part}.${process.ppid}-${Number(startTime) - 1}.claim`, 0)
    await using _ = await openDownload(root, of)
    expect(files()).toEqual([expect.stringMatching(new RegExp(`^${part}\\.${process.pid}-\\d+\\.claim$`))])
  })

  it('eight processes at the same moment - one has it at most, each of the others is LOCKED', async () => {
    const said = (await Promise.all(Array.from({ length: 8 }, claimElsewhere))).map((one) => one.said)
    expect(said.filter((one) => one !== 'LOCKED').length).toBeLessThanOrEqual(1)
    expect(said.filter((one) => one !== 'LOCKED' && one !== join(root, 'downloads', part))).toEqual([])
  })

  it('less free space than what is missing - SPOOL_FULL with both figures, no claim left', async () => {
    const failure = await failureOf(openDownload(root, { ...of, bytes: 2 ** 60 }))
    expect(failure).toMatchObject({ code: 'SPOOL_FULL' })
    expect((failure as Error).message).toMatch(/1,099,511,627,776 MiB needed, [\d,]+ MiB free/)
    expect(files()).toEqual([])
  })

  it('a claim of a dead process that cannot be removed, a part that is no file - SPOOL_UNUSABLE, no claim left', async () => {
    const folder = join(root, 'downloads')
    const claim = join(folder, `${part}.${2 ** 22 + 1}-1.claim`)
    await mkdir(claim, { recursive: true })
    expect(await failureOf(openDownload(root, of))).toMatchObject({ code: 'SPOOL_UNUSABLE' })
    expect(files()).toEqual([`${part}.${2 ** 22 + 1}-1.claim`])
    await rm(claim, { recursive: true })
    symlinkSync(part, join(folder, part))
    expect(await failureOf(openDownload(root, of))).toMatchObject({ code: 'SPOOL_UNUSABLE' })
    expect(files()).toEqual([part])
  })

  it('root below a file - SPOOL_UNUSABLE; aborted beforehand - CANCELLED, nothing made', async () => {
    writeFileSync(join(root, 'file'), '')
    expect(await failureOf(openDownload(join(root, 'file'), of))).toMatchObject({ code: 'SPOOL_UNUSABLE' })
    const aborted = openDownload(join(root, 'other'), of, AbortSignal.abort())
    expect(await failureOf(aborted)).toMatchObject({ code: 'CANCELLED' })
    expect(existsSync(join(root, 'other'))).toBe(false)
  })

  it('a sweep of the spool - leaves parts and claims alone', async () => {
    await leave(part, 100)
    await using _ = await openDownload(root, of)
    expect(await sweepSpool(root)).toBe(0)
    expect(files()).toHaveLength(2)
  })
})

describe('removing old downloads', () => {
  const aWeekAgo = (): Date => new Date(Date.now() - 7 * 86_400_000)

  it('old and claimed by nobody, or by a dead process - removed; young, or no part at all - kept', async () => {
    const dead = spawnSync('true').pid
    await leave('old.part', 8)
    await leave('abandoned.part', 8)
    await leave(`abandoned.part.${dead}-1.claim`, 8)
    await leave(`without-part.part.${dead}-1.claim`, 0)
    await leave('young.part', 6)
    await leave('note.txt', 8)
    expect(await removeOldDownloads(root, aWeekAgo())).toBe(2)
    expect(files()).toEqual(['note.txt', 'young.part'])
    expect(await readFile(join(root, 'downloads', 'young.part'), 'utf8')).toBe('x')
  })

  it('old, but claimed by a living process or by this one - kept', async () => {
    await leave(part, 8)
    await claimElsewhere()
    expect(await removeOldDownloads(root, aWeekAgo())).toBe(0)
    expect(existsSync(join(root, 'downloads', part))).toBe(true)
    await leave(`other-${part}`, 8)
    await using _ = await openDownload(root, { ...of, label: `other-${label}` })
    expect(await removeOldDownloads(root, aWeekAgo())).toBe(0)
    expect(existsSync(join(root, 'downloads', `other-${part}`))).toBe(true)
  })

  it('no downloads at all - none removed, no folder made', async () => {
    expect(await removeOldDownloads(root, new Date())).toBe(0)
    expect(readdirSync(root)).toEqual([])
  })
})
