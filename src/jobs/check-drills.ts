import { access, constants, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname } from 'node:path'
import { PgproofError, reasonOf, rethrowUnless } from '../errors.ts'
import { connect } from '../postgres/connect.ts'
import { scratchPath, unprivilegedUser } from '../postgres/embedded-server.ts'
import { readServerFacts } from '../postgres/facts.ts'
import { isolate } from '../postgres/isolate.ts'
import { knownFlaw } from '../postgres/known-flaws.ts'
import { type FoundProgram, findProgram } from '../postgres/programs.ts'
import { ProgramError, runProgram } from '../streams/child-process.ts'
import { scratchSettings } from './execute.ts'
import { type Findings, goOn } from './findings.ts'
import { connectionTo, databasesOf, type Installation } from './installation.ts'

/** Spool, scratch server and its programs: what a drill of each configured server needs. */
export async function checkDrills(
  installation: Pick<Installation, 'config'>,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const { config } = installation
  const { binDirs } = config.postgres
  const scratch = scratchSettings(config)
  const kept = await goOn(findings, signal, async () => {
    if (scratch.kind === 'embedded') {
      await unprivilegedUser(scratch.runAs)
      return undefined
    }
    await using held = await connect(scratch.connection, signal)
    const facts = await readServerFacts(held.client, scratch.connection)
    findings.ok(`scratch server: PostgreSQL ${facts.version}`)
    await goOn(findings, signal, async () =>
      warnOfFlaw('pg_restore', await findProgram('pg_restore', facts.major, binDirs, signal), findings),
    )
    return facts
  })

  let largestBytes = 0
  for (const server of config.servers) {
    const facts = await factsOf(server, signal)
    if (facts === undefined) {
      // One that does not answer has a finding of its own, unless this worker was not to ask it.
      if (config.fleet?.may.includes('backup') === false)
        findings.warn(
          `server ${server.name} does not answer this worker: whether its version of PostgreSQL is here, and room for its largest database, is not known`,
          'Order a drill of it and look at its verdict, or give this worker a login there for the check.',
        )
      continue
    }
    largestBytes = Math.max(largestBytes, facts.largestBytes)
    if (kept?.systemIdentifier === facts.systemIdentifier) findings.problem(new PgproofError('SCRATCH_IS_SOURCE'))
    if (kept !== undefined && kept.major < facts.major) {
      const reason = `it runs PostgreSQL ${kept.major}, server "${server.name}" ${facts.major}`
      findings.problem(new PgproofError('SCRATCH_FAILED', { reason }))
    }
    if (scratch.kind === 'embedded')
      for (const name of ['initdb', 'postgres', 'pg_restore'] as const)
        await goOn(findings, signal, async () =>
          warnOfFlaw(name, await findProgram(name, facts.major, binDirs, signal), findings),
        )
  }
  await goOn(findings, signal, () => checkSpool(config.drill.spool, largestBytes, scratch.kind, findings))
  if (scratch.kind !== 'embedded') return
  await goOn(findings, signal, () => checkPassage(config.drill.spool, scratch.runAs, signal))
  await goOn(findings, signal, () => checkIsolation(scratch.runAs, findings, signal))
}

/** Whether what a dump brings along is shut off from this machine while a drill restores it. */
async function checkIsolation(runAs: string, findings: Findings, signal: AbortSignal): Promise<void> {
  const user = await unprivilegedUser(runAs).catch(() => undefined)
  if (user === undefined && process.getuid?.() === 0) return
  const program = { path: '/bin/true', args: [], env: { PATH: scratchPath }, user }
  // Mounted over in a namespace of its own: here the folder stays what it is.
  const { notIsolated } = await isolate(program, { root: tmpdir(), writable: [], readable: [] }, signal)
  if (notIsolated.length === 0) findings.ok('scratch server: shut off from this machine')
  else
    findings.warn(
      `what a dump brings along can get at this machine’s ${notIsolated.join(', ')} while a drill restores it`,
      'Harmless where you trust who owns the databases. Otherwise let pgproof make namespaces, or run drills on a machine that holds nothing else: docs/security.md.',
    )
}

