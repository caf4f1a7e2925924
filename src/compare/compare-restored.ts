import assert from 'node:assert/strict'
import type { Checklist } from '../domain/checklist.ts'
import type { DrillTables } from '../domain/drill-tables.ts'
import { drillTablesFormat } from '../domain/drill-tables.ts'
import type { Evidence, EvidenceLevel } from '../domain/evidence.ts'
import type { QualifiedName } from '../domain/qualified-name.ts'
import { compareStructure, differenceText, type StructureObject } from '../domain/structure.ts'
import { comparedAs, compareSequences, compareTables, type TableComparison } from '../domain/table-contents.ts'
import { PgproofError } from '../errors.ts'
import { readLargeObjects, readRefreshedSequences, readSequences, takeCensus } from '../postgres/census.ts'
import type { Client } from '../postgres/connect.ts'
import { listDumpedTables, tableName } from '../postgres/tables.ts'
import { readStructure } from '../structure/read-structure.ts'
import { readBootstrapRoles } from './bootstrap-roles.ts'
import { structureQuestion } from './compare-structure.ts'
import { readChangedConfiguration } from './extension-tables.ts'
import { readSuperusers } from './grantors.ts'
import { readWithoutToast } from './without-toast.ts'

/**
 * Takes the census of the restored database by the very definition that was used at the backup, and compares. Every
 * difference is collected before EVIDENCE_MISMATCH is thrown, so that the report is whole; `onTables` gets it first.
 */
export async function compareWithEvidence(
  request: {
    /** Sessions in the restored database, at least one. */
    readonly clients: readonly Client[]
    readonly evidence: Evidence
    readonly drillLabel: string
    /** The majors of the server that was backed up and of the scratch server. */
    readonly majors: { readonly source: number; readonly scratch: number }
    /** What is no defect and should be known; this adds to it. */
    readonly notes: string[]
    readonly onTables: (tables: DrillTables) => void
    /** What of the structure is compared, and what is not in words; default: all of it. */
    readonly comparable?: {
      readonly of: (objects: readonly StructureObject[]) => readonly StructureObject[]
      readonly without: string
    }
    /** A table whose rows `bring` restores when everything else was found to be as it was; they are compared then. */
    readonly late?: { readonly table: QualifiedName; bring(): Promise<void> } | undefined
  },
  checklist: Checklist,
  signal: AbortSignal,
): Promise<void> {
  const { clients, evidence } = request
  // A standby has no unlogged rows: what the restore makes of those tables has nothing to be compared with.
  const { isStandby } = evidence.manifest.source
  const [first] = clients
  assert(first !== undefined, 'a comparison needs a session')
  const { majors, notes } = request
  const bootstrapRoles = await readBootstrapRoles(first, evidence)
  const superusers = await readSuperusers(first)
  const restoredStructure = await readStructure(first, majors.scratch)
  const withoutToast = await readWithoutToast(first, evidence)
  const question = structureQuestion(restoredStructure, {
    evidence,
    majors,
    bootstrapRoles,
    superusers,
    withoutToast,
    notes,
  })
  const comparable = request.comparable?.of ?? ((objects: readonly StructureObject[]) => objects)
  const structure = compareStructure({
    ...question,
    expected: comparable(question.expected),
    restored: comparable(question.restored),
  })
  const levels = new Map<string, EvidenceLevel>(evidence.tables.map((table) => [tableName(table), table.level]))
  const configuration = await readChangedConfiguration(first, evidence)
  const compareThese = async (isOne: (table: QualifiedName) => boolean): Promise<readonly TableComparison[]> => {
    const dumped = (await listDumpedTables(first, isStandby, 'measured')).filter(isOne)
    const restored = await takeCensus(
      clients,
      {
        database: first.database ?? '',
        tables: configuration.underOldConditions(dumped),
        level: (table) => levels.get(tableName(table)) ?? 'count',
      },
      signal,
    )
    return configuration.withoutMoved(compareTables(evidence.tables.filter(isOne), restored), notes)
  }
  const { late } = request
  const isLate = (table: QualifiedName): boolean => late !== undefined && tableName(table) === tableName(late.table)
  const tables = await compareThese((table) => !isLate(table))
  const refreshed = new Set((await readRefreshedSequences(first)).map(tableName))
  const sequences = compareSequences(evidence.sequences, await readSequences(first, isStandby)).map((sequence) =>
    sequence.result === 'beyond' && refreshed.has(tableName(sequence))
      ? { ...sequence, result: 'ahead' as const }
      : sequence,
  )
  const expected = { count: evidence.largeObjects.count, digest: evidence.largeObjects.digest }
  const found = await readLargeObjects(first, expected.digest === null ? 'count' : 'digest')
  const largeObjects = {
    expected,
    restored: { count: found.count, digest: found.digest },
    result:
      found.count !== expected.count ? 'count differs' : found.digest === expected.digest ? 'equal' : 'digest differs',
  } as const
  const report = (compared: readonly TableComparison[]): void =>
    request.onTables({
      format: drillTablesFormat,
      label: request.drillLabel,
      errorDetails: null,
      notes,
      structure: { compared: structure.compared, differences: [...structure.differences] },
      tables: [...compared],
      sequences: [...sequences],
      largeObjects,
    })
  report(tables)

  const wrong: string[] = []
  const judge = (check: string, isAsked: boolean, differences: readonly string[], summary: string): void => {
    if (differences.length > 0)
      checklist.add(check, 'failed', `${countOf(differences)}: ${differencesText(differences)}`)
    else checklist.add(check, isAsked ? 'passed' : 'skipped', isAsked ? summary : 'not in the evidence')
    wrong.push(...differences)
  }
  judge(
    'structure',
    true,
    structure.differences.map(differenceText),
    structureText(structure.compared, majors, request.comparable?.without ?? ''),
  )
  const counted = tables.filter(({ compared }) => compared !== 'nothing')
  const digested = tables.filter(({ compared }) => compared === 'rows and digest')
  // Of partitions that are compared together, one without a count leaves none to compare.
  const off = new Set(evidence.tables.filter(({ level }) => level === 'off').map((one) => tableName(comparedAs(one))))
  const isOff = (table: TableComparison): boolean => table.result === 'not compared' && off.has(tableName(table))
  judge(
    'row counts',
    tables.length === 0 || counted.length > 0,
    tables
      .filter((table) => table.result !== 'equal' && table.result !== 'digest differs' && !isOff(table))
      .map(tableText),
    `${counted.length} of ${tables.length} tables, every count equal${loweredText(counted.length, tables.length, 'not counted')}`,
  )
  judge(
    'digests',
    tables.length === 0 || digested.length > 0,
    tables.filter(({ result }) => result === 'digest differs').map(tableText),
    `${digested.length} of ${tables.length} tables, every digest equal${loweredText(digested.length, tables.length, 'without a digest')}`,
  )
  judge(
    'sequences',
    true,
    sequences
      .filter(({ result }) => result !== 'equal' && result !== 'ahead')
      .map((sequence) => `sequence ${tableName(sequence)} ${sequence.result}`),
    `${sequences.length} sequences, none behind or beyond`,
  )
  judge(
    'large objects',
    true,
    largeObjects.result === 'equal'
      ? []
      : [`large objects: ${largeObjects.result} (${expected.count} expected, ${found.count} restored)`],
    `${expected.count} large objects`,
  )
  if (late !== undefined && wrong.length === 0) {
    await late.bring()
    const compared = await compareThese(isLate)
    report([...tables, ...compared])
    const differences = compared.filter((table) => table.result !== 'equal' && !isOff(table)).map(tableText)
    judge(`rows of ${tableName(late.table)}`, !compared.some(isOff), differences, 'restored last, as they were')
  }
  if (wrong.length === 0) return
  const values = { count: countOf(wrong), tables: differencesText(wrong) }
  const mismatch = new PgproofError('EVIDENCE_MISMATCH', values, { details: wrong.join('\n') })
  checklist.note(mismatch)
  throw mismatch
}

