import { existsSync, readFileSync, rmSync } from 'node:fs'
import { chmod, mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { canMount, inOwnMounts } from '../storage/own-mounts.ts'
import { makeTestBucket, type TestBucket } from '../support/test-bucket.ts'
import { type CliFolder, cliFolder } from './cli.ts'

let folder: CliFolder
let marker: string

beforeEach(async () => {
  folder = await cliFolder('all')
  marker = join(folder.path, 'store', 'pgproof.json')
  rmSync(marker)
})
afterEach(async () => {
  await folder[Symbol.asyncDispose]()
})

const storeId = (path = marker): string => JSON.parse(readFileSync(path, 'utf8')).storeId

describe('a directory without a marker', () => {
  it.each([
    ['backup', ['backup']],
    ['serve', ['serve']],
    ['prune', ['prune']],
    ['drill', ['drill']],
  ])(
    '%s - refused with STORE_UNMARKED, exit 11, nothing written; the hint names mount and init',
    async (_name, args) => {
      const { code, stderr } = await folder.run(args)
      expect(code).toBe(11)
      expect(stderr).toContain(`there is no store of pgproof at file://${folder.path}/store: it holds no pgproof.json`)
      expect(stderr).toMatch(
        /If it is a mount that is missing, mount it\. If this is a new store, run `pgproof init` once\./,
      )
      expect(folder.objects()).toEqual([])
    },
  )

  it('init - marks it, says so and prints the id; once more - says that it was marked, exit 0 both times', async () => {
    const first = await folder.run(['init'])
    expect(first).toEqual({
      code: 0,
      stdout: `file://${folder.path}/store: marked\nStore id: ${storeId()}\n`,
      stderr: '',
    })
    const id = storeId()
    const again = await folder.json(['init'])
    expect(again).toEqual({
      code: 0,
      document: {
        storeId: id,
        stores: [
          {
            name: 'store',
            url: `file://${folder.path}/store`,
            result: 'was marked',
            isNewDirectory: false,
            reason: null,
          },
        ],
      },
      stderr: '',
    })
    expect(storeId()).toBe(id)
    expect((await folder.run(['list'])).code).toBe(0)
  })
})

describe('init', () => {
  it('of a directory that is not there - makes it; of one whose parent is not there - names the parent, makes nothing', async () => {
    await rm(join(folder.path, 'store'), { recursive: true })
    const { code, stdout } = await folder.run(['init'])
    expect([code, stdout.split('\n')[0]]).toEqual([0, `file://${folder.path}/store: marked, its directory is new`])

    await folder.configure({ store: { url: `file://${folder.path}/mnt/nas/backups` } })
    const failed = await folder.json(['init'])
    expect(failed.code).toBe(11)
    expect(failed.document['error']).toMatchObject({
      code: 'STORE_BUCKET_MISSING',
      message: `bucket or directory ${folder.path}/mnt/nas does not exist`,
    })
    expect(existsSync(join(folder.path, 'mnt'))).toBe(false)
  })

  it('of a directory on a file system that is read-only - exit 11, STORE_READ_ONLY', async ({ skip }) => {
    if (!(await canMount())) skip('this process may mount nothing')
    await mkdir(join(folder.path, 'nas'))
    await folder.configure({ store: { url: `file://${folder.path}/nas/store` } })
    const command = `'${process.execPath}' '${resolve('src/main.ts')}' --config pgproof.yaml --json init`
    const lines = ['mount -t tmpfs -o ro tmpfs nas', `${command} || echo "exit $?"`]
    const [document = '', exit] = (await inOwnMounts(folder.path, lines)).split(/\n(?=exit)/)
    expect([exit, JSON.parse(document)]).toMatchObject(['exit 11', { error: { code: 'STORE_READ_ONLY' } }])
  })

  it('of a directory that this user may not make - exit 11, STORE_DENIED names it and what to do', async () => {
    await mkdir(join(folder.path, 'nas'))
    await chmod(join(folder.path, 'nas'), 0o555)
    await folder.configure({ store: { url: `file://${folder.path}/nas/store` } })
    // Root may make it anywhere, unless it has that taken away.
    const asAnybody = process.getuid?.() === 0 ? 'setpriv --bounding-set=-dac_override,-dac_read_search' : ''
    const command = `${asAnybody} '${process.execPath}' '${resolve('src/main.ts')}' --config pgproof.yaml --json init`
    const printed = await inOwnMounts(folder.path, [`${command} || echo "exit $?"`])
    const [document = '', exit] = printed.split(/\n(?=exit)/)
    const message = expect.stringContaining(`making ${folder.path}/nas/store: EACCES`)
    expect([exit, JSON.parse(document)]).toMatchObject(['exit 11', { error: { code: 'STORE_DENIED', message } }])
    expect(existsSync(join(folder.path, 'nas', 'store'))).toBe(false)
  })

  it('a file in the place of the directory - exit 11, the file stays', async () => {
    await folder.write('file', 'mine')
    await folder.configure({ store: { url: `file://${folder.path}/file` } })
    expect((await folder.run(['init'])).code).toBe(11)
    expect(readFileSync(join(folder.path, 'file'), 'utf8')).toBe('mine')
  })

  it('a marker that is broken or of a newer format - exit 11, left as it is', async () => {
    for (const text of ['{', '{"format": 7}']) {
      await folder.write('store/pgproof.json', text)
      expect((await folder.run(['init'])).code).toBe(11)
      expect(readFileSync(marker, 'utf8')).toBe(text)
    }
  })

  it('a directory with files of others in it - marked, and they stay', async () => {
    await mkdir(join(folder.path, 'store', 'photos'))
    await folder.write('store/photos/cat.jpg', 'cat')
    await chmod(join(folder.path, 'store', 'photos'), 0o755)
    expect((await folder.run(['init'])).code).toBe(0)
    expect(readFileSync(join(folder.path, 'store', 'photos', 'cat.jpg'), 'utf8')).toBe('cat')
  })
})

describe('a bucket', () => {
  let bucket: TestBucket
  beforeEach(async () => {
    bucket = await makeTestBucket()
  })
  afterEach(async () => {
    await bucket.remove()
  })

  const inBucket = (name: string, more: object = {}): object => {
    const { url, endpoint, region, provider, accessKeyId, secretAccessKey } = bucket.settings()
    return { name, url, endpoint, region, provider, accessKeyId, secretAccessKey: secretAccessKey?.(), ...more }
  }
  const inDirectory = (name: string, more: object = {}): object => ({
    name,
    url: `file://${folder.path}/${name}`,
    ...more,
  })

  it('new, beside a new directory - both are marked with one id', async () => {
    await mkdir(join(folder.path, 'nas'))
    await folder.configure({ store: [inDirectory('nas'), inBucket('cloud')] })
    const { code, document } = await folder.json(['init'])
    expect(code).toBe(0)
    expect([...(document['stores'] ?? [])].map((store) => store['result'])).toEqual(['marked', 'marked'])
    expect(document['storeId']).toBe(storeId(join(folder.path, 'nas', 'pgproof.json')))
  })

  it('of another installation - STORE_FOREIGN, exit 11', async () => {
    await folder.configure({ store: inBucket('cloud') })
    expect((await folder.run(['init'])).code).toBe(0)
    await mkdir(join(folder.path, 'nas'))
    await folder.configure({ store: inDirectory('nas') })
    expect((await folder.run(['init'])).code).toBe(0)
    await folder.configure({ store: [inDirectory('nas'), inBucket('cloud')] })
    for (const command of ['init', 'backup', 'list']) {
      const { code, document } = await folder.json([command])
      expect([code, document['error']?.['code']]).toEqual([11, 'STORE_FOREIGN'])
    }
  })

  it('an optional one that does not answer - the others are marked, this one is named, exit 11', async () => {
    await mkdir(join(folder.path, 'nas'))
    await folder.configure({ store: inDirectory('nas') })
    expect((await folder.run(['init'])).code).toBe(0)
    const wrong = { ...inBucket('cloud', { required: false }), secretAccessKey: 'wrong' }
    await folder.configure({ store: [inDirectory('nas'), wrong] })
    const { code, document } = await folder.json(['init'])
    expect(code).toBe(11)
    expect([...(document['stores'] ?? [])].map((store) => store['result'])).toEqual(['was marked', 'failed'])
    expect(document['error']?.['code']).toBe('STORE_DENIED')
  })
})
