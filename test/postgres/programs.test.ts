import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findOnPath, findProgram, findProgramBetween, majorOf } from '../../src/postgres/programs.ts'
import { serverBinDir } from '../support/postgres-server.ts'
import { errorOf, signal } from './sandbox.ts'

const real = serverBinDir()
const major = await findMajor()
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pgproof-test-bin-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

async function findMajor(): Promise<number> {
  for (let one = 14; one < 30; one += 1)
    if ((await findProgram('initdb', one, [], signal).catch(() => undefined))?.path.startsWith(real)) return one
  throw new Error(`no major of ${real}`)
}

/** A folder with one program of our own. */
async function binDir(name: string, script: string, mode = 0o755): Promise<string> {
  const path = join(folder, name)
  await mkdir(path)
  await writeFile(join(path, 'pg_dump'), `#!/bin/sh\n${script}\n`)
  await chmod(join(path, 'pg_dump'), mode)
  return path
}

describe('finding a program', () => {
  it('of the right major in a folder that is configured - taken before any other', async () => {
    const mine = await binDir('mine', `echo 'pg_dump (PostgreSQL) ${major}.99 (own build)'`)
    expect(await findProgram('pg_dump', major, [mine], signal)).toEqual({
      path: join(mine, 'pg_dump'),
      version: `${major}.99 (own build)`,
    })
  })

  it('in a folder given relative to where pgproof runs - found, by its full path', async () => {
    const mine = await binDir('mine', `echo 'pg_dump (PostgreSQL) ${major}.99'`)
    const found = await findProgram('pg_dump', major, [relative(process.cwd(), mine)], signal)
    expect(found.path).toBe(join(mine, 'pg_dump'))
  })

  it.each([
    ['is of an older major', "echo 'pg_dump (PostgreSQL) 9.6.24'", 0o755],
    ['is of a newer major', "echo 'pg_dump (PostgreSQL) 99beta1'", 0o755],
    ['prints nonsense', "echo 'hello, world'; echo '15.1'", 0o755],
    ['prints nothing', 'true', 0o755],
    ['prints the right version and fails', `echo 'pg_dump (PostgreSQL) ${major}.1'; exit 3`, 0o755],
    ['crashes', 'kill -SEGV $$', 0o755],
    ['is not executable', "echo 'pg_dump (PostgreSQL) 15.1'", 0o644],
    ['has an interpreter that is not there', '', 0o755],
  ])('what is in a configured folder %s - passed over, the usual places are searched', async (kind, script, mode) => {
    const wrong = await binDir('wrong', script, mode)
    if (kind.includes('interpreter')) await writeFile(join(wrong, 'pg_dump'), '#!/nonexistent/sh\n')
    const found = await findProgram('pg_dump', major, [wrong, join(folder, 'absent')], signal)
    expect(found.path.startsWith(wrong)).toBe(false)
    expect(majorOf(found.version)).toBe(major)
  })

  it('a folder or a broken link in its place - passed over', async () => {
    await mkdir(join(folder, 'a', 'pg_dump'), { recursive: true })
    await mkdir(join(folder, 'b'))
    await symlink('/nonexistent', join(folder, 'b', 'pg_dump'))
    const found = await findProgram('pg_dump', major, [join(folder, 'a'), join(folder, 'b')], signal)
    expect(found.path.startsWith(folder)).toBe(false)
  })

  it('the PATH has empty parts, which mean wherever pgproof is started - passed over, its folders are searched', async () => {
    const mine = await binDir('mine', "echo 'pg_dump (PostgreSQL) 37.1'")
    const path = process.env['PATH'] ?? ''
    process.env['PATH'] = `::${mine}:`
    try {
      expect((await findProgram('pg_dump', 37, [], signal)).path).toBe(join(mine, 'pg_dump'))
      expect(await findOnPath('pg_dump')).toBe(join(mine, 'pg_dump'))
      expect(await findOnPath('package.json')).toBeUndefined()
    } finally {
      process.env['PATH'] = path
    }
  })

  it('no such major anywhere - PROGRAM_MISSING with the package to install', async () => {
    for (const [name, wanted] of [
      ['pg_dump', 'postgresql-client-37'],
      ['pg_restore', 'postgresql-client-37'],
      ['postgres', 'postgresql-37'],
      ['initdb', 'postgresql-37'],
    ] as const)
      expect(await errorOf(findProgram(name, 37, [], signal))).toMatchObject({
        code: 'PROGRAM_MISSING',
        message: `no ${name} of PostgreSQL 37 found`,
        hint: expect.stringContaining(`apt-get install ${wanted})`),
      })
  })

  it('one that never answers - ends with an abort', async () => {
    const slow = await binDir('slow', 'exec sleep 60')
    const reason = new Error('stop')
    const failure = await errorOf(
      findProgram('pg_dump', major, [slow], AbortSignal.any([AbortSignal.timeout(200), AbortSignal.abort(reason)])),
    )
    expect(failure).toBe(reason)
    const controller = new AbortController()
    const searching = errorOf(findProgram('pg_dump', major, [slow], controller.signal))
    await new Promise((done) => setImmediate(done))
    controller.abort(reason)
    expect(await searching).toBe(reason)
  })

  it('is told only what it must know - no secret of ours is in its environment', async () => {
    process.env['PGPROOF_TEST_SECRET'] = 'sesame'
    try {
      const nosy = await binDir('nosy', `env > '${folder}/env'; echo 'pg_dump (PostgreSQL) ${major}.1'`)
      await findProgram('pg_dump', major, [nosy], signal)
      expect(await readFile(join(folder, 'env'), 'utf8')).not.toContain('sesame')
    } finally {
      delete process.env['PGPROOF_TEST_SECRET']
    }
  })
})

