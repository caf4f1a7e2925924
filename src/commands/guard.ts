import type { Config } from '../config/config.ts'
import { shellWord } from '../domain/shell-word.ts'
import { PgproofError } from '../errors.ts'
import {
  type GuardBackup,
  type GuardEnd,
  type GuardParts,
  type GuardResult,
  runGuard,
  sessionText,
} from '../guard/guard.ts'
import { connectionTo, databasesOf, type Installation, isConfigured, serverNamed } from '../jobs/installation.ts'
import { targetOf } from '../jobs/order-restore.ts'
import type { Answer, CommandContext } from './context.ts'
import { followRun } from './follow-run.ts'
import { openConfig, openInstallation } from './open.ts'
import { formatInstant, formatSeconds } from './print.ts'
import { parseTarget, placeName } from './target.ts'

export type GuardFlags = { readonly restoreOnFailure?: boolean; readonly to?: string }

/**
 * A fresh backup, then the command with our standard streams, untouched; its exit code is ours. Everything that pgproof
 * says goes to stderr.
 */
export async function guardCommand(
  context: CommandContext,
  operand: string | undefined,
  flags: GuardFlags,
  words: readonly string[],
): Promise<Answer> {
  const [command, ...args] = words
  if (context.flags.json === true) throw usage('guard leaves stdout to the command, so --json has no meaning')
  if (command === undefined || command === '') throw usage('say after -- what to run: pgproof guard -- npm run migrate')
  const config = await openConfig(context)
  const place = await placeOf(operand, config, context)
  const { url, login } = loginOf(place, flags, config, context)

  await using wired = await openInstallation(context, config, { writes: true, needsCatalog: true })
  const { installation } = wired
  const restoreAs = flags.restoreOnFailure === true ? login : null
  const request = { ...place, command, args, env: context.env, restoreAs }
  const parts = partsOf(place, installation, context)
  const result = await runGuard(request, parts, context.signal)

  if (result.end.exitCode === 0) context.note(successLine(place, result))
  else if (result.restored !== null && result.error === null)
    for (const line of restoredLines(place, result)) context.note(line)
  else if (result.end.startCode === null)
    for (const line of wayBackLines(place, result, url, context)) context.note(line)
  return { document: {}, error: result.error, exitCode: result.end.exitCode }
}

type Place = { readonly server: string; readonly database: string }

/** The database that is named, or the only one there is. */
async function placeOf(operand: string | undefined, config: Config, context: CommandContext): Promise<Place> {
  const named = operand === undefined ? undefined : parseTarget(operand, config.servers)
  if (named !== undefined && named.database !== null) {
    const { server, database } = named
    if (!isConfigured(serverNamed(config, server), database))
      throw new PgproofError('DATABASE_NOT_CONFIGURED', { server, database })
    return { server, database }
  }
  const places: Place[] = []
  for (const server of config.servers.filter(({ name }) => named === undefined || name === named.server))
    for (const database of await databasesOf(server, context.signal)) places.push({ server: server.name, database })
  const [only, ...others] = places
  if (only !== undefined && others.length === 0) return only
  const names = places.map(placeName).join(', ')
  throw usage(`say which database to guard: ${names === '' ? 'none is configured' : names}`)
}

/** Who restores, and the URL of the database without a password. */
function loginOf(
  { server, database }: Place,
  { to }: GuardFlags,
  config: Config,
  context: CommandContext,
): { readonly url: string; readonly login: ReturnType<typeof connectionTo> } {
  const configured = serverNamed(config, server)
  if (to !== undefined && !URL.canParse(to)) throw usage('--to is not the URL of a login: postgres://user@host:5432')
  const url = new URL(to ?? configured.url)
  if (to === undefined || url.pathname.length < 2) url.pathname = `/${encodeURIComponent(database)}`
  const login =
    to === undefined
      ? connectionTo(configured, database)
      : targetOf(to === url.href ? to : url.href, config, context.cwd)
  if (login.database !== database)
    throw usage(`--to names database ${login.database}, and ${database} is to be guarded`)
  url.password = ''
  return { url: url.href, login }
}

function partsOf(place: Place, installation: Installation, context: CommandContext): GuardParts {
  const before = installation.catalog.newest(place.server, place.database)
  return {
    ...installation,
    follow: (run) => followRun(run, { backup: before }, installation, context),
    onEnd: (_backup, end) => {
      if (end.exitCode !== 0) context.note(failureLine(place, end))
    },
    restoring: () => {
      const activity = context.progress.begin(`restore of ${placeName(place)}`)
      return { onProgress: (progress) => activity.update(progress), [Symbol.dispose]: () => activity[Symbol.dispose]() }
    },
  }
}

function successLine(place: Place, { backup, end }: GuardResult): string {
  return `guarded ${placeName(place)}: backup ${backup.label} in ${formatSeconds(backup.seconds)}, the command succeeded after ${formatSeconds(end.seconds)}`
}

function failureLine(place: Place, { exitCode, signalName, startCode, seconds }: GuardEnd): string {
  if (startCode !== null) {
    const reason = exitCode === 127 ? 'it was not found' : `it cannot be executed (${startCode})`
    return `the command did not run: ${reason}; ${placeName(place)} is untouched`
  }
  const how = signalName === null ? `failed with exit code ${exitCode}` : `was ended by ${signalName}`
  return `the command ${how} after ${formatSeconds(seconds)}`
}

function restoredLines(place: Place, { backup, restored, disconnected }: GuardResult): string[] {
  const seconds = formatSeconds(restored?.seconds ?? 0)
  return [
    `restored ${placeName(place)} as of ${formatInstant(backup.snapshotTime)} from backup ${backup.label} in ${seconds}; compared with what it held, nothing differs`,
    ...disconnected.map((session) => `ended an idle session: ${sessionText(session)}`),
    ...(restored?.notes ?? []),
    `what the command left is in database ${restored?.aside}; to go back to it, run in psql, connected to another database:`,
    ...(restored?.undo ?? []).map((statement) => `  ${statement}`),
  ]
}

function wayBackLines(
  place: Place,
  { backup }: { readonly backup: GuardBackup },
  url: string,
  context: CommandContext,
): string[] {
  const { config } = context.flags
  const words = ['pgproof', ...(config === undefined ? [] : ['--config', config]), 'restore', backup.label]
  const line = [...words, placeName(place), '--to', url, '--force'].map(shellWord).join(' ')
  return [
    `${placeName(place)} is as the command left it; backup ${backup.label} holds it as of ${formatInstant(backup.snapshotTime)}, without anything written since`,
    `to go back to that, with the database as it is now renamed aside: ${line}`,
    'its login must own the database and may create databases; sessions in it must have ended, or --disconnect ends them',
  ]
}

function usage(reason: string): PgproofError {
  return new PgproofError('USAGE_INVALID', { reason })
}
