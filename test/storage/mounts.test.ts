import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toDirectoryError } from '../../src/storage/directory-errors.ts'
import { canMount, canMountFuse, inOwnMounts, nodeLine } from './own-mounts.ts'

// Failures are caused by real file systems: tmpfs, and one in memory that fails on order (faulty-mount.ts). Both need a
// machine that lets this process mount; on others they are not run, and only the last tests are.

let home: string
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'pgproof-mounts-'))
  await mkdir(join(home, 'root'))
})
afterEach(async () => {
  await rm(home, { recursive: true })
})

type Report = Record<'code' | 'message' | 'names' | 'kept', string>

/** What happens on the faulty mount; `flags` are those of faulty-mount.ts. */
async function onFaulty<T = Report>(scenario: string, words: readonly string[], flags: readonly string[] = []) {
  const root = join(home, 'root')
  const child = [join(import.meta.dirname, 'mounts.child.ts'), root, scenario, ...words]
  const printed = await inOwnMounts(home, [nodeLine('faulty-mount.ts', root, ...flags, '--', ...child), '# mount'])
  return JSON.parse(printed) as T
}

async function onTmpfs<T>(scenario: string): Promise<T> {
  const root = join(home, 'root')
  const lines = ['mount -t tmpfs tmpfs root', nodeLine('mounts.child.ts', root, scenario)]
  return JSON.parse(await inOwnMounts(home, lines)) as T
}

/** Of an object that was being written nothing is left; what was there before is as it was. */
const untouched = { names: 'backups/kept', kept: 'old' }

