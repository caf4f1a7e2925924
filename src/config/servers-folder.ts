import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Draft, isTree, setOrigin } from './draft.ts'
import { type Fault, faultAt } from './faults.ts'
import { fileReason } from './files.ts'

const key = 'serversFrom'

/**
 * Adds the servers that stand in the files of the folder `serversFrom` to those of the configuration itself. Each file has
 * the key `servers` and no other.
 */
export async function addServersFrom(draft: Draft, folder: string, env: NodeJS.ProcessEnv): Promise<Fault[]> {
  const named = draft.value[key]
  if (typeof named !== 'string') return []
  const faults: Fault[] = []
  try {
    for (const name of await filesIn(resolve(folder, named)))
      faults.push(...(await addFile(draft, join(named, name), resolve(folder, named, name), env)))
  } catch (error) {
    faults.push(faultAt(draft, [key], `the folder cannot be read: ${fileReason(error)}`))
  }
  return faults
}

/** Changes whenever a file comes, changes or goes; a folder that cannot be read has one of its own. */
export async function folderState(folder: string): Promise<string> {
  try {
    const files = await filesIn(folder)
    const states = await Promise.all(
      files.map(async (name) => {
        const { size, mtimeMs } = await stat(join(folder, name))
        return [name, size, mtimeMs]
      }),
    )
    return JSON.stringify(states)
  } catch (error) {
    return fileReason(error)
  }
}

async function filesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort()
}

async function addFile(draft: Draft, named: string, path: string, env: NodeJS.ProcessEnv): Promise<Fault[]> {
  const { readYaml } = await import('./yaml-file.ts')
  const { draft: own, faults, isReadable } = readYaml(await readFile(path, 'utf8'), named, env)
  if (!isReadable) return faults
  const { servers, ...others } = own.value
  const place = { text: `${named}:1:1`, position: { line: 1, column: 1 } }
  for (const other of Object.keys(others))
    faults.push({ place, path: undefined, text: `"${other}" does not belong here`, hint: 'only servers do' })
  if (!Array.isArray(servers)) {
    faults.push({ place, path: undefined, text: 'holds no list of servers', hint: 'servers: [{ name: …, url: … }]' })
    return faults
  }
  const before = draft.value['servers'] ?? []
  // Something else stands in the configuration; that is a fault of its own.
  if (!Array.isArray(before)) return faults
  for (const [text, origin] of own.origins) {
    const [list, index, ...rest] = JSON.parse(text) as (string | number)[]
    if (list !== 'servers' || typeof index !== 'number' || origin.from !== 'file') continue
    setOrigin(draft, [list, index + before.length, ...rest], { ...origin, file: named })
  }
  draft.value['servers'] = [...before, ...servers.filter((server) => isTree(server) || server !== null)]
  return faults
}