function tableText(table: TableComparison): string {
  return `${tableName(table)} ${table.result}${table.result === 'digest differs' ? '' : countsOf(table)}`
}

function structureText(
  compared: number,
  { source, scratch }: { readonly source: number; readonly scratch: number },
  without: string,
): string {
  const isSame = source === scratch
  const what = isSame ? 'every definition' : 'every property'
  const equal = without !== '' ? what : isSame ? 'every definition, owner and grant' : 'every owner, grant and property'
  const left = [
    ...(without === '' ? [] : [`${without} not compared`]),
    ...(isSame ? [] : [`expressions not compared between majors ${source} and ${scratch}`]),
  ]
  return [`${compared} objects, ${equal} equal`, ...left].join('; ')
}

/** The evidence setting took less of some tables: that is to be seen wherever the result is. */
function loweredText(compared: number, all: number, how: string): string {
  return compared === all ? '' : `; ${all - compared} ${how} by the evidence setting`
}

function countsOf(table: { readonly expectedRows: number | null; readonly restoredRows: number | null }): string {
  return table.expectedRows === table.restoredRows
    ? ''
    : ` (${table.expectedRows ?? 'no'} expected, ${table.restoredRows ?? 'no'} restored)`
}

function countOf(differences: readonly string[]): string {
  return differences.length === 1 ? '1 difference' : `${differences.length} differences`
}

function differencesText(differences: readonly string[]): string {
  return differences.slice(0, 5).join('; ') + (differences.length > 5 ? `; and ${differences.length - 5} more` : '')
}
