import { access, readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { PgproofError } from '../errors.ts'
import { buildConfig, type Config } from './config.ts'
import { contradictions } from './contradictions.ts'
import { type Draft, emptyDraft, isTree, originOf, setAt, setOrigin, valueAt } from './draft.ts'
import { applyEnvironment } from './environment.ts'
import { type Fault, faultLines, isCovered } from './faults.ts'
import { fileReason, givenTexts, readFiles } from './files.ts'
import { type Path, variablePrefix } from './keys.ts'
import { notifyFileFaults } from './notify-contradictions.ts'
import { schema, storeSchema } from './schema.ts'
import { expectation, schemaFaults } from './schema-faults.ts'
import { addServersFrom } from './servers-folder.ts'
import { type GivenFlag, givenFlags, type StoreFlags } from './store-flags.ts'

export type ConfigSource = {
  /** As `--config` has it, relative to `cwd`. Undefined: what PGPROOF_CONFIG names, or no file at all. */
  readonly file: string | undefined
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** Whether the log goes to a terminal, which decides about the default of `log.format`. */
  readonly isTerminal?: boolean
  /** Over everything else. With a store among them no file is read, and nothing is asked that only backups need. */
  readonly flags?: StoreFlags
  /** For whoever drills nothing whatever is due: in a fleet it needs no key for drills that a shared file schedules. */
  readonly drillsNothing?: boolean
}

export type LoadedConfig = {
  readonly config: Config
  /** One line each, with place and hint, for the log. */
  readonly warnings: readonly string[]
  /** The absolute path of the file, `environment`, or `--store`. */
  readonly source: string
}

/**
 * Flags over environment over file over defaults. Throws CONFIG_UNREADABLE if there is no reading the file, CONFIG_INVALID
 * with every fault, one line each in its details, and USAGE_INVALID where only flags are wrong.
 */
export async function loadConfig({
  file,
  env,
  cwd,
  isTerminal,
  flags = {},
  drillsNothing,
}: ConfigSource): Promise<LoadedConfig> {
  // 1. The file, over it the environment, and over that the flags.
  const given = givenFlags(flags, cwd, file !== undefined)
  const isStoreOnly = flags.store !== undefined
  const named = isStoreOnly ? undefined : (file ?? (env['PGPROOF_CONFIG'] || undefined))
  const path = named === undefined ? undefined : resolve(cwd, named)
  const folder = path === undefined ? resolve(cwd) : dirname(path)
  if (named === undefined && given.length === 0 && !hasVariables(env)) throw await missing(cwd)
  const { draft, faults, isReadable } = await readDraft(named, path, env)
  const variables = applyEnvironment(draft, env)
  faults.push(...variables.faults.filter(({ path }) => !isStoreOnly || !isOfFurtherStore(path)))
  if (!isStoreOnly) faults.push(...(await addServersFrom(draft, folder, env)))
  applyFlags(draft, given)
  if (!isReadable) throw invalid(faults, draft)

  // 2. Each key alone, then keys together, then the files they name; all faults are collected.
  const parsed = (isStoreOnly ? storeSchema : schema).safeParse(draft.value)
  faults.push(...schemaFaults(parsed.error?.issues ?? [], draft, faults))
  faults.push(...(await valueFaults(draft, faults)))
  const together = contradictions(draft, drillsNothing)
  faults.push(...together.faults)
  const files = await readFiles(draft, folder, faults)
  faults.push(...files.faults, ...notifyFileFaults(draft, files.secrets))
  if (!parsed.success || faults.length > 0) throw invalid(faults, draft)

  // 3. Nothing is wrong.
  const config = buildConfig(parsed.data, {
    folder,
    secrets: files.secrets,
    isTerminal: isTerminal ?? process.stderr.isTTY === true,
    isStoreOnly,
  })
  const warnings = faultLines([...variables.warnings, ...together.warnings, ...files.warnings], draft)
  return { config, warnings, source: path ?? (isStoreOnly ? '--store' : 'environment') }
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

/** Variables that add a store to those of a configuration file mean nothing where that file is not read. */
function isOfFurtherStore(path: Path | undefined): boolean {
  return path?.[0] === 'store' && Number(path[1]) > 0
}

function applyFlags(draft: Draft, given: readonly GivenFlag[]): void {
  const stores = valueAt(draft, ['store'])
  // The flags name one store, whatever variables say of others.
  if (given.some(({ flag }) => flag === '--store') && Array.isArray(stores)) stores.splice(1)
  for (const { flag, path, value } of given) {
    setAt(draft, path, value)
    // Something of another form stands in the file; that is a fault of its own.
    if (valueAt(draft, path) !== value) continue
    // Nor is an element of the list that stood there before from the file any more.
    for (const place of draft.origins.keys())
      if (place.startsWith(`${JSON.stringify(path).slice(0, -1)},`)) draft.origins.delete(place)
    setOrigin(draft, path, { from: 'flag', flag })
    const section = valueAt(draft, ['encryption'])
    // The passphrase in the file is of the keys in the file.
    if (flag === '--key' && isTree(section) && originOf(draft, passphrase)?.from === 'file')
      delete section['passphraseFile']
  }
}

const passphrase = ['encryption', 'passphraseFile']

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

function invalid(faults: readonly Fault[], draft: Draft): PgproofError {
  const lines = faultLines(faults, draft)
  if (faults.every(({ place }) => place.isFlag)) return new PgproofError('USAGE_INVALID', { reason: lines.join('; ') })
  const count = lines.length === 1 ? '1 fault' : `${lines.length} faults`
  return new PgproofError('CONFIG_INVALID', { count }, { details: lines.join('\n') })
}

/** Whether the environment says anything of a configuration. */
function hasVariables(env: NodeJS.ProcessEnv): boolean {
  return Object.keys(env).some((name) => name.startsWith(variablePrefix) && !noSettings.has(name))
}

const noSettings = new Set(['PGPROOF_CONFIG', 'PGPROOF_TOKEN', 'PGPROOF_URL'])

/** Somebody in the folder of the configuration has most likely forgotten to name it. */
async function missing(cwd: string): Promise<PgproofError> {
  for (const name of ['pgproof.yaml', 'pgproof.yml']) {
    const isThere = await access(resolve(cwd, name)).then(
      () => true,
      () => false,
    )
    if (isThere) return new PgproofError('CONFIG_MISSING', { seen: `; ${name} in this folder must be named` })
  }
  return new PgproofError('CONFIG_MISSING', { seen: '' })
}
