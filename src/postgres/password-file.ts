import { readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where libpq looks for passwords that nobody configured. */
export function passwordFilePath(): string {
  return process.env['PGPASSFILE'] ?? join(homedir(), '.pgpass')
}

/**
 * The password of the first line that fits, as libpq reads the file (manual, "The Password File"): a file that others
 * may read is passed over. Undefined if there is none.
 */
export async function passwordFromFile(login: {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
}): Promise<string | undefined> {
  const wanted = [login.host, String(login.port), login.database, login.user]
  for (const line of (await readPrivate(passwordFilePath())).split(/\r?\n/)) {
    const fields = takeApart(line)
    const password = fields[4]
    const fits = wanted.every((value, index) => fields[index]?.raw === '*' || fields[index]?.text === value)
    if (password !== undefined && fits) return password.text
  }
  return undefined
}

/** Whether there is one that is passed over, because others may read it. */
export async function isPasswordFileOpen(): Promise<boolean> {
  const found = await stat(passwordFilePath()).catch(() => undefined)
  return found?.isFile() === true && (found.mode & 0o077) !== 0
}

async function readPrivate(path: string): Promise<string> {
  try {
    const found = await stat(path)
    return found.isFile() && (found.mode & 0o077) === 0 ? await readFile(path, 'utf8') : ''
  } catch {
    return ''
  }
}

type Field = { readonly raw: string; readonly text: string }

/** Four fields and the password, in which a backslash takes a colon or a backslash as it is. */
function takeApart(line: string): Field[] {
  if (line.startsWith('#')) return []
  const raws = [...line.matchAll(/((?:\\[\s\S]|[^:\\]|\\$)*)(?::|$)/g)].map(([, raw = '']) => raw)
  return raws.slice(0, 5).map((raw) => ({ raw, text: raw.replaceAll(/\\([\s\S])/g, '$1') }))
}
