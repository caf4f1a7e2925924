import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { ListMultipartUploadsCommand, ListObjectsV2Command, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import type { KeyPair } from '../../src/encryption/generate.ts'
import { type CliFolder, cliFolder } from '../commands/cli.ts'
import { serverBinDir } from '../support/postgres-server.ts'
import { testClient } from '../support/s3-server.ts'
import { standIn } from '../support/stand-ins.ts'
import type { TestBucket } from '../support/test-bucket.ts'
import type { Fault, Stage } from './matrix.ts'
import { outOfMemory } from './memory-limit.ts'
import { type Source, sourceDatabase } from './source.ts'
import { type FaultyStore, type StoreFault, startFaultyStore } from './store-faults.ts'

/** Where one cell happens: a folder, a configuration, and the store that is hit. */
export type Place = AsyncDisposable & {
  readonly folder: CliFolder
  /** A file whose presence makes the clock jump. */
  readonly clockFile: string
  readonly isBucket: boolean
  /** Whether the stage has come to its moment. */
  isThere(): boolean
  /** The process id of the stand-in that waits for `go`. */
  waiting(): number
  /** Lets a stand-in that waits become the real program. */
  go(): void
  /** Leaves no byte free where the fault wants it. */
  fill(): void
  /** Ends the fault: the network is back, the disk has room. */
  heal(): void
  /** Every object of the store that is hit, and a digest of it. */
  objects(): Promise<Map<string, string>>
  /** Unfinished writes of that store. */
  unfinished(): Promise<string[]>
}

export type PlaceParts = {
  readonly source: Source
  readonly template: string
  /** A folder in which Node keeps what it has compiled: each cell starts pgproof half a dozen times. */
  readonly compiled: string
  readonly bucket: TestBucket
  readonly keys: KeyPair
}

/** Stages whose moment is a program that waits; that of the others is a request to the store. */
const programs: Partial<Record<Stage, string>> = {
  backup: 'pg_dump',
  roles: 'pg_dumpall',
  drill: 'pg_restore',
  restore: 'pg_restore',
}

const storeFaults: Partial<Record<Fault, StoreFault>> = {
  'network reset once': 'reset once',
  'network cut': 'cut',
  'network stalled': 'stall',
  'store answers 500': '500',
}

const usesSpool = (stage: Stage): boolean => stage === 'drill' || stage === 'restore'

export async function openPlace(stage: Stage, fault: Fault, parts: PlaceParts): Promise<Place> {
  const { source, template, bucket } = parts
  const folder = await cliFolder([sourceDatabase])
  const file = (name: string): string => join(folder.path, name)
  const isFull = fault === 'disk full'
  const isOfStore = storeFaults[fault] !== undefined || (programs[stage] === undefined && !isFull)
  const mounted = isFull ? file(usesSpool(stage) ? 'spool' : 'store') : null
  const opened: (() => unknown)[] = [() => folder[Symbol.asyncDispose]()]
  try {
    // 1. The store that is hit, with what is in it before; a sync has a second one, which is whole.
    await writeKeys(folder, parts.keys)
    mkdirSync(file('spool'))
    if (mounted !== null) {
      mountSmall(mounted, usesSpool(stage) ? '420m' : '90m')
      opened.push(() => execFileSync('umount', ['-l', mounted]))
    }
    if (stage === 'sync') cpSync(template, file('near'), { recursive: true })
    const prefix = `${stage}-${fault.replaceAll(' ', '-')}`
    let faulty: FaultyStore | null = null
    let client: S3Client | null = null
    if (isOfStore) {
      const s3 = testClient(bucket.server)
      client = s3
      opened.push(() => s3.destroy())
      await fillBucket(s3, bucket.name, `${prefix}/`, stage === 'sync' ? null : template, template)
      const kind = storeFaults[fault] ?? (fault.startsWith('clock') ? 'pass' : 'hold')
      const begin = (): void => writeFileSync(file('clock'), '')
      const store = await startFaultyStore(
        bucket.server.endpoint,
        kind,
        ({ operation, path }) => {
          const isOfDump = /\/(?:dump|roles)\.[^/]*\.pgp\d*$/.test(path)
          if (stage === 'prune') return operation === 'DeleteObject'
          if (usesSpool(stage)) return operation === 'GetObject' && isOfDump
          return (operation === 'PutObject' || operation === 'UploadPart') && isOfDump
        },
        begin,
      )
      faulty = store
      opened.push(() => store.stop())
    } else {
      rmSync(join(file('store'), 'pgproof.json'), { force: true })
      if (stage === 'sync') cpSync(join(template, 'pgproof.json'), join(file('store'), 'pgproof.json'))
      else cpSync(template, file('store'), { recursive: true })
    }

    // 2. The configuration, and a program that waits.
    const { server } = bucket
    const hit = isOfStore
      ? {
          url: `s3://${bucket.name}/${prefix}`,
          endpoint: faulty?.endpoint,
          ...{ region: server.region, provider: server.provider, partSize: '5MiB' },
          ...{
            accessKeyId: server.accessKeyId,
            secretAccessKeyFile: await folder.write('secret', server.secretAccessKey),
          },
        }
      : { url: `file://${file('store')}` }
    const program = isOfStore ? undefined : programs[stage]
    const isFilledFirst = isFull && program === undefined
    // Where something is restored it is the server that gets no more memory.
    const isLimited = fault === 'out of memory' && !usesSpool(stage)
    await folder.configure({
      store:
        stage === 'sync'
          ? [
              { name: 'near', url: `file://${file('near')}` },
              { name: 'far', ...hit },
            ]
          : hit,
      servers: [
        {
          name: 'main',
          url: source.url(),
          databases: [sourceDatabase],
          retention: { last: stage === 'prune' ? 1 : 9 },
        },
      ],
      drill: { spool: file('spool'), jobs: 1 },
      postgres: {
        binDirs: program === undefined ? [serverBinDir()] : [waitingStandIn(folder.path, program, isLimited)],
      },
    })
    return {
      folder,
      clockFile: file('clock'),
      isBucket: isOfStore,
      isThere: () => (program === undefined ? (faulty?.hasHappened() ?? isFilledFirst) : existsSync(file('begun'))),
      waiting: () => Number(readFileSync(file('begun'), 'utf8')),
      go: () => writeFileSync(file('go'), ''),
      fill: () => {
        // A prune needs no more than a few bytes; a sync begins with room for a part of what it lacks.
        if (mounted !== null) fillUp(join(mounted, 'filler'), stage === 'sync' ? 3 << 20 : 0)
      },
      heal: () => {
        faulty?.heal()
        if (mounted !== null) rmSync(join(mounted, 'filler'), { force: true })
      },
      objects: async () =>
        client === null ? objectsIn(file('store')) : await objectsOf(client, bucket.name, `${prefix}/`),
      unfinished: async () =>
        client === null
          ? namesIn(file('store')).filter((name) => name.endsWith('.part'))
          : await uploadsOf(client, bucket.name, `${prefix}/`),
      [Symbol.asyncDispose]: async () => {
        for (const release of opened.toReversed()) await release()
      },
    }
  } catch (error) {
    for (const release of opened.toReversed()) await release()
    throw error
  }
}

/** In place of those of the folder. */
export async function writeKeys(folder: CliFolder, { publicKey, privateKey }: KeyPair): Promise<void> {
  await folder.write('pub.asc', publicKey)
  await folder.write('key.asc', privateKey)
}

/** Waits until the stage has come to its moment; `end` is what it said, if it ended before. */
export async function untilMoment(place: Place, end: () => string | undefined): Promise<void> {
  const isThere = (): boolean => {
    if (end() !== undefined && !place.isThere()) throw new Error(`ended before its moment: ${end()}`)
    return place.isThere()
  }
  for (const deadline = Date.now() + 150_000; !isThere(); await setTimeout(5))
    if (Date.now() > deadline) throw new Error('never came to its moment')
}

/**
 * Half of its output, then it waits: the snapshot is held, the upload under way. pg_restore waits before it fills a
 * database that is there already. It is the program's own process that waits and then goes on as the real one.
 */
function waitingStandIn(folder: string, program: string, isLimited: boolean): string {
  const begin = `echo $$ > ${folder}/.begun; mv ${folder}/.begun ${folder}/begun`
  const wait = `while [ ! -e ${folder}/go ]; do sleep 0.02; done`
  const script =
    program === 'pg_restore'
      ? `case "$*" in *--list*|*--file=*) exec "$REAL" "$@";; esac\n${begin}\n${wait}\nexec "$REAL" "$@"`
      : isLimited
        ? `${begin}\n${wait}\n${outOfMemory(folder)}`
        : `"$REAL" "$@" > ${folder}/.whole || exit 1\nhead -c 500 ${folder}/.whole\n${begin}\n${wait}\nexec tail -c +501 ${folder}/.whole`
  return standIn(folder, program, script)
}

function mountSmall(path: string, size: string): void {
  if (process.getuid?.() !== 0)
    throw new Error('a full disk is a small tmpfs, which only root can mount: run this as root, as CI does')
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0711`, 'tmpfs', path])
}

function fillUp(path: string, but: number): void {
  const block = Buffer.alloc(1 << 20)
  writeFileSync(path, '')
  try {
    for (;;) writeFileSync(path, block, { flag: 'a' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
  if (but > 0) execFileSync('truncate', ['-s', `-${but}`, path])
}

async function fillBucket(
  client: S3Client,
  bucket: string,
  prefix: string,
  from: string | null,
  template: string,
): Promise<void> {
  const names = from === null ? ['pgproof.json'] : namesIn(from)
  for (const name of names)
    await client.send(
      new PutObjectCommand({ Bucket: bucket, Key: prefix + name, Body: readFileSync(join(template, name)) }),
    )
}

async function objectsOf(client: S3Client, bucket: string, prefix: string): Promise<Map<string, string>> {
  const page = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }))
  return new Map(
    (page.Contents ?? []).map(({ Key = '', ETag = '', Size }) => [Key.slice(prefix.length), `${ETag} ${Size}`]),
  )
}

async function uploadsOf(client: S3Client, bucket: string, prefix: string): Promise<string[]> {
  const page = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }))
  return (page.Uploads ?? []).map(({ Key }) => Key ?? '')
}

function objectsIn(folder: string): Map<string, string> {
  const names = namesIn(folder).filter((name) => !name.endsWith('.part') && name !== 'filler')
  const digest = (name: string): string =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex')
  return new Map(names.map((name) => [name, digest(name)]))
}

function namesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
}
