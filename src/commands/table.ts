import { Command, CommanderError, Option } from 'commander'
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
import { daemonOptions, hereOrAt, oneMore, placeOptions, storeOptions, wholeNumber } from './options.ts'
import { createPainter } from './print.ts'

/**
 * Carries out one command line (without `node` and the script) and returns the exit code. Everything that can go wrong
 * is said in the form of the register; nothing is thrown.
 */
export async function runCommandLine(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  let exitCode = 0
  const { own, guarded } = splitGuarded(argv)
  const program = createProgram(
    surroundings,
    async (flags, action) => {
      exitCode = await perform(flags, action, surroundings)
    },
    guarded,
  )
  try {
    await program.parseAsync([...own], { from: 'user' })
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
  guarded: readonly string[] = [],
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
  add(
    'init',
    'mark new stores, once: a directory without its marker is taken for a mount that is missing',
    (command) => command,
    async (context) => (await import('./init.ts')).initCommand(context),
  )
  add<import('./backup.ts').BackupFlags>(
    'backup [server/database...]',
    'back up databases, or roles, now',
    (command) =>
      daemonOptions(command)
        .option('--roles', 'the roles of the named servers (without any: of all) instead of their databases')
        .option('--detach', 'with --url: only order them, and print the ids of the runs')
        .addHelpText('after', '\nWithout arguments: every configured database. A server alone: all of its databases.'),
    async (context, flags, targets) =>
      await hereOrAt(
        async (daemon) => (await import('./backup-daemon.ts')).backUpAtDaemon(daemon, targets, flags),
        async () => (await import('./backup.ts')).backupCommand(context, targets, flags),
        { context, flags },
      ),
  )
  add<import('./drill.ts').DrillFlags>(
    'drill [server/database]',
    'restore a backup into a scratch server and compare it with what the database held',
    (command) =>
      daemonOptions(command)
        .option('--backup <label>', 'this backup')
        .option('--detach', 'with --url: only order it, and print the id of the run')
        .addOption(new Option('--pick <rule>', 'which backup (default: as configured)').choices(['latest', 'random']))
        .option('--seed <number>', 'repeats the choice of a random drill', wholeNumber)
        .option('--from <store>', 'the copy in the store of this name (default: each in turn)')
        .option('--all', 'with --url: every database that has a backup, of the named server or of all')
        .option('--full', 'every database of one server and its roles in one scratch server, timed, with a report')
        .addHelpText('after', '\nWithout arguments: the database whose proof is the oldest.'),
    async (context, flags, [target]) =>
      await hereOrAt(
        async (daemon) =>
          flags.all === true
            ? (await import('./drill-all.ts')).drillAllAtDaemon(daemon, target, flags)
            : (await import('./drill-daemon.ts')).drillAtDaemon(daemon, target, flags),
        async () =>
          flags.full === true
            ? (await import('./full-drill.ts')).fullDrillCommand(context, target, flags)
            : (await import('./drill.ts')).drillCommand(context, target, flags),
        { context, flags },
      ),
  )
  add<import('./restore-flags.ts').RestoreFlags>(
    'restore [label|latest] [server/database]',
    'restore a backup into a database; one that is there is renamed aside, never dropped',
    (command) =>
      storeOptions(placeOptions(command, 'where the store holds several: '), 'store and keys')
        .requiredOption('--to <url>', 'the database to restore into: postgres://user@host:5432/database')
        .option('--at <time>', 'the newest backup that is not later, such as "2026-11-20 02:00"')
        .option('--from <store>', 'read the store of this name (default: whichever has the backup)')
        .option('--create', 'the database of --to does not exist yet')
        .option('--force', 'in place of the database of --to, which is renamed aside, without being asked')
        .option('--disconnect', 'end the sessions in the database that is renamed aside')
        .option('--roles', 'create the roles that the server lacks first; existing ones are left as they are')
        .option('--no-owner', 'everything belongs to the login of --to')
        .option('--no-privileges', 'without grants')
        .option('--verify', 'compare what was restored with what the database held, before it is put in place')
        .option('-j, --jobs <number>', 'how many connections pg_restore works with', wholeNumber)
        .option(
          '--table <name>',
          'only this table, beside the live ones, with statements to merge it; may be repeated',
          oneMore,
        )
        .option('--schema <name>', 'only the tables of this schema; may be repeated', oneMore)
        .option('--into-schema <name>', 'the new schema for those tables (default: restored_ and the instant)')
        .option('--discard', 'only remove what an interrupted restore into --to left')
        .addHelpText(
          'after',
          '\nThe password comes from PGPASSWORD, ~/.pgpass, or the configured server at that address.\nWithout --create and --force the database of --to must be empty.',
        ),
    async (context, flags, operands) => (await import('./restore.ts')).restoreCommand(context, operands, flags),
  )
  add<import('./list.ts').ListFlags>(
    'list',
    'list backups or drills, newest first',
    (command) =>
      daemonOptions(storeOptions(placeOptions(command), 'store'))
        .option('--drills', 'drills instead of backups')
        .option('--history', 'also where somebody other than a prune removed or replaced a backup'),
    async (context, flags) =>
      await hereOrAt(
        async (daemon) => (await import('./list-daemon.ts')).listOfDaemon(daemon, flags),
        async () => (await import('./list.ts')).listCommand(context, flags),
        { context, flags },
      ),
  )
  add<import('./show.ts').ShowFlags>(
    'show <label>',
    'show everything about one backup or drill',
    (command) => daemonOptions(storeOptions(placeOptions(command, 'where two share the label: '), 'store and keys')),
    async (context, flags, [label = '']) =>
      await hereOrAt(
        async (daemon) => (await import('./show-daemon.ts')).showOfDaemon(daemon, label, flags),
        async () => (await import('./show.ts')).showCommand(context, label, flags),
        { context, flags },
      ),
  )
  add<import('./prune.ts').PruneFlags>(
    'prune',
    'remove what the retention policy no longer keeps',
    (command) =>
      command
        .option('--dry-run', 'only say what would be kept and removed, and why')
        .option('--force', 'also a large share of a store, and while the newest backup is older than its objective')
        .option('--in <store>', 'only the store of this name'),
    async (context, flags) => (await import('./prune.ts')).pruneCommand(context, flags),
  )
  add<import('./sync.ts').SyncFlags>(
    'sync',
    'copy to each store what it lacks and another one has',
    (command) =>
      command.option('--dry-run', 'only say what is lacking').option('--to <store>', 'only the store of this name'),
    async (context, flags) => (await import('./sync.ts')).syncCommand(context, flags),
  )
  add<import('./pause.ts').PauseFlags>(
    'pause [server/database]',
    'keep schedules from starting anything for a while, in every daemon of the stores',
    (command) =>
      command
        .requiredOption('--for <time>', 'how long, such as 4h or 2d; 30d at most')
        .requiredOption('--reason <text>', 'why, for whoever misses a backup')
        .option('--job <job>', 'only backup, roles or drill; may be repeated', oneMore)
        .addHelpText('after', '\nWithout a name: every server. What runs goes on, and so do orders by hand.'),
    async (context, flags, [target]) => (await import('./pause.ts')).pauseCommand(context, target, flags),
  )
  add(
    'resume [server/database]',
    'end pauses of schedules before their time',
    (command) => command.addHelpText('after', '\nWithout a name: every pause.'),
    async (context, _flags, [target]) => (await import('./pause.ts')).resumeCommand(context, target),
  )
  add<import('./status.ts').StatusFlags>(
    'status',
    'what is protected, what is proven, and what worries',
    (command) => daemonOptions(storeOptions(command, 'store')),
    async (context, flags) =>
      await hereOrAt(
        async (daemon) => (await import('./status-daemon.ts')).statusOfDaemon(daemon),
        async () => (await import('./status.ts')).statusCommand(context, flags),
        { context, flags },
      ),
  )
  add<import('./runs.ts').RunsFlags>(
    'runs',
    'list the runs of a daemon or its fleet, newest first',
    (command) => daemonOptions(command),
    async (context, flags) => (await import('./runs.ts')).runsCommand(context, flags),
  )
  add<import('./runs.ts').RunsFlags>(
    'cancel <run>',
    'cancel a run of a daemon or its fleet, one that waits as well',
    (command) => daemonOptions(command),
    async (context, flags, [id]) => (await import('./runs.ts')).cancelCommand(context, id ?? '', flags),
  )
  add<import('./queue.ts').QueueFlags>(
    'queue',
    'what waits at a daemon or in its fleet, the workers, and what worries',
    (command) => daemonOptions(command),
    async (context, flags) => (await import('./queue.ts')).queueCommand(context, flags),
  )
  add<{ readonly notify?: boolean }>(
    'check',
    'look whether everything is in place for backups and drills; changes nothing',
    (command) => command.option('--notify', 'only send a test notice through every entry of notify'),
    async (context, { notify }) =>
      notify === true
        ? (await import('./check-notify.ts')).checkNotifyCommand(context)
        : (await import('./check.ts')).checkCommand(context),
  )
  add<import('./gate.ts').GateFlags>(
    'gate [server/database...]',
    'for CI/CD: exit 0 only if backups are fresh and proven, else 3 and why not',
    (command) =>
      daemonOptions(storeOptions(command, 'store'))
        .option('--max-age <time>', 'how old the newest backup may be, such as 26h')
        .option('--verified-within <time>', 'how long ago a drill must have passed, such as 8d')
        .addHelpText('after', '\nWithout arguments: every database that is configured or has a backup in the store.'),
    async (context, flags, targets) => (await import('./gate.ts')).gateCommand(context, targets, flags),
  )
  add<import('./guard.ts').GuardFlags>(
    'guard [server/database]',
    'back up, then run a command such as a migration; say how to go back if it fails',
    (command) =>
      command
        .usage('[server/database] [options] -- <command> [args...]')
        .option('--restore-on-failure', 'if the command fails, restore the state before, unless others wrote since')
        .option('--to <url>', 'the login that restores: postgres://user@host:5432 (default: that of the backup)')
        .addHelpText(
          'after',
          '\nThe command has the terminal, stdin and stdout for itself; its exit code is that of pgproof.\nWithout a name: the only database that is configured.',
        ),
    async (context, flags, [target]) => (await import('./guard.ts')).guardCommand(context, target, flags, guarded),
  )
  add<import('./verify.ts').VerifyFlags>(
    'verify <label>',
    'check digest, signature, decryption and archive of a backup; needs no server',
    (command) =>
      storeOptions(placeOptions(command, 'where two share the label: '), 'store and keys').option(
        '--from <store>',
        'the copy in the store of this name (default: every copy)',
      ),
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
        .option('--expires <time>', 'validity, such as 2y or 400d, or never', 'never')
        .option('--with-escrow', 'make a second pair as well, to be kept elsewhere: NAME-escrow')
        .option('--escrow <file>', 'the public key of a second recipient that is there already')
        .option('--no-escrow', 'do without: who loses the key loses every backup')
        .option('--kit <file>', 'where the recovery kit goes (default: NAME.kit.md beside the keys)')
        .addHelpText('after', '\nA key for backups needs one of --with-escrow, --escrow and --no-escrow.'),
    async (context, flags) => (await import('./keygen.ts')).keygenCommand(context, flags),
  )
  add(
    'kit',
    'print the recovery kit: where the backups are, which keys open them, and the commands',
    (command) => command,
    async (context) => (await import('./kit.ts')).kitCommand(context),
  )
  return program
}

/** What stands behind `guard … --` belongs to another program; Commander would look for our flags in it. */
function splitGuarded(argv: readonly string[]): {
  readonly own: readonly string[]
  readonly guarded: readonly string[]
} {
  const end = argv.indexOf('--')
  const own = end === -1 ? argv : argv.slice(0, end)
  const first = own.find((word, index) => !word.startsWith('-') && own[index - 1] !== '--config')
  return end === -1 || first !== 'guard' ? { own: argv, guarded: [] } : { own, guarded: argv.slice(end + 1) }
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
