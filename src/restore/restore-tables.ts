import { randomBytes } from 'node:crypto'
import { dirname } from 'node:path'
import { Checklist } from '../domain/checklist.ts'
import type { Evidence } from '../domain/evidence.ts'
import type { Manifest } from '../domain/manifest.ts'
import { mergeStatements } from '../domain/merge-statements.ts'
import { keyOf, parseQualifiedName, type QualifiedName } from '../domain/qualified-name.ts'
import type { TableComparison } from '../domain/table-contents.ts'
import { rootsOf, selectTables, type TableSelection } from '../domain/table-selection.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { type Connection, connect } from '../postgres/connect.ts'
import { copySchema } from '../postgres/copy-schema.ts'
import { findLacking, readNeededObjects } from '../postgres/lacking-objects.ts'
import {
  addForeignKeys,
  assertOneSchema,
  moveTables,
  readReadingViews,
  readRowFunctions,
  readStagedTables,
} from '../postgres/move-tables.ts'
import { findProgram } from '../postgres/programs.ts'
import { putInPlace } from '../postgres/put-in-place.ts'
import { restoreSelected } from '../postgres/restore-selected.ts'
import { createStaging, type Staging, stagingName } from '../postgres/staging-database.ts'
import { findRelations } from '../postgres/table-shapes.ts'
import { tableName } from '../postgres/tables.ts'
import { inspectTarget, lockTarget } from '../postgres/target-database.ts'
import { assertSchemaFree, claimSchema, makePrivate, unfinishedMark } from '../postgres/target-schema.ts'
import { checkContents } from '../stored/check-stored.ts'
import { assertMonetary } from './after-restore.ts'
import { chooseBackup } from './choose-backup.ts'
import { clearUnfinished } from './clear-unfinished.ts'
import { compareCopies, findMissingParts } from './compare-copies.ts'
import { fetchForRestore } from './fetched-dump.ts'
import { holdForRestore } from './hold-for-restore.ts'
import { createPhases } from './phases.ts'
import { foreignKeysWithin, keyOfText, planMerge, readTies, type Staged } from './plan-merge.ts'
import type { RestoredTable, TablesParts, TablesPhase, TablesRequest, TablesResult } from './tables-request.ts'
import { asTargetError, type Target } from './target-checks.ts'
import { readTrusted } from './trusted-backup.ts'

/**
 * Brings tables of one backup back: beside the live ones, into a schema of its own, or into a database of its own. The
 * live tables are only read; what was made is gone again after a failure or a cancel. Throws register errors.
 */
export async function runRestoreTables(
  request: TablesRequest,
  parts: TablesParts,
  signal: AbortSignal,
): Promise<TablesResult> {
  try {
    return await restoreTables(request, parts, signal)
  } catch (thrown) {
    throw asTargetError(toPgproofError(signal.aborted ? signal.reason : thrown, 'the restore'))
  }
}

