import type { CatalogBackup } from '../catalog/catalog.ts'
import { readDatabaseStatus } from '../catalog/database-status.ts'
import type { Config } from '../config/config.ts'
import type { StoreFlags } from '../config/store-flags.ts'
import { parseDuration } from '../config/units.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import {
  type GateFacts,
  type GateLimit,
  type GateRules,
  type GateSource,
  type GateVerdict,
  judgeGate,
  spellAge,
} from '../domain/gate.ts'
import type { TrustedSigners } from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import { type Installation, isExcluded, readSigners } from '../jobs/installation.ts'
import { checkSignature, readManifest } from '../stored/read-backup.ts'
import type { Answer, CommandContext } from './context.ts'
import { type Daemon, type DaemonFlags, namedDaemon } from './daemon-client.ts'
import type { JsonDocument } from './documents.ts'
import { openConfig, openInstallation } from './open.ts'
import { counted, printable } from './print.ts'
import { placeName } from './target.ts'

export type GateFlags = StoreFlags &
  DaemonFlags & {
    readonly maxAge?: string
    readonly verifiedWithin?: string
  }

/** Open (exit 0) if every database has a fresh backup and a fresh proof; else GATE_CLOSED, with a line for each. */
export async function gateCommand(
  context: CommandContext,
  operands: readonly string[],
  flags: GateFlags,
): Promise<Answer> {
  const rules = rulesOf(flags)
  const daemon = await namedDaemon(flags, context)
  const known = daemon === undefined ? await readOwn(context, flags) : await readDaemon(daemon)
  // Of two clocks the later one counts: nothing gets younger by one that is behind.
  const now = new Date(Math.max(context.clock.now().getTime(), known.time?.getTime() ?? 0))
  const closed = [...known.closed]
  const verdicts = choose(operands, known, closed).map((facts) => judgeGate(facts, rules, now))
  if (verdicts.length === 0 && closed.length === 0) closed.push('there is no database to ask for')

  const document = {
    open: closed.length === 0 && verdicts.every(({ isOpen }) => isOpen),
    databases: verdicts.map(documentOf),
  }
  if (document.open) return { document, text: openLine(verdicts) }
  const lines = [...closed, ...verdicts.filter(({ isOpen }) => !isOpen).map(closedLine)]
  return { document, error: closedError(lines, verdicts.length) }
}

function rulesOf({ maxAge, verifiedWithin }: GateFlags): GateRules {
  const rules = { maxAge: limitOf('--max-age', maxAge), verifiedWithin: limitOf('--verified-within', verifiedWithin) }
  if (rules.maxAge === null && rules.verifiedWithin === null)
    throw new PgproofError('USAGE_INVALID', { reason: 'a gate needs --max-age or --verified-within, or both' })
  return rules
}

function limitOf(flag: string, text: string | undefined): GateLimit | null {
  if (text === undefined) return null
  const ms = parseDuration(text)
  if (ms === undefined || ms === 0)
    throw new PgproofError('USAGE_INVALID', { reason: `${flag} must be a time such as 26h or 8d, not ${text}` })
  return { ms, text }
}

async function readDaemon(daemon: Daemon): Promise<GateSource> {
  const { readGateOfDaemon } = await import('./gate-daemon.ts')
  return await readGateOfDaemon(daemon)
}

/** By the store alone: no database server is asked. */
async function readOwn(context: CommandContext, flags: GateFlags): Promise<GateSource> {
  const config = await openConfig(context, flags)
  await using wired = await openInstallation(context, config, { writes: false, needsCatalog: true })
  const { catalog } = wired.installation
  const places = new Map<string, { readonly server: string; readonly database: string }>()
  const isLeftOut = ({ server, database }: { readonly server: string; readonly database: string }): boolean =>
    config.servers.some((one) => one.name === server && isExcluded(one, database))
  for (const place of [...configuredDatabases(config), ...catalog.databases()].filter((one) => !isLeftOut(one)))
    places.set(JSON.stringify([place.server, place.database]), { server: place.server, database: place.database })
  const trustedSigners = await readSigners(config, context.clock.now())
  const databases: GateFacts[] = []
  for (const place of places.values())
    databases.push(await factsOf(place, wired.installation, trustedSigners, context.signal))
  const servers = [...new Set([...config.servers.map(({ name }) => name), ...databases.map(({ server }) => server)])]
  const closed = catalog.isComplete ? [] : ['not everything in the store could be read']
  return { servers, databases, closed, time: null }
}

function configuredDatabases({ servers }: Config): { readonly server: string; readonly database: string }[] {
  return servers.flatMap(({ name, databases }) =>
    databases === 'all' ? [] : databases.map((database) => ({ server: name, database })),
  )
}

