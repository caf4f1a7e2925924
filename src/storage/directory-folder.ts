import { isUtf8 } from 'node:buffer'
import type { Dirent } from 'node:fs'
import type { ObjectInfo } from './object-store.ts'

/** Which keys below a root are wanted. */
export type WalkRange = {
  readonly prefix: string
  /** Only keys beyond it. */
  readonly after: string
}

/** What is in a folder, in the order of the keys: files as a listing shows them, and folders by their keys. */
export type FolderContents = readonly (ObjectInfo | string)[]

/** What is in a folder, as the file system tells it: the names may be in any encoding. */
export type RawEntry = { readonly name: Uint8Array; isDirectory(): boolean }
export type FolderEntry = { readonly name: string; readonly isDirectory: boolean }

/** The file of that key, of so many bytes; the times of its modification and change in milliseconds as the system tells them. */
export function listedFile(key: string, bytes: number, mtimeMs: number, ctimeMs: number): ObjectInfo {
  // Rounded as Node does. The ETag is changed by every write and rename, and by nobody at will.
  return { key, bytes, modifiedAt: new Date(Math.round(mtimeMs)), etag: String(ctimeMs) }
}

/**
 * Without names that are not UTF-8: decoded they would be those of other files. Undefined where some may be such, which
 * only the bytes tell.
 */
export function plainEntries(entries: readonly Dirent[]): readonly FolderEntry[] | undefined {
  if (entries.some(({ name }) => name.includes('\ufffd'))) return undefined
  return entries.map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }))
}

/** The same by the bytes of the names. */
export function readableEntries(entries: readonly RawEntry[]): readonly FolderEntry[] {
  return entries
    .filter(({ name }) => isUtf8(name))
    .map((entry) => ({ name: Buffer.from(entry.name).toString('utf8'), isDirectory: entry.isDirectory() }))
}

/** The keys in a folder that are wanted or lead to some that are, in UTF-8 byte order; a folder's ends in a slash. */
export function wantedKeys(
  entries: readonly FolderEntry[],
  folder: string,
  { prefix, after }: WalkRange,
): readonly string[] {
  const keys = entries
    // With its slash a folder sorts where its contents do: `a-b` before `a/c`.
    .map(({ name, isDirectory }) => `${folder}${name}${isDirectory ? '/' : ''}`)
    .filter((key) => key.startsWith(prefix) || (key.endsWith('/') && prefix.startsWith(key)))
  const beyond =
    after === '' ? keys : keys.filter((key) => isBeyond(key, after) || (key.endsWith('/') && after.startsWith(key)))
  return beyond.some(isUnusual) ? beyond.sort(byBytes) : beyond.sort()
}

/** UTF-16 orders as UTF-8 does, but for what comes after the surrogates. */
function isUnusual(key: string): boolean {
  return /[\ud800-\uffff]/.test(key)
}

function isBeyond(key: string, after: string): boolean {
  return byBytes(key, after) > 0
}

function byBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other))
}
