// Run by fetch-dump.test.ts. `fetch TASK`: fetches and prints the code of the failure and the place it names.
// `stall TASK`: the same, but the store falls silent in the middle of the object, until the process is killed.
import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { systemClock } from '../../src/clock.ts'
import { Checklist } from '../../src/domain/checklist.ts'
import { readPrivateKeys } from '../../src/encryption/keys.ts'
import { PgproofError } from '../../src/errors.ts'
import { DirectoryStore } from '../../src/storage/directory.ts'
import type { ReadOptions } from '../../src/storage/object-store.ts'
import { fetchDump } from '../../src/stored/fetch-dump.ts'
import type { ReadManifest } from '../../src/stored/read-backup.ts'
import { now } from '../encryption/made-keys.ts'

type Task = {
  readonly read: ReadManifest
  readonly store: string
  readonly privatePath: string
  readonly file: string
  readonly keepDownload: string
}

class StallingStore extends DirectoryStore {
  override async read(key: string, options: ReadOptions): Promise<Readable> {
    return Readable.from(half(await super.read(key, options)), { objectMode: false })
  }
}

async function* half(stream: Readable): AsyncGenerator<Buffer> {
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    yield chunk
    bytes += chunk.length
    if (bytes > 1_500_000) await new Promise((done) => setTimeout(done, 600_000))
  }
}

const [, , word, path = ''] = process.argv
const { store: url, privatePath, ...task } = JSON.parse(readFileSync(path, 'utf8')) as Task
const keys = await readPrivateKeys([privatePath], undefined, now)
const store = new (word === 'stall' ? StallingStore : DirectoryStore)(url, { clock: systemClock })
await fetchDump({ ...task, keys, store }, new Checklist(), new AbortController().signal).then(
  () => console.log('fetched'),
  (error: unknown) => {
    const full = /the spool (.+) has too little space/.exec(String(error))?.[1] ?? ''
    console.log(error instanceof PgproofError ? `${error.code} ${full}` : String(error))
  },
)
