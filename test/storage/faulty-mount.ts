// A file system in memory that fails on order: the server side of FUSE, for tests of what a store does about it. Mounts it
// on a folder, in a mount namespace of its own, and runs a script on it until that says `.order:end`. Only what a store
// needs of the protocol (linux/fuse.h, 7.31, little-endian): `faulty-mount.ts FOLDER [fold] [nolinks] -- SCRIPT ARGS…`.
// A process of its own, because whoever waits for this file system must never be the one who serves it.
import { spawn, spawnSync } from 'node:child_process'
import { openSync, readSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { resolve } from 'node:path'

const [folder = '', ...words] = process.argv.slice(2)
const isCaseFolding = words.includes('fold')
const hasLinks = !words.includes('nolinks')
const script = words.slice(words.indexOf('--') + 1)

/** Operations that can be made to fail, by their number in the protocol. */
const operations = {
  ...{ lookup: 1, getattr: 3, mkdir: 9, unlink: 10, link: 13, open: 14, read: 15, write: 16, fsync: 20, flush: 25 },
  ...{ opendir: 27, readdir: 28, fsyncdir: 30, create: 35, rename: 12 },
} as const

const { ENOENT, EEXIST, ENOTEMPTY, ENOSYS, EPERM } = constants.errno
const silence = -1
const less = -2
const again = -3
const order = { operation: 0, errno: 0, skip: 0 }
const now = BigInt(Math.floor(Date.now() / 1000))

type Node = { readonly id: bigint; readonly names: Map<string, Node> | null; body: Buffer; links: number }
type Answer = Buffer | number

const nodes = new Map<bigint, Node>()
let lastId = 0n
const root = newNode(true)

const request = Buffer.alloc((1 << 20) + 4096)
/** FORGET, INTERRUPT and BATCH_FORGET. */
const unanswered = new Set([2, 36, 42])

const device = openSync('/dev/fuse', 'r+')
const options = `fd=3,rootmode=40000,user_id=${process.getuid?.()},group_id=${process.getgid?.()}`
const mounted = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'pgproof-test', folder], {
  stdio: ['ignore', 'inherit', 'inherit', device],
})
if (mounted.status !== 0) process.exit(1)
spawn(process.execPath, [resolve(script[0] ?? ''), ...script.slice(1)], { stdio: 'inherit' })
for (let bytes = readRequest(); bytes !== null; bytes = readRequest()) serve(Buffer.from(request.subarray(0, bytes)))
process.exit(0)

/** Null when the mount has gone. */
function readRequest(): number | null {
  for (;;) {
    try {
      return readSync(device, request)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENODEV') return null
      if (code !== 'ENOENT' && code !== 'EINTR' && code !== 'EAGAIN') throw error
    }
  }
}

function serve(message: Buffer): void {
  const operation = message.readUInt32LE(4)
  const unique = message.readBigUInt64LE(8)
  const node = nodes.get(message.readBigUInt64LE(16)) ?? root
  if (unanswered.has(operation)) return
  const nameAt = { [operations.lookup]: 40, [operations.mkdir]: 48 }[operation]
  const isOrder = nameAt !== undefined && text(message, nameAt).startsWith('.order:')
  const errno = isOrder ? 0 : ordered(operation)
  if (errno === silence) return
  if (errno === again) carryOut(operation, node, message.subarray(40))
  const answer = errno > 0 ? errno : carryOut(operation, node, message.subarray(40))
  if (errno === less) node.body = node.body.subarray(0, -1)
  const body = typeof answer === 'number' ? Buffer.alloc(0) : answer
  const head = Buffer.alloc(16)
  head.writeUInt32LE(16 + body.length, 0)
  head.writeInt32LE(typeof answer === 'number' ? -answer : 0, 4)
  head.writeBigUInt64LE(unique, 8)
  writeSync(device, Buffer.concat([head, body]))
}

/** What the test ordered for this operation: 0, an errno, `silence`, `less` or `again`. */
function ordered(operation: number): number {
  if (order.operation !== operation) return 0
  order.skip -= 1
  return order.skip >= 0 ? 0 : order.errno
}

function carryOut(operation: number, node: Node, input: Buffer): Answer {
  switch (operation) {
    case 26:
      return initial()
    case operations.lookup: {
      const found = node.names?.get(folded(text(input, 0)))
      return found === undefined ? ENOENT : entryOf(found)
    }
    case operations.getattr:
      return attributesOut(node)
    case 4: {
      if ((input.readUInt32LE(0) & 8) !== 0) node.body = resized(node.body, Number(input.readBigUInt64LE(16)))
      return attributesOut(node)
    }
    case operations.mkdir: {
      const name = text(input, 8)
      return name.startsWith('.order:') ? take(name) : add(node, name, () => newNode(true))
    }
    case operations.create: {
      const added = add(node, text(input, 16), () => newNode(false))
      return typeof added === 'number' ? added : Buffer.concat([added, opened()])
    }
    case operations.link: {
      const old = nodes.get(input.readBigUInt64LE(0))
      return hasLinks && old !== undefined ? add(node, text(input, 8), () => old) : EPERM
    }
    case operations.unlink:
      return remove(node, text(input, 0))
    case 11: {
      const size = node.names?.get(folded(text(input, 0)))?.names?.size
      return size !== undefined && size > 0 ? ENOTEMPTY : remove(node, text(input, 0))
    }
    case operations.rename:
      return rename(node, input, 8)
    case 45:
      return rename(node, input, 16)
    case operations.open:
    case operations.opendir:
      return opened()
    case operations.read: {
      const offset = Number(input.readBigUInt64LE(8))
      return node.body.subarray(offset, offset + input.readUInt32LE(16))
    }
    case operations.write: {
      const offset = Number(input.readBigUInt64LE(8))
      const data = input.subarray(40, 40 + input.readUInt32LE(16))
      node.body = resized(node.body, Math.max(node.body.length, offset + data.length))
      data.copy(node.body, offset)
      return u32(data.length, 0)
    }
    case operations.readdir:
      return listing(node, Number(input.readBigUInt64LE(8)), input.readUInt32LE(16))
    case 17:
      return Buffer.alloc(80)
    case 18:
    case 29:
    case operations.flush:
    case operations.fsync:
    case operations.fsyncdir:
      return Buffer.alloc(0)
    default:
      return ENOSYS
  }
}

