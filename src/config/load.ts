import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { PgproofError } from '../errors.ts'
import { buildConfig, type Config } from './config.ts'
import { contradictions } from './contradictions.ts'
import { type Draft, emptyDraft } from './draft.ts'
import { applyEnvironment } from './environment.ts'
import { type Fault, faultLines, isCovered } from './faults.ts'
import { fileReason, givenTexts, readFiles } from './files.ts'
import { schema } from './schema.ts'
import { expectation, schemaFaults } from './schema-faults.ts'

export type ConfigSource = {
  /** As `--config` has it, relative to `cwd`. Undefined: what PGPROOF_CONFIG names, or no file at all. */
  readonly file: string | undefined
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** Whether the log goes to a terminal, which decides about the default of `log.format`. */
  readonly isTerminal?: boolean
}

export type LoadedConfig = {
  readonly config: Config
  /** One line each, with place and hint, for the log. */
  readonly warnings: readonly string[]
  /** The absolute path of the file, or `environment`. */
  readonly source: string
}

/**
 * Environment over file over defaults. Throws CONFIG_UNREADABLE if there is no reading the file, and CONFIG_INVALID with
 * every fault, one line each in its details.
 */
export async function loadConfig({ file, env, cwd, isTerminal }: ConfigSource): Promise<LoadedConfig> {
  // 1. The file and, over it, the environment.
  const named = file ?? (env['PGPROOF_CONFIG'] || undefined)
  const path = named === undefined ? undefined : resolve(cwd, named)
  const folder = path === undefined ? resolve(cwd) : dirname(path)
  const { draft, faults, isReadable } = await readDraft(named, path, env)
  const variables = applyEnvironment(draft, env)
  faults.push(...variables.faults)
  if (!isReadable) throw invalid(faults)

  // 2. Each key alone, then keys together, then the files they name; all faults are collected.
  const parsed = schema.safeParse(draft.value)
  faults.push(...schemaFaults(parsed.error?.issues ?? [], draft, faults))
  faults.push(...(await valueFaults(draft, faults)))
  const together = contradictions(draft)
  faults.push(...together.faults)
  const files = await readFiles(draft, folder, faults)
  faults.push(...files.faults)
  if (!parsed.success || faults.length > 0) throw invalid(faults)

  // 3. Nothing is wrong.
  const config = buildConfig(parsed.data, {
    folder,
    secrets: files.secrets,
    isTerminal: isTerminal ?? process.stderr.isTTY === true,
  })
  const warnings = faultLines([...variables.warnings, ...together.warnings, ...files.warnings])
  return { config, warnings, source: path ?? 'environment' }
}

type ReadDraft = { readonly draft: Draft; readonly faults: Fault[]; readonly isReadable: boolean }

async function readDraft(
  named: string | undefined,
  path: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<ReadDraft> {
  if (named === undefined || path === undefined) return { draft: emptyDraft(undefined), faults: [], isReadable: true }
  const text = await readText(path)
  const { readYaml } = await import('./yaml-file.ts')
  return readYaml(text, named, env)
}

async function readText(path: string): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path))
  } catch (error) {
    const reason = error instanceof TypeError ? 'it is not UTF-8 text' : fileReason(error)
    throw new PgproofError('CONFIG_UNREADABLE', { path, reason }, { cause: error })
  }
}

/** The checks of single values that need more than the schema. */
async function valueFaults(draft: Draft, known: readonly Fault[]): Promise<Fault[]> {
  const faults: Fault[] = []
  for (const { path, node, text } of givenTexts(draft.value)) {
    if (isCovered(known, path)) continue
    const reason = await node.kind.check?.(text)
    if (reason !== undefined) faults.push(expectation(draft, node, path, reason))
  }
  return faults
}

function invalid(faults: readonly Fault[]): PgproofError {
  const lines = faultLines(faults)
  const count = lines.length === 1 ? '1 fault' : `${lines.length} faults`
  return new PgproofError('CONFIG_INVALID', { count }, { details: lines.join('\n') })
}