if (await canMountFuse())
  describe('a file system that fails', () => {
    it.each([
      ['the third write gets EIO', 'write', 'write:EIO:2', 'STORE_FAILED'],
      ['fsync of the file gets EIO', 'write', 'fsync:EIO', 'STORE_FAILED'],
      ['closing the file gets EIO, as on NFS', 'write', 'flush:EIO', 'STORE_FAILED'],
      ['the rename gets EIO', 'write', 'rename:EIO', 'STORE_FAILED'],
      ['a write gets ENOSPC', 'write', 'write:ENOSPC:1', 'STORE_FULL'],
      ['a write gets EDQUOT', 'write', 'write:EDQUOT:1', 'STORE_FULL'],
      ['closing the file gets EDQUOT, as on NFS', 'write', 'flush:EDQUOT', 'STORE_FULL'],
      ['a new folder gets ENOSPC', 'write', 'mkdir:ENOSPC', 'STORE_FULL'],
      ['a write gets EFBIG, as beyond 4 GB on FAT', 'write', 'write:EFBIG:1', 'STORE_FULL'],
      ['it turns read-only midway', 'write', 'write:EROFS:2', 'STORE_READ_ONLY'],
      ['it is read-only from the start', 'write', 'mkdir:EROFS', 'STORE_READ_ONLY'],
      ['the file may not be made', 'write', 'create:EACCES', 'STORE_DENIED'],
      ['its server was exchanged (ESTALE)', 'write', 'write:ESTALE', 'STORE_UNREACHABLE'],
      ['its server is gone (ETIMEDOUT)', 'write', 'write:ETIMEDOUT', 'STORE_UNREACHABLE'],
      ['its server is gone (ENOTCONN)', 'write', 'lookup:ENOTCONN', 'STORE_UNREACHABLE'],
      ['the object is there already and a write gets EIO', 'overwrite', 'write:EIO:2', 'STORE_FAILED'],
      ['a read gets EIO', 'get', 'read:EIO', 'STORE_FAILED'],
      ['a read gets ESTALE', 'get', 'read:ESTALE', 'STORE_UNREACHABLE'],
      ['a folder cannot be listed (EIO)', 'list', 'readdir:EIO:2', 'STORE_FAILED'],
      ['a folder may not be listed', 'list', 'opendir:EACCES:1', 'STORE_DENIED'],
      ['the rename finds no file (ENOENT)', 'write', 'rename:ENOENT', 'STORE_UNREACHABLE'],
      ['the object is there already and the rename finds no file', 'overwrite', 'rename:ENOENT', 'STORE_UNREACHABLE'],
      ['an object is there already, told by the link', 'put if absent', 'none', 'STORE_EXISTS'],
      ['a new object is told to be there, and is not', 'put another if absent', 'link:EEXIST', 'STORE_EXISTS'],
      ['a new object is not linked (EIO)', 'put another if absent', 'link:EIO', 'STORE_FAILED'],
      ['its folder goes away again and again', 'write', 'create:ENOENT', 'STORE_UNREACHABLE'],
      ['less is kept than was written', 'write', 'write:less', 'STORE_FAILED'],
      ['a delete gets EROFS', 'delete', 'unlink:EROFS', 'STORE_READ_ONLY'],
      ['a delete gets EIO', 'delete', 'unlink:EIO', 'STORE_FAILED'],
      ['a folder cannot be looked into for leftovers (EIO)', 'sweep', 'opendir:EIO:1', 'STORE_FAILED'],
    ])('%s - %s after %s rejects with %s, nothing half done is left', async (_title, action, ordered, code) => {
      expect(await onFaulty('fault', [action, ordered])).toMatchObject({ code, ...untouched })
    })

    it.each([
      ['rename', 'write', [], 'backups/kept new/folder/dump', 'old'],
      ['rename', 'put', [], 'backups/kept', 'new'],
      ['link', 'put another if absent', [], 'backups/another backups/kept', 'old'],
      ['unlink', 'put another if absent', [], 'backups/another backups/kept', 'old'],
      ['rename', 'put another if absent', ['nolinks'], 'backups/another backups/kept', 'old'],
      ['mkdir', 'write', [], 'backups/kept new/folder/dump', 'old'],
    ])(
      'the answer to a %s is lost and it is done again, as on NFS - a %s (%j) is done',
      async (operation, action, flags, names, kept) => {
        const seen = await onFaulty('fault', [action, `${operation}:again`], flags)
        expect(seen).toMatchObject({ code: 'done', names, kept })
      },
    )

    it('a folder that nobody may look into - the sweep of leftovers passes it over', async () => {
      expect(await onFaulty('fault', ['sweep', 'opendir:EACCES:1'])).toMatchObject({ code: 'done', ...untouched })
    })

    it('the folder cannot be made durable after the rename - the write fails although the object is there', async () => {
      const { code, names, kept } = await onFaulty('fault', ['write', 'fsyncdir:EIO'])
      expect({ code, names, kept }).toEqual({
        code: 'STORE_FAILED',
        names: 'backups/kept new/folder/dump',
        kept: 'old',
      })
    })

    it('folders cannot be synced at all, as on some network file systems - writes succeed', async () => {
      expect(await onFaulty('fault', ['write', 'fsyncdir:EINVAL'])).toMatchObject({ code: 'done' })
    })

    it('a message - names the failure even where Node has no name for it', async () => {
      const { message } = await onFaulty('fault', ['get', 'lookup:ESTALE'])
      expect(message).toMatch(/^cannot reach the store file:\/\/.*: ESTALE: /)
    })

    it('no hard links - an object that must not be there is still told from one that is', async () => {
      const { code, kept } = await onFaulty('fault', ['put if absent', 'none'], ['nolinks'])
      expect({ code, kept }).toEqual({ code: 'STORE_EXISTS', kept: 'old' })
      expect(await onFaulty('fault', ['write', 'none'], ['nolinks'])).toMatchObject({ code: 'done' })
      expect(await onFaulty('fault', ['put another if absent', 'none'], ['nolinks'])).toMatchObject({ code: 'done' })
    })

    it('names that fold case - databases that differ only by case stay apart', async () => {
      const seen = await onFaulty<{ isApart: boolean; isFolding: string }>('two spellings', [], ['fold'])
      expect(seen).toEqual({ isApart: true, isFolding: '4' })
    })

    it.each([
      ['fails', 'readdir:EIO:60', '', 'STORE_FAILED', /many.*EIO|EIO/],
      ['is gone', 'lookup:ESTALE:1', '', 'STORE_UNREACHABLE', /ESTALE/],
      ['falls silent', 'readdir:never:60', '', 'STORE_UNREACHABLE', /no answer to the list of {2}for 300 s$/],
      ['falls silent, and the run is cancelled,', 'readdir:never:60', 'cancel', 'CANCELLED', /cancelled/],
    ])(
      'it %s while 150 folders are listed by threads - the listing rejects',
      async (_what, ordered, cancel, code, message) => {
        const seen = await onFaulty<Report & { before: string[] }>('many folders', [ordered, cancel])
        expect(seen.before).toEqual(['many/folder-1149/dump'])
        expect(seen).toMatchObject({ code, message: expect.stringMatching(message) })
      },
    )

    it.each([
      ['a read', 'get', 'read:never'],
      ['a lookup', 'get', 'lookup:never'],
      ['a listing', 'list', 'readdir:never:2'],
      ['a delete', 'delete', 'unlink:never'],
      ['a write', 'write', 'write:never:1'],
      ['a new file', 'write', 'create:never'],
      ['a flush of the file', 'write', 'fsync:never'],
    ])('%s that is never answered - STORE_UNREACHABLE after a while', async (_title, action, ordered) => {
      const { code, message } = await onFaulty('silent', [action, ordered])
      expect(code).toBe('STORE_UNREACHABLE')
      // A flush has a second more for the megabyte.
      expect(message).toMatch(
        ordered === 'fsync:never' ? /no answer to the write of .* for 301 s$/ : /no answer to the .* for 300 s$/,
      )
    })

    it('more calls than Node has threads are never answered - another store and host names go on', async () => {
      const seen = await onFaulty('more calls than threads', ['lookup:never'])
      expect(seen).toEqual({ codes: ['STORE_UNREACHABLE'], isResolved: true })
    })

    it.each([
      ['write', 'write:never:1'],
      ['write', 'fsync:never'],
      ['write', 'rename:never'],
    ])(
      'a %s that is never answered (%s), cancelled - CANCELLED soon, though nothing can be cleaned up',
      async (...words) => {
        expect(await onFaulty('cancelled', words)).toMatchObject({ code: 'CANCELLED' })
      },
    )
  })

