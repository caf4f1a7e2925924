import { createHash } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { assertNotAborted, reasonOf } from '../errors.ts'
import { type Log, logKeys } from '../log.ts'
import { isAlive } from '../streams/process-alive.ts'
import { version } from '../version.ts'
import type { KnownBefore, KnownDocument, KnownDocuments } from './contents.ts'
import { forEachInSlices } from './in-slices.ts'
import { parseRow, type Row, rowOf } from './known-row.ts'
import { cutsAmong } from './list-in-parallel.ts'

/**
 * A copy on disk of the documents that were read from one store, so that a start reads only what is new. Never believed
 * over the store: the next listing has to show the very same object, or it is read again. Neither reading nor writing it
 * ever fails: a copy that is not whole, not ours or of another version of pgproof is as good as none.
 *
 * Drill reports in it were found to be signed by whom we trust. That is believed because nobody else can have written the
 * file: it must be a regular file that belongs to the user who runs this and that only this user may open.
 */
export class KnownCache {
  readonly #path: string
  readonly #storeHash: string
  readonly #log: Log
  #saved: KnownDocuments = new Map()
  #hasWarned = false

  /** `store` is whatever tells this store from every other: its id, address and name. It is not read by anybody. */
  constructor(folder: string, store: readonly string[], log: Log) {
    this.#storeHash = createHash('sha256').update(JSON.stringify(store)).digest('hex')
    this.#path = join(folder, `catalog-${this.#storeHash.slice(0, 16)}.cache`)
    this.#log = log
  }

  /** What the file holds; nothing where it cannot be used. */
  async read(): Promise<KnownDocuments> {
    return await this.open().documents
  }

  /** The same while it is still being read. */
  open(): KnownBefore {
    const bytes = readOwn(this.#path)
    return {
      cuts: bytes.then((read) => (read === undefined ? [] : cutsIn(read))).catch(() => []),
      documents: this.#parsed(bytes),
    }
  }

  async #parsed(reading: Promise<Buffer | undefined>): Promise<KnownDocuments> {
    try {
      const bytes = await reading
      if (bytes !== undefined) this.#saved = await parse(bytes, this.#storeHash)
    } catch (error) {
      this.#log.debug({ [logKeys.details]: reasonOf(error) }, `the index cache ${this.#path} is not used`)
    }
    return this.#saved
  }