async function restoreTables(request: TablesRequest, parts: TablesParts, signal: AbortSignal): Promise<TablesResult> {
  const started = parts.clock.monotonicMs()
  const { place, target: wanted, jobs } = request
  const checklist = new Checklist()
  const phases = createPhases<TablesPhase>(parts.clock, (phase) => parts.onProgress?.({ phase }))
  const notes: string[] = []

  // 1. Which backup; from here on no prune takes it away. Trust the manifest in the store only as far as signer,
  //    successors and evidence vouch for it.
  const chosen = chooseBackup(request, parts.catalog)
  await using _hold = await holdForRestore(chosen.backup, { roles: false }, parts, signal)
  const { read, evidence, from, notes: passedOver } = await readTrusted(chosen, request, parts, checklist, signal)
  notes.push(...passedOver)
  const { manifest } = read

  // 2. Which tables: a partitioned table comes with its partitions, a sequence with the table that owns it.
  const selection = selectTables(request, evidence)
  notes.push(...selection.notes)
  const schema = place.into === 'schema' ? (place.schema ?? schemaNameOf(manifest)) : null
  if (schema !== null) assertOneSchema(selection.tables)

  // 3. Nothing in the way at the target, before anything is made or fetched.
  const target = await inspectTarget(wanted, signal, schema === null ? 'database' : 'tables')
  const { server, existing } = target
  await using _lock = await lockTarget(server, wanted.database, signal)
  await assertPlace(target, request, manifest, schema, signal)
  const name = stagingName(manifest.label, `${wanted.database} tables`)
  const { dropped } = await clearUnfinished(server, wanted.database, (one) => one.name === name, signal)
  notes.push(...dropped.map((one) => `removed database "${one.name}", which an interrupted restore had left`))
  const pgRestore = await findProgram('pg_restore', server.major, request.binDirs, signal)

  // 4. An empty database to restore into: this is where what is lacking is found, and where tables can be moved.
  const properties = { ...(existing?.properties ?? evidence.properties), lcMonetary: evidence.properties.lcMonetary }
  const made = { name, label: manifest.label, into: wanted.database, properties, owner: null, tablespace: null }
  await using staging = await createStaging(server, made, signal)

  // 5. Fetch, decrypt and check the dump; an interrupted download goes on where it was.
  await using fetched = await phases.time('fetch', () =>
    fetchForRestore({ read, from }, request, { ...parts, notes }, checklist, signal),
  )
  const { file } = fetched
  const archive = { program: pgRestore, file }
  await assertMonetary(staging.connection, { ...evidence, structure: columnsOf(selection, evidence) }, signal)
  await checklist.run('table of contents', () => checkContents(archive, evidence, signal), String)

  // 6. All definitions, the rows of the selected tables, the states of their sequences.
  const { lines, leftOut } = await phases.time('restore', () =>
    checklist.run('restore', () =>
      restoreSelected(
        {
          ...{ ...archive, connection: staging.connection, jobs, encoding: evidence.properties.encoding },
          all: { tables: evidence.tables, sequences: evidence.sequences },
          wanted: {
            tables: selection.tables.filter(({ isPartitioned }) => !isPartitioned),
            sequences: sequencesOf(selection, evidence),
          },
          definitions: schema === null ? 'whole' : 'tables',
        },
        signal,
      ),
    ),
  )
  notes.push(...leftOut.map(({ text }) => `left out: ${firstLine(text)}`))
  const common = {
    manifest,
    evidence,
    selection,
    target,
    database: wanted.database,
    jobs,
    checklist,
    notes,
    phases,
    signal,
  }

  // 7a. A database of its own: compared with the evidence, then it gets its name.
  if (schema === null) {
    const question = { evidence, selection, connection: staging.connection, schema, major: server.major, jobs }
    const compared = await phases.time('verify', () => compareCopies(question, checklist, signal))
    const swap = {
      staging: name,
      database: wanted.database,
      asideAs: null,
      dropAside: false,
      comment: null,
      disconnect: false,
    }
    await phases.time('swap', () => putInPlace(server, swap, signal))
    staging.keep()
    notes.push(...(await fetched.finish()))
    notes.push('all definitions are there, rows only of the tables that were asked for; materialized views are empty')
    return resultOf(common, compared, null, { scripts: [] }, parts.clock.monotonicMs() - started)
  }

  // 7b. Beside the live tables: moved into a schema of their own, copied into the live database, compared there.
  const live: Connection = { ...wanted, parameters: staging.connection.parameters }
  await using asked = await connect(live, signal, 'pgproof restore')
  const staged = await prepareCopy(common, staging, archive, lines)
  const lacking = await findLacking(asked.client, staged.needed)
  if (lacking.length > 0)
    throw new PgproofError('TARGET_LACKS', {
      what: `${lacking.join(', ')}, with which the tables are made, in database "${wanted.database}"`,
      mend: 'Or restore into a database of its own with --create.',
    })
  const { merge, gone } = await planMerge(asked.client, staged, schema, evidence, notes, signal)
  const token = randomBytes(6).toString('hex')
  const mark = unfinishedMark(manifest.label, token)
  const applicationName = `pgproof restore ${token}`
  await moveForCopy(common, staging, staged, { schema, comment: mark, gone })
  await using claim = claimSchema(live, { schema, mark, applicationName })
  const pgDump = await findProgram('pg_dump', server.major, request.binDirs, signal)
  await phases.time('copy', () =>
    copySchema(
      { from: staging.connection, to: live, schema, pgDump, pgRestore, folder: dirname(file), jobs, applicationName },
      signal,
    ),
  )
  await makePrivate(asked.client, schema)
  const question = { evidence, selection, connection: live, schema, major: server.major, jobs }
  const compared = await phases.time('verify', () => compareCopies(question, checklist, signal))
  notes.push(...(await findMissingParts(question, staged, signal)))
  signal.throwIfAborted()
  await claim.keep(
    asked.client,
    `tables of backup ${manifest.label} as of ${manifest.snapshotTime}, restored by pgproof`,
  )
  notes.push(...(await fetched.finish()))
  const { scripts, notes: mergeNotes } = mergeStatements(merge)
  notes.push(...mergeNotes)
  const states = new Map(merge.tables.map((table) => [table.name, liveWord(table.live)]))
  return resultOf(common, compared, schema, { scripts, states }, parts.clock.monotonicMs() - started)
}

type Common = {
  readonly manifest: Manifest
  readonly evidence: Evidence
  readonly selection: TableSelection
  readonly target: Target
  readonly database: string
  readonly jobs: number
  readonly checklist: Checklist
  readonly notes: string[]
  readonly phases: ReturnType<typeof createPhases<TablesPhase>>
  readonly signal: AbortSignal
}

/** `restored_20261120t020000z`: of which instant it is. */
function schemaNameOf({ snapshotTime }: Manifest): string {
  return `restored_${snapshotTime.replace(/\.\d+/, '').replaceAll(/[-:]/g, '').toLowerCase()}`
}