/**
 * `.order:write:EIO:3`: after three more, every write fails so; `less` to lose the last byte of the file; `again` to carry it
 * out, and once more, whose end is the answer, as NFS does after a lost one; any other word for silence. `.order:none`,
 * `.order:end`.
 */
function take(name: string): number {
  const [, what = '', failure = '', skip = '0'] = name.split(':')
  if (what === 'end') process.exit(0)
  order.operation = (operations as Record<string, number>)[what] ?? 0
  order.errno = { ...constants.errno, less, again }[failure] ?? silence
  order.skip = Number(skip)
  return EEXIST
}

function newNode(isFolder: boolean): Node {
  lastId += 1n
  const node = { id: lastId, names: isFolder ? new Map() : null, body: Buffer.alloc(0), links: 1 }
  nodes.set(node.id, node)
  return node
}

function folded(name: string): string {
  return isCaseFolding ? name.toLowerCase() : name
}

function add({ names }: Node, name: string, make: () => Node): Answer {
  if (names?.has(folded(name)) === true) return EEXIST
  const made = make()
  names?.set(folded(name), made)
  return entryOf(made)
}

function remove({ names }: Node, name: string): Answer {
  return names?.delete(folded(name)) === true ? Buffer.alloc(0) : ENOENT
}

function rename(from: Node, input: Buffer, namesAt: number): Answer {
  const to = nodes.get(input.readBigUInt64LE(0))
  const old = text(input, namesAt)
  const fresh = text(input, namesAt + Buffer.byteLength(old) + 1)
  const moved = from.names?.get(folded(old))
  if (moved === undefined) return ENOENT
  from.names?.delete(folded(old))
  to?.names?.set(folded(fresh), moved)
  return Buffer.alloc(0)
}

function listing({ names }: Node, from: number, size: number): Buffer {
  const parts: Buffer[] = []
  let bytes = 0
  for (const [index, [name, { id, names: isFolder }]] of [...(names ?? [])].entries()) {
    const encoded = Buffer.from(name)
    const entry = Buffer.alloc(24 + Math.ceil(encoded.length / 8) * 8)
    if (index < from) continue
    if (bytes + entry.length > size) break
    entry.writeBigUInt64LE(id, 0)
    entry.writeBigUInt64LE(BigInt(index + 1), 8)
    entry.writeUInt32LE(encoded.length, 16)
    entry.writeUInt32LE(isFolder === null ? 8 : 4, 20)
    encoded.copy(entry, 24)
    parts.push(entry)
    bytes += entry.length
  }
  return Buffer.concat(parts)
}

function initial(): Buffer {
  const out = Buffer.alloc(64)
  for (const [index, value] of [7, 31, 1 << 17, 0].entries()) out.writeUInt32LE(value, index * 4)
  out.writeUInt32LE(1 << 17, 20)
  out.writeUInt32LE(1, 24)
  return out
}

/** Nothing is kept by the kernel: each call comes here. */
function entryOf(node: Node): Buffer {
  const head = Buffer.alloc(40)
  head.writeBigUInt64LE(node.id, 0)
  return Buffer.concat([head, attributes(node)])
}

function attributesOut(node: Node): Buffer {
  return Buffer.concat([Buffer.alloc(16), attributes(node)])
}

function attributes({ id, names, body }: Node): Buffer {
  const out = Buffer.alloc(88)
  out.writeBigUInt64LE(id, 0)
  out.writeBigUInt64LE(BigInt(body.length), 8)
  for (const at of [24, 32, 40]) out.writeBigUInt64LE(now, at)
  out.writeUInt32LE(names === null ? 0o100644 : 0o40755, 60)
  out.writeUInt32LE(1, 64)
  out.writeUInt32LE(4096, 80)
  return out
}

/** With FOPEN_DIRECT_IO: reads and writes come here, past the page cache. */
function opened(): Buffer {
  const out = Buffer.alloc(16)
  out.writeUInt32LE(1, 8)
  return out
}

function resized(body: Buffer, bytes: number): Buffer {
  const out = Buffer.alloc(bytes)
  body.copy(out)
  return out
}

function text(input: Buffer, at: number): string {
  return input.toString('utf8', at, input.indexOf(0, at))
}

function u32(...values: number[]): Buffer {
  const out = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) out.writeUInt32LE(value, index * 4)
  return out
}