/** A restore goes on with it: in an emergency an old pg_restore is better than none. */
function warnOfFlaw(name: string, { version }: FoundProgram, findings: Findings): void {
  const flaw = name === 'pg_restore' ? knownFlaw(version) : null
  if (flaw !== null)
    findings.warn(
      `${name} ${version} has ${flaw}: names in a hostile dump become SQL`,
      'Install the newest minor of PostgreSQL’s client programs.',
    )
}

/** The embedded server of a root process runs as another user, who must get to the spool through every folder above. */
async function checkPassage(spool: string, runAs: string, signal: AbortSignal): Promise<void> {
  // Where there is no such user or folder, that is a finding already.
  const user = await unprivilegedUser(runAs).catch(() => undefined)
  const folder = await existingFolder(spool).catch(() => undefined)
  if (user === undefined || folder === undefined) return
  try {
    await runProgram({ path: '/usr/bin/test', args: ['-x', folder], env: {}, user }, { signal })
  } catch (error) {
    rethrowUnless(error, ProgramError)
    const reason = `user "${runAs}" (drill.runAs), as whom the scratch server runs, may not pass through to ${folder}`
    throw new PgproofError('SPOOL_UNUSABLE', { path: spool, reason }, { cause: error })
  }
}

/** Room and rights, without making the folder: a check changes nothing. */
async function checkSpool(
  spool: string,
  largestBytes: number,
  scratch: 'embedded' | 'server',
  findings: Findings,
): Promise<void> {
  try {
    const folder = await existingFolder(spool)
    await access(folder, constants.W_OK | constants.X_OK)
    const { bavail, bsize } = await statfs(folder)
    const freeBytes = bavail * bsize
    // The dump and, for the embedded server, the restored database beside it.
    const neededBytes = Math.ceil(largestBytes * (scratch === 'embedded' ? 2.3 : 1) + 256e6)
    const mebibytes = (bytes: number): string => Math.ceil(bytes / (1 << 20)).toLocaleString('en')
    const text = `${mebibytes(neededBytes)} MiB wanted for the largest database, ${mebibytes(freeBytes)} MiB free`
    if (freeBytes < neededBytes) findings.problem(new PgproofError('SPOOL_FULL', { path: spool, reason: text }))
    else findings.ok(`spool ${spool}: ${text}`)
  } catch (error) {
    throw new PgproofError('SPOOL_UNUSABLE', { path: spool, reason: reasonOf(error) }, { cause: error })
  }
}

/** The spool, or the folder in which the first drill would make it. Throws ENOTDIR where a file is in the way. */
async function existingFolder(path: string): Promise<string> {
  try {
    // With the slash, a file is no folder.
    await access(`${path}/`)
    return path
  } catch (error) {
    const parent = dirname(path)
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error
    return await existingFolder(parent)
  }
}

async function factsOf(
  server: Installation['config']['servers'][number],
  signal: AbortSignal,
): Promise<{ major: number; systemIdentifier: string; largestBytes: number } | undefined> {
  try {
    const connection = connectionTo(server)
    await using held = await connect(connection, signal)
    const { major, systemIdentifier } = await readServerFacts(held.client, connection)
    const { rows } = await held.client.query<{ bytes: string }>(
      `SELECT COALESCE(pg_catalog.max(pg_catalog.pg_database_size(oid)), 0) AS bytes FROM pg_catalog.pg_database
        WHERE datname = ANY ($1::name[]) AND pg_catalog.has_database_privilege(oid, 'CONNECT')`,
      [await databasesOf(server, signal)],
    )
    return { major, systemIdentifier, largestBytes: Number(rows[0]?.bytes ?? 0) }
  } catch (error) {
    rethrowUnless(error, PgproofError)
    return undefined
  }
}