  /** Writes the file anew if so much has changed that it pays. Throws only when aborted. */
  async write(known: KnownDocuments, signal: AbortSignal): Promise<void> {
    const worthSaving = [...known.values()].filter(({ document }) => document.kind !== 'damaged')
    if (!pays(worthSaving, this.#saved)) return
    try {
      await this.#writeWhole(worthSaving, signal)
      this.#saved = new Map(worthSaving.map((one) => [one.info.key, one]))
      this.#hasWarned = false
    } catch (error) {
      assertNotAborted(signal)
      if (!this.#hasWarned)
        this.#log.warn({ [logKeys.details]: reasonOf(error) }, `cannot write the index cache ${this.#path}`)
      this.#hasWarned = true
    }
  }

  async #writeWhole(documents: readonly KnownDocument[], signal: AbortSignal): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o711 })
    await removeLeftovers(this.#path)
    const unfinished = `${this.#path}.${process.pid}.new`
    await rm(unfinished, { force: true })
    try {
      await using file = await open(unfinished, 'wx', 0o600)
      await writeLines(file, linesOf(documents, this.#storeHash), signal)
      // Not synced: after a power cut the file may be short, and is then not used.
      await rename(unfinished, this.#path)
    } catch (error) {
      await rm(unfinished, { force: true }).catch(() => {})
      throw error
    }
  }
}

/** The copies of all stores, each read when it is needed first. `cacheOf` undefined: there are none. */
export class KnownCaches {
  readonly #cacheOf: ((store: string) => KnownCache) | undefined
  readonly #caches = new Map<string, KnownCache>()

  constructor(cacheOf: ((store: string) => KnownCache) | undefined) {
    this.#cacheOf = cacheOf
  }

  /** What was read before; at the first time by an earlier process. */
  knownOf(store: string, read: { readonly known: KnownDocuments } | undefined): KnownDocuments | KnownBefore {
    if (read !== undefined && read.known.size > 0) return read.known
    if (this.#cacheOf === undefined) return new Map()
    const cache = this.#caches.get(store) ?? this.#cacheOf(store)
    this.#caches.set(store, cache)
    return cache.open()
  }

  /** By the name of the store. Throws only when aborted. */
  async save(
    stores: Iterable<readonly [string, { readonly known: KnownDocuments }]>,
    signal: AbortSignal,
  ): Promise<void> {
    for (const [name, { known }] of stores)
      if (known.size >= manyDocuments) await this.#caches.get(name)?.write(known, signal)
  }
}

/** Fewer are read anew in no time, and a command that only looks leaves no file behind. */
const manyDocuments = 500

/** Raised whenever rows look different or documents are judged by other rules. */
const cacheFormat = 3
/** So many documents are read anew in no time; writing all of them would take longer. */
const manyChanges = 100
const largestBytes = 1 << 29

function pays(documents: readonly KnownDocument[], saved: KnownDocuments): boolean {
  const kept = documents.filter(({ info }) => saved.has(info.key))
  const changed = kept.filter(({ info, document }) => saved.get(info.key)?.document !== document).length
  const changes = documents.length - kept.length + saved.size - kept.length + changed
  return changes > 0 && changes >= Math.min(manyChanges, documents.length / 10)
}

/** The bytes of our own file; undefined where there is none. Throws for one that is somebody else's. */
async function readOwn(path: string): Promise<Buffer | undefined> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (file === undefined) return undefined
  await using opened = file
  assertOwn(await opened.stat())
  return await opened.readFile()
}

function assertOwn(stat: Stats): void {
  if (!stat.isFile()) throw new Error('it is no regular file')
  if (stat.uid !== process.geteuid?.()) throw new Error('it belongs to another user')
  if ((stat.mode & 0o077) !== 0) throw new Error('others may open it')
  if (stat.size > largestBytes) throw new Error('it is too large')
}

/** A header, where to cut a listing, a document in each line, and the SHA-256 of all that. */
function* linesOf(documents: readonly KnownDocument[], storeHash: string): Generator<string> {
  yield headerOf(storeHash)
  yield JSON.stringify(cutsAmong(documents.map(({ info }) => info.key)))
  for (const known of documents) yield JSON.stringify(rowOf(known))
}

function headerOf(storeHash: string): string {
  return JSON.stringify({ pgproofCache: cacheFormat, version, store: storeHash })
}

async function writeLines(file: FileHandle, lines: Iterable<string>, signal: AbortSignal): Promise<void> {
  const hash = createHash('sha256')
  const put = async (text: string): Promise<void> => {
    assertNotAborted(signal)
    hash.update(text)
    await file.writeFile(text)
    // The daemon answers others meanwhile.
    await setImmediate()
  }
  let text = ''
  for (const line of lines) {
    text += `${line}\n`
    if (text.length < 1 << 20) continue
    await put(text)
    text = ''
  }
  await put(text)
  await file.writeFile(`${hash.digest('hex')}\n`)
}

/** Before anybody knows whether the file is whole: wherever a listing is cut, it shows everything. */
function cutsIn(bytes: Buffer): readonly string[] {
  const start = bytes.indexOf('\n') + 1
  const cuts: unknown = JSON.parse(bytes.toString('utf8', start, bytes.indexOf('\n', start)))
  return Array.isArray(cuts) && cuts.length <= mostCuts ? cuts.filter((cut) => typeof cut === 'string') : []
}

/** Of a store with millions of backups. */
const mostCuts = 10_000

async function parse(bytes: Buffer, storeHash: string): Promise<KnownDocuments> {
  const end = bytes.length - 65
  const body = bytes.subarray(0, Math.max(0, end))
  const isWhole = end > 0 && bytes.toString('latin1', end) === `${createHash('sha256').update(body).digest('hex')}\n`
  if (!isWhole) throw new Error('it is damaged')
  const lines = body.toString('utf8').trimEnd().split('\n')
  if (lines[0] !== headerOf(storeHash)) throw new Error('it is of another store or another version of pgproof')
  const known = new Map<string, KnownDocument>()
  const kinds = new Set<string>()
  const take = (line: string): void => {
    const row = JSON.parse(line) as Row
    const document = parseRow(row, !kinds.has(row.document.kind))
    kinds.add(row.document.kind)
    known.set(document.info.key, document)
  }
  // The store is listed meanwhile.
  await forEachInSlices(lines.slice(2), take, rowsInSlice)
  return known
}

/** They take a millisecond or two; a listing begins with a dozen calls of the file system, one after the other. */
const rowsInSlice = 100

/** Of processes that died while they wrote. */
async function removeLeftovers(path: string): Promise<void> {
  for (const name of await readdir(dirname(path))) {
    const [, pid] = name.startsWith(`${basename(path)}.`) ? (/\.(\d+)\.new$/.exec(name) ?? []) : []
    if (pid !== undefined && !isAlive(Number(pid))) await rm(join(dirname(path), name), { force: true })
  }
}
