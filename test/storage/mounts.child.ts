// Run by mounts.test.ts on a mount of its own: what a directory store does when the file system below it fails. Prints one
// line of JSON.
import { spawnSync } from 'node:child_process'
import { lookup } from 'node:dns/promises'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clock, systemClock } from '../../src/clock.ts'
import { PgproofError } from '../../src/errors.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import { storeMarkerKey } from '../../src/storage/object-keys.ts'

const [root = '', scenario = '', ...words] = process.argv.slice(2)
/** Once something was ordered patience lasts a hundredth, so that nobody waits for it; what works may take its time. */
const pace = { hurry: 1 }
const clock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / pace.hurry, signal) }
const store = new DirectoryStore(`file://${root}`, { clock })
const controller = new AbortController()
const { signal } = controller

const actions: Record<string, () => Promise<unknown>> = {
  write: () => store.write('new/folder/dump', megabyte(), { signal }),
  overwrite: () => store.write('backups/kept', megabyte(), { signal }),
  put: () => store.put('backups/kept', Buffer.from('new'), { signal }),
  'put if absent': () => store.put('backups/kept', Buffer.from('new'), { signal, ifAbsent: true }),
  'put another if absent': () => store.put('backups/another', Buffer.from('new'), { signal, ifAbsent: true }),
  get: () => store.get('backups/kept', { signal }),
  list: async () => {
    const keys: string[] = []
    for await (const { key } of store.list('', { signal })) keys.push(key)
    return keys
  },
  delete: () => store.delete('backups/kept', { signal }),
  sweep: () => store.sweepUnfinished(new Date(Date.now() + 60_000), { signal }),
}

const report = await scenarios()[scenario]?.()
console.log(JSON.stringify(report))
order('end')

function scenarios(): Record<string, () => Promise<unknown>> {
  return {
    /** One order to the faulty mount, and what comes of one action. */
    fault: async () => {
      const [action = '', ordered = ''] = words
      await store.put('backups/kept', Buffer.from('old'), { signal })
      order(ordered)
      const outcome = await outcomeOf(actions[action])
      order('none')
      return { ...outcome, names: names(), kept: kept() }
    },
    /** A store of many backups, which is listed by threads; something happens in the middle of it. */
    'many folders': async () => {
      const [ordered = '', isCancelled = ''] = words
      for (let index = 0; index < 150; index += 1)
        mkdirSync(join(root, 'many', `folder-${1000 + index}`), { recursive: true })
      await store.put('many/folder-1149/dump', Buffer.from('old'), { signal })
      const before = await actions['list']?.()
      order(ordered)
      if (isCancelled !== '') setTimeout(() => controller.abort(), 50)
      const outcome = await outcomeOf(actions['list'])
      order('none')
      return { ...outcome, before }
    },
    /** The mount falls silent, and the run is cancelled a little later. */
    cancelled: async () => {
      await store.put('backups/kept', Buffer.from('old'), { signal })
      order(words[1] ?? '')
      setTimeout(() => controller.abort(), 50)
      return await outcomeOf(actions[words[0] ?? ''])
    },
    /** The mount falls silent, and nobody cancels. */
    silent: async () => {
      await store.put('backups/kept', Buffer.from('old'), { signal })
      order(words[1] ?? '')
      return await outcomeOf(actions[words[0] ?? ''])
    },
    /** More calls than Node has threads; another store and a host name want some as well. */
    'more calls than threads': async () => {
      const other = await mkdtemp(join(tmpdir(), 'pgproof-other-'))
      const beside = new DirectoryStore(`file://${other}`, { clock, directories: 2 })
      await store.put('backups/kept', Buffer.from('old'), { signal })
      order(words[0] ?? '')
      const hung = Array.from({ length: 12 }, () => outcomeOf(actions['get']))
      await beside.put('a', Buffer.from('x'), { signal })
      const { address } = await lookup('localhost')
      const codes = new Set((await Promise.all(hung)).map(({ code }) => code))
      await rm(other, { recursive: true })
      return { codes: [...codes], isResolved: address !== '' }
    },
    'made read-only': async () => {
      await store.put('backups/kept', Buffer.from('old'), { signal })
      spawnSync('mount', ['-o', 'remount,ro', root], { stdio: 'inherit' })
      const outcomes: unknown[] = []
      for (const action of ['write', 'overwrite', 'delete', 'get', 'sweep'])
        outcomes.push((await outcomeOf(actions[action])).code)
      return { outcomes, names: names(), kept: kept() }
    },
    'unmounted while it writes': async () => {
      await store.put(storeMarkerKey, Buffer.from('{}'), { signal })
      const source = (async function* () {
        yield Buffer.alloc(300_000)
        spawnSync('umount', ['-l', root], { stdio: 'inherit' })
        yield Buffer.alloc(300_000)
      })()
      const outcomes = [(await outcomeOf(() => store.write('new/dump', source, { signal }))).code]
      for (const action of ['write', 'overwrite', 'get', 'list', 'delete', 'sweep'])
        outcomes.push((await outcomeOf(actions[action])).code)
      const below = names()
      spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', root], { stdio: 'inherit' })
      await store.put(storeMarkerKey, Buffer.from('{}'), { signal })
      return { outcomes, below, again: (await outcomeOf(actions['write'])).code }
    },
    'two spellings': async () => {
      const { backupFolder } = await import('../../src/storage/object-keys.ts')
      const keys = ['Shop', 'shop', 'SHOP', 'ſhop'].map(
        (database) =>
          `${backupFolder({ kind: 'database', server: 'main', database, label: '20261120T020000Z-4f7k' })}x`,
      )
      for (const key of keys) await store.put(key, Buffer.from(key), { signal })
      const read = await Promise.all(keys.map(async (key) => Buffer.from(await store.get(key, { signal })).toString()))
      return { isApart: read.every((text, index) => text === keys[index]), isFolding: kept('Backups/MAIN') }
    },
  }
}

async function outcomeOf(action: (() => Promise<unknown>) | undefined): Promise<{ code: string; message: string }> {
  try {
    const value = await action?.()
    return { code: 'done', message: Array.isArray(value) ? value.join(' ') : '' }
  } catch (error) {
    const { message } = error as Error
    return { code: error instanceof PgproofError ? error.code : String(error), message }
  }
}

function order(words: string): void {
  pace.hurry = 100
  try {
    mkdirSync(join(root, `.order:${words}`))
  } catch {
    // The faulty mount takes it for an order; any other has no use for it.
  }
}

async function* megabyte(): AsyncGenerator<Buffer> {
  for (let part = 0; part < 4; part += 1) yield Buffer.alloc(256 * 1024, part)
}

function names(): string {
  const found = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return found
    .map(({ parentPath, name }) => join(parentPath, name).slice(root.length + 1))
    .sort()
    .join(' ')
}

/** What is left of the object that was there before; of a folder, whether it is there. */
function kept(path = 'backups/kept'): string {
  try {
    return path === 'backups/kept'
      ? readFileSync(join(root, path), 'utf8')
      : String(readdirSync(join(root, path)).length)
  } catch {
    return 'gone'
  }
}
