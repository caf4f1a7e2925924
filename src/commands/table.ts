import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { PgproofError, toPgproofError } from '../errors.ts'
import { version } from '../version.ts'
import {
  type Answer,
  type CommandContext,
  createContext,
  type GlobalFlags,
  hasColours,
  type Surroundings,
} from './context.ts'
import { failureDocument, failureText, jsonText } from './failure.ts'
import { createPainter } from './print.ts'

/**
 * Carries out one command line (without `node` and the script) and returns the exit code. Everything that can go wrong
 * is said in the form of the register; nothing is thrown.
 */
export async function runCommandLine(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  let exitCode = 0
  const program = createProgram(surroundings, async (flags, action) => {
    exitCode = await perform(flags, action, surroundings)
  })
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return exitCode
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0
    const isJson = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : undefined).includes('--json')
    return deliver({ document: {}, error: usageError(thrown) }, isJson, surroundings)
  }
}

type Action = (context: CommandContext) => Promise<Answer>

/**
 * Names, summaries and flags of all commands: what `--help` prints. The file of a command is loaded only when the command
 * is carried out, so that a short one starts fast.
 */
export function createProgram(
  surroundings: Surroundings,
  carryOut: (flags: GlobalFlags, action: Action) => Promise<void>,
): Command {
  const program = new Command('pgproof')
    .description('PostgreSQL backups that prove themselves: dump, encrypt, ship, prune, and drills that restore them.')
    .version(version, '--version', 'print the version')
    .helpOption('--help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .option('--config <file>', 'configuration file (default: what PGPROOF_CONFIG names, or PGPROOF_… variables alone)')
    .option('--json', 'print one JSON document on stdout, also when something fails')
    .option('--verbose', 'log every run to stderr, as `log` in the configuration says')
    .configureHelp({
      showGlobalOptions: true,
      subcommandTerm: (command) =>
        `${command.name()} ${command.usage()}`.replace('[options]', '').replaceAll(/ +/g, ' ').trim(),
    })
    .configureOutput({ writeOut: (text) => surroundings.stdout.write(text), writeErr: () => {}, outputError: () => {} })
    .exitOverride()

  const add = <Flags extends object>(
    usage: string,
    summary: string,
    define: (command: Command) => Command,
    action: (context: CommandContext, flags: Flags, operands: readonly string[]) => Promise<Answer>,
  ): void => {
    const command = program
      .command(usage)
      .summary(summary)
      .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}`)
    define(command).action(async () => {
      await carryOut(command.optsWithGlobals<GlobalFlags>(), (context) =>
        action(context, command.opts<Flags>(), command.args),
      )
    })
  }

  add(
    'serve',
    'run the daemon: schedules, HTTP API and metrics',
    (command) => command,
    async (context) => (await import('./serve.ts')).serveCommand(context),
  )
  add<import('./backup.ts').BackupFlags>(
    'backup [server/database...]',
    'back up databases, or roles, now',
    (command) =>
      command
        .option('--roles', 'the roles of the named servers (without any: of all) instead of their databases')
        .addHelpText('after', '\nWithout arguments: every configured database. A server alone: all of its databases.'),
    async (context, flags, targets) => (await import('./backup.ts')).backupCommand(context, targets, flags),
  )
  add<import('./drill.ts').DrillFlags>(
    'drill [server/database]',
    'restore a backup into a scratch server and compare it with what the database held',
    (command) =>
      command
        .option('--backup <label>', 'this backup')
        .addOption(new Option('--pick <rule>', 'which backup (default: as configured)').choices(['latest', 'random']))
        .option('--seed <number>', 'repeats the choice of a random drill', wholeNumber)
        .addHelpText('after', '\nWithout arguments: the database whose proof is the oldest.'),
    async (context, flags, [target]) => (await import('./drill.ts')).drillCommand(context, target, flags),
  )
  add<import('./list.ts').ListFlags>(
    'list',
    'list backups or drills, newest first',
    (command) =>
      placeOptions(command)
        .option('--drills', 'drills instead of backups')
        .option('--history', 'also where somebody other than a prune removed or replaced a backup'),
    async (context, flags) => (await import('./list.ts')).listCommand(context, flags),
  )
  add<import('./show.ts').ShowFlags>(
    'show <label>',
    'show everything about one backup or drill',
    (command) => placeOptions(command, 'where two share the label: '),
    async (context, flags, [label]) => (await import('./show.ts')).showCommand(context, label ?? '', flags),
  )
  add<import('./prune.ts').PruneFlags>(
    'prune',
    'remove what the retention policy no longer keeps',
    (command) => command.option('--dry-run', 'only say what would be kept and removed, and why'),
    async (context, flags) => (await import('./prune.ts')).pruneCommand(context, flags),
  )
  add(
    'status',
    'what is protected, what is proven, and what worries',
    (command) => command,
    async (context) => (await import('./status.ts')).statusCommand(context),
  )
  add(
    'check',
    'look whether everything is in place for backups and drills; changes nothing',
    (command) => command,
    async (context) => (await import('./check.ts')).checkCommand(context),
  )
  add<import('./verify.ts').VerifyFlags>(
    'verify <label>',
    'check digest, signature, decryption and archive of a backup; needs no server',
    (command) => placeOptions(command, 'where two share the label: '),
    async (context, flags, [label]) => (await import('./verify.ts')).verifyCommand(context, label ?? '', flags),
  )
  add<import('./keygen.ts').KeygenFlags>(
    'keygen',
    'make an OpenPGP key pair for backups or for signing',
    (command) =>
      command
        .option('--name <name>', 'name of the key and its files (default: backup, or signing with --signing)')
        .option('--out <directory>', 'where the files go', '.')
        .addOption(new Option('--kind <kind>', 'kind of key').choices(['ecc', 'rsa']).default('ecc'))
        .option('--signing', 'a key that signs manifests instead of one that backups are encrypted to')
        .option('--passphrase-file <file>', 'protects the private key with the passphrase in this file')
        .option('--expires <time>', 'validity, such as 2y or 400d, or never', 'never'),
    async (context, flags) => (await import('./keygen.ts')).keygenCommand(context, flags),
  )
  return program
}

function placeOptions(command: Command, prefix = ''): Command {
  return command
    .option('--server <name>', `${prefix}only of this server`)
    .option('--database <name>', `${prefix}only of this database`)
}

/** Carries out one command and prints its answer. */
async function perform(flags: GlobalFlags, action: Action, surroundings: Surroundings): Promise<number> {
  const { signal } = surroundings
  const answer = await action(createContext(surroundings, flags)).catch((thrown): Answer => {
    return { document: {}, error: toPgproofError(signal.aborted ? signal.reason : thrown, 'the command') }
  })
  // A fault that nobody waited for must be said, even if the command came to a good end.
  const fault = signal.reason instanceof PgproofError && signal.reason.code === 'INTERNAL' ? signal.reason : undefined
  return deliver(fault === undefined ? answer : { ...answer, error: fault }, flags.json === true, surroundings)
}

function deliver({ document, text, error, exitCode }: Answer, isJson: boolean, surroundings: Surroundings): number {
  const { stdout, stderr, env } = surroundings
  if (isJson) stdout.write(jsonText(error == null ? document : { ...document, error: failureDocument(error) }))
  else {
    if (text !== undefined && text !== '') stdout.write(`${text}\n`)
    if (error != null) stderr.write(`${failureText(error, createPainter(hasColours(stderr, env)))}\n`)
  }
  return exitCode ?? error?.exitCode ?? 0
}

function usageError(thrown: unknown): PgproofError {
  if (!(thrown instanceof CommanderError)) return toPgproofError(thrown, 'the command')
  if (thrown.code === 'commander.help') return new PgproofError('USAGE_INVALID', { reason: 'no command is given' })
  const reason = thrown.message
    .replace(/^error: /, '')
    .replaceAll(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '')
  return new PgproofError('USAGE_INVALID', { reason }, { cause: thrown })
}

function wholeNumber(text: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) > 0xffff_ffff)
    throw new InvalidArgumentError('It must be a whole number below 4294967296.')
  return Number(text)
}