async function factsOf(
  place: { server: string; database: string },
  installation: Installation,
  trustedSigners: TrustedSigners | null,
  signal: AbortSignal,
): Promise<GateFacts> {
  const { catalog, clock, storeId } = installation
  const status = readDatabaseStatus(place, catalog, {}, clock.now())
  // Signed, but in another store: whoever can write here could have copied it.
  const isOwn = (report: DrillReport): boolean =>
    trustedSigners === null || storeId === '' || report.storeId === storeId
  const drills = catalog.drills(place).filter(isOwn)
  const lastPassedDrill = drills.find(({ verdict }) => verdict === 'passed') ?? null
  const recoveryPoint = await newestTrusted(place, installation, trustedSigners, signal)
  const failed = drills.find(({ verdict }) => verdict === 'failed')
  return {
    ...place,
    backup:
      recoveryPoint === null ? null : { label: recoveryPoint.manifest.label, snapshotTime: recoveryPoint.snapshotTime },
    onlyDamaged: recoveryPoint === null && status.newestBackup !== null,
    proof:
      lastPassedDrill === null
        ? null
        : { drill: lastPassedDrill.label, finishedAt: new Date(lastPassedDrill.finishedAt) },
    failure:
      failed === undefined
        ? null
        : { drill: failed.label, finishedAt: new Date(failed.finishedAt), reason: failed.reason?.message ?? null },
  }
}

/**
 * The newest backup that a deployment may go back to: a restore here would take it, and no drill has shown that it is bad.
 * Whoever can write to the store can put a young manifest there.
 */
async function newestTrusted(
  place: { server: string; database: string },
  { catalog, store }: Installation,
  trustedSigners: TrustedSigners | null,
  signal: AbortSignal,
): Promise<CatalogBackup | null> {
  const backups = catalog.backups({ ...place, kind: 'database' })
  for (const backup of backups.filter(({ faults, isKnownBad }) => faults.length === 0 && !isKnownBad))
    try {
      if (trustedSigners !== null)
        await checkSignature(await readManifest(backup, store, signal), trustedSigners, store, signal)
      return backup
    } catch (error) {
      if (!(error instanceof PgproofError) || !['SIGNATURE_MISSING', 'SIGNATURE_INVALID'].includes(error.code))
        throw error
    }
  return null
}

/** The databases that are named, or all. A name that fits nothing closes the gate: somebody counts on it. */
function choose(operands: readonly string[], { servers, databases }: GateSource, closed: string[]): GateFacts[] {
  if (operands.length === 0) return [...databases]
  const chosen = new Set<GateFacts>()
  for (const operand of operands) {
    const found = databases.filter((facts) => placeName(facts) === operand || facts.server === operand)
    for (const facts of found) chosen.add(facts)
    if (found.length > 0) continue
    if (servers.includes(operand)) closed.push(`${operand}: no database of this server is known`)
    else if (servers.some((server) => operand.startsWith(`${server}/`))) closed.push(`${operand}: there is no backup`)
    else
      throw new PgproofError('SERVER_UNKNOWN', { server: operand.split('/')[0] ?? operand, known: servers.join(', ') })
  }
  return [...chosen]
}

function openLine(verdicts: readonly GateVerdict[]): string {
  const oldest = (ages: readonly (number | null)[]): string =>
    ages.includes(null) ? 'none' : spellAge(Math.max(...ages.map((age) => age ?? 0)))
  const backup = oldest(verdicts.map(({ backupAgeSeconds }) => backupAgeSeconds))
  const proof = oldest(verdicts.map(({ proofAgeSeconds }) => proofAgeSeconds))
  return `open: ${counted(verdicts.length, 'database')}, oldest backup ${backup}, oldest proof ${proof}`
}

function closedLine({ facts, reasons }: GateVerdict): string {
  return `${placeName(facts)}: ${reasons.join('; ')}`
}

function closedError(lines: readonly string[], total: number): PgproofError {
  const [only, ...others] = lines
  if (others.length === 0) return new PgproofError('GATE_CLOSED', { reason: only ?? '' })
  const reason = `${counted(lines.length, 'reason')} among ${counted(total, 'database')}`
  return new PgproofError('GATE_CLOSED', { reason }, { details: lines.map(printable).join('\n') })
}

function documentOf({ facts, isOpen, backupAgeSeconds, proofAgeSeconds, reasons }: GateVerdict): JsonDocument {
  const { server, database, backup, proof } = facts
  return {
    server,
    database,
    open: isOpen,
    backup:
      backup === null
        ? null
        : { label: backup.label, snapshotTime: backup.snapshotTime.toISOString(), ageSeconds: backupAgeSeconds },
    proof:
      proof === null
        ? null
        : { drill: proof.drill, finishedAt: proof.finishedAt.toISOString(), ageSeconds: proofAgeSeconds },
    reasons,
  }
}