async function assertPlace(
  { server, existing }: Target,
  { place, target }: TablesRequest,
  manifest: Manifest,
  schema: string | null,
  signal: AbortSignal,
): Promise<void> {
  const { database } = target
  if (server.major < manifest.source.major)
    throw new PgproofError('TARGET_TOO_OLD', { source: manifest.source.major, target: server.version })
  if (place.into === 'database' && existing !== null)
    throw new PgproofError('TARGET_EXISTS', { database, server: server.address })
  if (schema === null) return
  if (existing === null) throw new PgproofError('TARGET_UNKNOWN', { database, server: server.address })
  if (/^pg_/.test(schema) || schema === '' || Buffer.byteLength(schema) > 63)
    throw new PgproofError('USAGE_INVALID', { reason: `"${schema}" cannot be the name of a schema` })
  await using held = await connect(target, signal, 'pgproof restore')
  await assertSchemaFree(held.client, schema)
}

function columnsOf({ tables }: TableSelection, { structure }: Evidence): Evidence['structure'] {
  const selected = new Set(tables.map(keyOf))
  return structure.filter(({ kind, name }) => {
    const table = kind === 'column' ? parseQualifiedName(name) : null
    return table !== null && selected.has(keyOf(table))
  })
}

/** Those that a column of a selected table owns. */
function sequencesOf({ tables }: TableSelection, { structure }: Evidence): readonly QualifiedName[] {
  const selected = new Set(tables.map(keyOf))
  return structure.flatMap(({ kind, name, facets }) => {
    const column = kind === 'sequence' ? parseQualifiedName(facets['owned by'] ?? facets['identity of'] ?? '') : null
    return column !== null && selected.has(keyOf(column)) ? (parseQualifiedName(name) ?? []) : []
  })
}

/** Asks the staging database for what cannot be told once the tables have moved. */
async function prepareCopy(
  { selection, evidence, notes, signal }: Common,
  staging: Staging,
  archive: Staged['archive'],
  lines: readonly string[],
): Promise<Staged & { readonly needed: Awaited<ReturnType<typeof readNeededObjects>> }> {
  await using held = await connect(staging.connection, signal, 'pgproof restore')
  const { client } = held
  const tables = await readStagedTables(client, selection.tables)
  if (evidence.largeObjects.count > 0 && tables.some((table) => table.mayReferToLargeObjects))
    notes.push('large objects to which rows may refer are not brought back; a whole restore (--create) has them')
  return {
    ...{ selection, archive, lines, tables },
    relations: await findRelations(client, selection.tables),
    views: await readReadingViews(client, selection.tables),
    functions: await readRowFunctions(client, selection.tables),
    ...(await readTies(archive, lines, evidence.properties.encoding, signal)),
    needed: await readNeededObjects(client, selection.tables),
  }
}

async function moveForCopy(
  { selection, notes, signal }: Common,
  staging: Staging,
  staged: Staged,
  move: Parameters<typeof moveTables>[2],
): Promise<void> {
  await using held = await connect(staging.connection, signal, 'pgproof restore')
  const together = foreignKeysWithin(staged.foreignKeys, selection).filter(
    ({ table, references }) => move.gone.has(keyOfText(table)) === move.gone.has(keyOfText(references)),
  )
  notes.push(...(await addForeignKeys(held.client, together)))
  await moveTables(held.client, selection.tables, move)
}

function firstLine(text: string): string {
  const [line = ''] = text.replace(/^error: (?:could not execute query: )?/, '').split('\n', 1)
  return line
}

function liveWord(live: unknown): RestoredTable['live'] {
  if (live === null) return 'gone'
  return typeof live === 'string' ? 'something else' : 'there'
}

function resultOf(
  { manifest, evidence, selection, target, database, checklist, notes, phases }: Common,
  compared: readonly TableComparison[],
  schema: string | null,
  merged: {
    readonly scripts: TablesResult['statements']
    readonly states?: ReadonlyMap<string, RestoredTable['live']>
  },
  milliseconds: number,
): TablesResult {
  const byKey = new Map(compared.map((one) => [keyOf(one), one]))
  const roots = rootsOf(selection)
  return {
    backup: {
      label: manifest.label,
      server: manifest.server,
      database: evidence.database,
      snapshotTime: manifest.snapshotTime,
      version: manifest.source.version,
    },
    target: { server: target.server.address, database, version: target.server.version },
    into: schema === null ? 'database' : 'schema',
    schema,
    tables: selection.tables
      .filter(({ isPartitioned }) => !isPartitioned)
      .map((table) => ({
        table: table.text,
        copy: schema === null ? table.text : tableName({ schema, name: table.name }),
        rows: byKey.get(keyOf(table))?.restoredRows ?? null,
        compared: byKey.get(keyOf(table))?.compared ?? 'nothing',
        live: merged.states?.get(roots.get(keyOf(table))?.text ?? '') ?? null,
      })),
    statements: merged.scripts,
    notes,
    phases: phases.results(),
    seconds: Math.round(milliseconds) / 1000,
    checks: checklist.results([]),
  }
}
