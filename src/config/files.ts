import { access, constants, readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Draft, isTree, originOf } from './draft.ts'
import { type Fault, faultAt, isCovered } from './faults.ts'
import { childOf, type KeyNode, type Path, root, type ValueNode } from './keys.ts'

export type ReadFiles = {
  readonly faults: Fault[]
  readonly warnings: Fault[]
  /** The text of each secret file, by the JSON of its key's path. */
  readonly secrets: ReadonlyMap<string, string>
}

/**
 * Reads the secret files that the draft names and sees to it that the other files can be read. Relative paths are
 * relative to `folder`. Leaves out what `known` has a fault for.
 */
export async function readFiles(draft: Draft, folder: string, known: readonly Fault[]): Promise<ReadFiles> {
  const faults: Fault[] = []
  const warnings: Fault[] = []
  const secrets = new Map<string, string>()
  for (const { path, node, text } of givenTexts(draft.value)) {
    if (isCovered(known, path)) continue
    const reads = node.kind.filesIn === undefined ? node.kind.reads : 'file'
    if (reads === undefined || reads === 'path') continue
    for (const name of node.kind.filesIn?.(text) ?? [text]) {
      const file = resolve(folder, name)
      const isRead = reads === 'secret' || reads === 'hash'
      const found = await look(file, isRead)
      if ('reason' in found) faults.push(unreadable(draft, path, { file, reads, folder }, found.reason))
      else if (reads === 'hash' && !isHash(found.text))
        faults.push(faultAt(draft, path, `${file} holds no SHA-256`, 'printf %s "$TOKEN" | sha256sum'))
      else {
        if (isRead)
          secrets.set(JSON.stringify(path), reads === 'hash' ? found.text.slice(0, 64).toLowerCase() : found.text)
        if (found.isOpen && (reads === 'secret' || reads === 'key') && !isMountedSecret(file))
          warnings.push(faultAt(draft, path, `other users may read ${file}`, `chmod 600 ${file}`))
      }
    }
  }
  return { faults, warnings, secrets }
}

/** Every text of a value in the draft, those in lists one by one. */
export function* givenTexts(
  value: unknown,
  node: KeyNode | undefined = root,
  path: Path = [],
): Generator<{ path: Path; node: ValueNode; text: string }> {
  if (typeof value === 'string') {
    if (node?.form === 'value' && value !== '') yield { path, node, text: value }
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries())
      yield* givenTexts(item, node?.form === 'value' ? node : childOf(node, index), [...path, index])
  } else if (isTree(value) && node?.form !== 'value') {
    for (const [key, item] of Object.entries(value)) yield* givenTexts(item, childOf(node, key), [...path, key])
  }
}

/** More than any secret; keeps a wrong path from filling the memory. */
const mostBytes = 65_536

type Looked = { readonly reason: string } | { readonly text: string; readonly isOpen: boolean }

/** `isOpen` tells whether others than the owner may read the file. `text` is empty unless the contents are asked for. */
async function look(file: string, wantsContents: boolean): Promise<Looked> {
  try {
    await access(file, constants.R_OK)
    const found = await stat(file)
    if (found.isDirectory()) return { reason: 'it is a directory' }
    const isOpen = (found.mode & 0o044) !== 0
    if (!wantsContents) return { text: '', isOpen }
    if (found.size > mostBytes) return { reason: 'it is too large for a secret' }
    const text = (await readFile(file, 'utf8')).replace(/\r?\n$/, '')
    return text === '' ? { reason: 'it is empty' } : { text, isOpen }
  } catch (error) {
    return { reason: fileReason(error) }
  }
}

/** Without the path, which the system's own message would repeat. */
export function fileReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN'
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: 'it does not exist',
    ENOTDIR: 'it does not exist',
    EACCES: 'this user may not read it',
    EPERM: 'this user may not read it',
    EISDIR: 'it is a directory',
  }
  return reasons[code] ?? code
}

/** The name of a key or secret file is not quoted: now and then it is the secret itself that somebody gave. */
function unreadable(
  draft: Draft,
  path: Path,
  { file, reads, folder }: { readonly file: string; readonly reads: string; readonly folder: string },
  reason: string,
): Fault {
  const isFlag = originOf(draft, path)?.from === 'flag'
  // What names a key on the command line is a path.
  const what = reads === 'file' || (isFlag && reads === 'key') ? file : 'the file'
  const hint = isFlag ? undefined : `relative paths start at ${folder}`
  return faultAt(draft, path, `cannot read ${what}: ${reason}`, hint)
}

/** As sha256sum prints it: the digits, and perhaps a name after them. */
function isHash(text: string): boolean {
  return /^[0-9a-fA-F]{64}(\s|$)/.test(text)
}

/** Docker and Kubernetes mount secrets there, readable for all; within a container that is everybody there is. */
function isMountedSecret(file: string): boolean {
  return /^(?:\/var)?\/run\/secrets\//.test(file)
}
