import type { Config } from '../config/config.ts'
import { type ConfigSource, loadConfig } from '../config/load.ts'
import type { StoreFlags } from '../config/store-flags.ts'
import { PgproofError } from '../errors.ts'
import { createLog, type Log, type LogSettings, logKeys } from '../log.ts'
import { type Wired, type WireOptions, wire } from '../wire.ts'
import type { CommandContext } from './context.ts'

/**
 * Loads the configuration, or makes one of the flags that take its place; what is doubtful in it is said on stderr.
 * Throws CONFIG_INVALID, CONFIG_UNREADABLE or USAGE_INVALID.
 */
export async function openConfig(
  context: CommandContext,
  flags?: StoreFlags,
  needs: Pick<ConfigSource, 'drillsNothing'> = {},
): Promise<Config> {
  const { env, cwd, isTerminal } = context
  const { config, warnings } = await loadConfig({
    file: context.flags.config,
    env,
    cwd,
    isTerminal,
    ...(flags === undefined ? {} : { flags }),
    ...needs,
  })
  for (const warning of warnings) context.warn(warning)
  return config
}

/** As if there were only the store of that name: whatever is the matter with the others keeps nobody from it. */
export function onlyStore(config: Config, name: string | undefined): Config {
  if (name === undefined) return config
  const found = config.stores.find((store) => store.name === name)
  if (found !== undefined) return { ...config, stores: [{ ...found, isRequired: true }] }
  const known = config.stores.map((store) => store.name).join(', ')
  throw new PgproofError('USAGE_INVALID', { reason: `no store is named "${name}"; there are ${known}` })
}

/**
 * Builds the parts for one command; the scope's end releases them. Throws store errors, STORE_UNMARKED where `--store`
 * names no store.
 */
export async function openInstallation(
  context: CommandContext,
  config: Config,
  needs: Pick<WireOptions, 'writes' | 'needsCatalog' | 'usesSpool'>,
): Promise<Wired> {
  using _reading = context.progress.begin('reading the store')
  const options = {
    ...needs,
    mustExist: config.isStoreOnly,
    askPassphrase: context.canAsk ? askPassphrase(context) : undefined,
    log: commandLog(context, config.log),
  }
  return await wire(config, options, context.signal)
}

/**
 * The log of a command: with `--verbose` as configured, at least every run; else only what somebody should know, as
 * warnings. How a run ended is left out there, because the command says that itself.
 */
export function commandLog(context: CommandContext, { level, format }: Config['log']): Log {
  const { progress } = context
  if (context.flags.verbose === true)
    return createLog({ level: level === 'debug' ? 'debug' : 'info', format }, (line) => progress.write(line))
  const quiet: LogSettings['level'] = level === 'error' || level === 'silent' ? level : 'warn'
  return createLog({ level: quiet, format: 'json' }, (line) => {
    const { level: _level, time: _time, msg, ...values } = JSON.parse(line) as Record<string, unknown>
    if (logKeys.outcome in values) return
    const pairs = Object.entries(values).filter(([key]) => key !== logKeys.run && key !== logKeys.job)
    const text = pairs.map(([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    context.warn(`${msg ?? ''}${text.length === 0 ? '' : ` (${text.join(', ')})`}`)
  })
}

/** What opened a key once is not asked for again. */
function askPassphrase(context: CommandContext): NonNullable<WireOptions['askPassphrase']> {
  const given = new Map<string, string>()
  return {
    attempts: 3,
    async ask(path, attempt) {
      const known = attempt === 1 ? given.get(path) : undefined
      if (known !== undefined) return known
      if (attempt > 1) context.note('That is not its passphrase.')
      const passphrase = await context.askSecret(`Passphrase for ${path}: `)
      given.set(path, passphrase)
      return passphrase
    },
  }
}