if (await canMount())
  describe('a mount', () => {
    it('made read-only between two objects - writes and deletes get STORE_READ_ONLY, reads go on', async () => {
      expect(await onTmpfs('made read-only')).toEqual({
        outcomes: ['STORE_READ_ONLY', 'STORE_READ_ONLY', 'STORE_READ_ONLY', 'done', 'done'],
        ...untouched,
      })
    })

    it('that goes away while it is written to - nothing is written to the folder below, until it is back', async () => {
      const seen = await onTmpfs<{ outcomes: string[]; below: string; again: string }>('unmounted while it writes')
      expect(seen.outcomes[0]).toBe('STORE_UNREACHABLE')
      expect(new Set(seen.outcomes.slice(1))).toEqual(new Set(['STORE_UNMARKED']))
      expect([seen.below, seen.again]).toEqual(['', 'done'])
      expect(await readdir(join(home, 'root'))).toEqual([])
    })
  })

describe('failures for which Node has no name', () => {
  it.each([
    ['EDQUOT', 'STORE_FULL'],
    ['ESTALE', 'STORE_UNREACHABLE'],
  ] as const)('%s, known by its number only - %s', (name, code) => {
    const errno = -constants.errno[name]
    const thrown = Object.assign(new Error(`Unknown system error ${errno}`), {
      errno,
      code: `Unknown system error ${errno}`,
      syscall: 'write',
    })
    expect(toDirectoryError(thrown, { operation: 'write of a', key: 'a', url: 'file:///a' })).toMatchObject({ code })
  })
})