describe('finding a program of one of several majors', () => {
  const ofMajor = (version: number): Promise<string> =>
    binDir(`of-${version}`, `echo 'pg_dump (PostgreSQL) ${version}.1'`)

  it('the preferred one is there - taken, wherever the others stand', async () => {
    const folders = [await ofMajor(39), await ofMajor(41)]
    const found = await findProgramBetween('pg_dump', { preferred: 41, oldest: 39 }, folders, signal)
    expect(found.path).toBe(join(folder, 'of-41', 'pg_dump'))
  })

  it('the preferred one is missing - the next lower one; never a newer one, nor one below the oldest', async () => {
    const folders = [await ofMajor(37), await ofMajor(38), await ofMajor(39), await ofMajor(42)]
    const found = await findProgramBetween('pg_dump', { preferred: 41, oldest: 38 }, folders, signal)
    expect(found.version).toBe('39.1')
    const failure = await errorOf(findProgramBetween('pg_dump', { preferred: 41, oldest: 40 }, folders, signal))
    expect(failure).toMatchObject({ code: 'PROGRAM_MISSING', message: 'no pg_dump of PostgreSQL 41 found' })
  })

  it.each([
    [38, 'apt-get install postgresql-client-41 or postgresql-client-38)'],
    [41, 'apt-get install postgresql-client-41)'],
    [43, 'apt-get install postgresql-client-41)'],
  ])('none there, down to %i - PROGRAM_MISSING for the preferred one: %s', async (oldest, hint) => {
    expect(await errorOf(findProgramBetween('pg_restore', { preferred: 41, oldest }, [], signal))).toMatchObject({
      code: 'PROGRAM_MISSING',
      message: 'no pg_restore of PostgreSQL 41 found',
      hint: expect.stringContaining(hint),
    })
  })
})

describe('the major of a version', () => {
  it.each([
    ['17.4 (Debian 17.4-1.pgdg120+2)', 17],
    ['15.18 (Debian 15.18-0+deb12u1)', 15],
    ['19beta1', 19],
    ['18rc1', 18],
    ['20devel', 20],
    ['9.6.24', 9],
  ])('%s - %i', (version, expected) => {
    expect(majorOf(version)).toBe(expected)
  })
})
