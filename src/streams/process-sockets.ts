import { readdir, readFile, readlink } from 'node:fs/promises'

/**
 * The TCP connections that a process and everything it has started hold, as `connectionKey` names them. Linux tells;
 * elsewhere, and of processes of other users, nothing is known.
 */
export async function tcpConnectionsOf(pid: number): Promise<ReadonlySet<string>> {
  const sockets = new Set<string>()
  for (const process of await descendantsOf(pid))
    for (const descriptor of await list(`/proc/${process}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(await link(`/proc/${process}/fd/${descriptor}`))?.[1]
      if (inode !== undefined) sockets.add(inode)
    }
  const connections = new Set<string>()
  if (sockets.size === 0) return connections
  for (const table of ['tcp', 'tcp6'])
    for (const line of (await read(`/proc/${pid}/net/${table}`)).split('\n').slice(1)) {
      const [, local, remote, , , , , , , inode] = line.trim().split(/\s+/)
      if (local === undefined || remote === undefined || inode === undefined || !sockets.has(inode)) continue
      const [address = '', port = ''] = local.split(':')
      connections.add(connectionKey(addressOf(address), Number.parseInt(port, 16)))
    }
  return connections
}

/** The client's end of a connection: an IP address as text, in whatever form, and a port. */
export function connectionKey(address: string, port: number): string {
  const bare = address.replace(/^::ffff:(?=\d+\.)/i, '')
  return `${bare.includes(':') ? new URL(`http://[${bare}]`).hostname : bare} ${port}`
}

/** The process itself and all that descend from it, as long as no parent in between has ended. */
async function descendantsOf(pid: number): Promise<readonly number[]> {
  const children = new Map<number, number[]>()
  for (const name of await list('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = await read(`/proc/${name}/stat`)
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  const found = [pid]
  for (const one of found) found.push(...(children.get(one) ?? []))
  return found
}

/** The kernel writes addresses as 32-bit words in the machine's byte order: little-endian wherever Node runs. */
function addressOf(hex: string): string {
  const bytes = hex.match(/.{8}/g)?.flatMap((word) => word.match(/../g)?.toReversed() ?? []) ?? []
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join('.')
  if (/^(00){10}ffff/i.test(bytes.join('')))
    return bytes
      .slice(12)
      .map((byte) => Number.parseInt(byte, 16))
      .join('.')
  return bytes.join('').match(/.{4}/g)?.join(':') ?? ''
}

/** Whatever ends while it is looked at is nothing. */
async function list(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch(() => [])
}

async function read(file: string): Promise<string> {
  return await readFile(file, 'utf8').catch(() => '')
}

async function link(path: string): Promise<string> {
  return await readlink(path).catch(() => '')
}
