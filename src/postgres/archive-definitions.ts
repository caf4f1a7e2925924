import { writeFile } from 'node:fs/promises'
import { rethrowUnless } from '../errors.ts'
import { ProgramError, programOutput } from '../streams/child-process.ts'
import { asSpoolError } from '../streams/spool.ts'
import type { FoundProgram } from './programs.ts'
import { restoreError } from './restore-errors.ts'

export type Archive = { readonly program: FoundProgram; readonly file: string }

/** A foreign key as the archive defines it; the names are as SQL writes them. */
export type ArchivedForeignKey = {
  readonly table: string
  readonly name: string
  readonly references: string
  readonly statement: string
}

/** An index as the archive defines it; the names are as SQL writes them. */
export type ArchivedIndex = { readonly table: string; readonly name: string }

/**
 * Writes entries as a list for `pg_restore --use-list`, beside the archive. Numbers are all that pg_restore reads of it,
 * and names may be in any encoding. Throws SPOOL_FULL.
 */
export async function writeUseList(path: string, lines: readonly string[]): Promise<string> {
  try {
    await writeFile(path, lines.map((line) => `${line.slice(0, line.indexOf(';') + 1)}\n`).join(''), { mode: 0o600 })
  } catch (error) {
    throw asSpoolError(error, path)
  }
  return path
}

/**
 * The statements by which pg_restore would define these entries, one text each, without a `;` at the end. Every name in
 * them is qualified, as pg_dump writes it. Throws RESTORE_FAILED.
 */
export async function readDefinitions(
  { program, file }: Archive,
  lines: readonly string[],
  encoding: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (lines.length === 0) return []
  const list = await writeUseList(`${file}.definitions`, lines)
  const args = [`--use-list=${list}`, '--file=-', '--no-tablespaces', file]
  const chunks: Uint8Array[] = []
  try {
    const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' }
    for await (const chunk of programOutput({ path: program.path, args, env }, { signal })) chunks.push(chunk)
  } catch (error) {
    rethrowUnless(error, ProgramError)
    throw restoreError(error)
  }
  const text = decoderOf(encoding).decode(Buffer.concat(chunks))
  return splitStatements(text).filter((statement) => /^(?:CREATE|ALTER|GRANT|REVOKE|COMMENT) /.test(statement))
}

/** The foreign keys among such statements. */
export function foreignKeysIn(statements: readonly string[]): readonly ArchivedForeignKey[] {
  return statements.flatMap((statement) => {
    const found = foreignKey.exec(statement)
    const [, table, name, references] = found ?? []
    if (table === undefined || name === undefined || references === undefined) return []
    return [{ table, name, references, statement }]
  })
}

const identifier = '(?:"(?:[^"]|"")*"|[a-z_][a-z0-9_]*)'
const relation = `${identifier}\\.${identifier}`
const foreignKey = new RegExp(
  `^ALTER TABLE (?:ONLY )?(${relation})\\s+ADD CONSTRAINT (${identifier}) FOREIGN KEY \\(${identifier}(?:, (?:PERIOD )?${identifier})*\\) REFERENCES (${relation})\\(`,
)

/** The indexes among such statements, without those of constraints. */
export function indexesIn(statements: readonly string[]): readonly ArchivedIndex[] {
  return statements.flatMap((statement) => {
    const [, name, table] = index.exec(statement) ?? []
    return name === undefined || table === undefined ? [] : [{ table, name }]
  })
}

const index = new RegExp(`^CREATE (?:UNIQUE )?INDEX (${identifier}) ON (?:ONLY )?(${relation}) USING `)

/** Cuts a script of pg_dump at its semicolons: not those in strings, quoted names, comments or brackets. */
export function splitStatements(script: string): readonly string[] {
  const token = /--[^\n]*|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[\s\S]*?\$\1\$|[^'"();$-]+|[\s\S]/gy
  const statements: string[] = []
  let begun = ''
  let depth = 0
  for (const [text] of script.matchAll(token)) {
    if (text.startsWith('--')) continue
    if (text === '(') depth += 1
    if (text === ')') depth -= 1
    if (text === ';' && depth === 0) {
      statements.push(begun.trim())
      begun = ''
    } else begun += text
  }
  return [...statements, begun.trim()].filter((statement) => statement !== '')
}

/** A dump is in the encoding of its database. */
function decoderOf(encoding: string): InstanceType<typeof TextDecoder> {
  const known = /^LATIN(\d+)$/.exec(encoding)?.[1]
  const names: Readonly<Record<string, string>> = {
    UTF8: 'utf-8',
    KOI8R: 'koi8-r',
    KOI8U: 'koi8-u',
    EUC_JP: 'euc-jp',
    EUC_KR: 'euc-kr',
  }
  const latin: Readonly<Record<string, string>> = { '5': '9', '6': '10', '7': '13', '8': '14', '9': '15', '10': '16' }
  const part = known === undefined ? undefined : `iso-8859-${latin[known] ?? known}`
  try {
    return new TextDecoder(part ?? names[encoding] ?? encoding.replace(/^WIN(\d+)$/, 'windows-$1'))
  } catch {
    return new TextDecoder('utf-8')
  }
}
