import type { Evidence } from '../domain/evidence.ts'
import type { StructureDifference, StructureObject, StructureQuestion } from '../domain/structure.ts'
import { type BootstrapRoles, withoutRightsOf } from './bootstrap-roles.ts'
import { isGrantedByOwner, ownerOf } from './grantors.ts'
import { isLanguageTagOf } from './icu-locale.ts'

/** One object that is missing or unexpected (`facet` is null), or one facet of it that differs. */
type Seen = {
  readonly kind: string
  readonly name: string
  readonly result: StructureDifference['result']
  readonly facet: string | null
  readonly expected: string | null
  readonly restored: string | null
}

type Drilled = {
  readonly evidence: Evidence
  readonly majors: { readonly source: number; readonly scratch: number }
  /** Without them the same role on either side. */
  readonly bootstrapRoles?: BootstrapRoles
  /** Roles that are superusers on the scratch server; default: none. */
  readonly superusers?: ReadonlySet<string>
  /** Restored tables and materialized views that cannot have options of a TOAST table; see `readWithoutToast`. */
  readonly withoutToast?: ReadonlySet<string>
  readonly notes: readonly string[]
}

/** A difference that says nothing against the backup. */
export type StructureException = {
  readonly why: string
  /** Nothing that anybody would want to know: not even a note. */
  readonly isSilent?: boolean
  isExpected(seen: Seen, drill: Drilled): boolean
}

/**
 * Where PostgreSQL itself does not restore something as it was, or a drill leaves it out on purpose. Nothing else may
 * differ. docs/verification.md has the same list; tests try the limits of each.
 */
export const structureExceptions: readonly StructureException[] = [
  {
    why: 'publications and subscriptions are not restored in a drill: they would reach other servers',
    isSilent: true,
    isExpected: ({ kind, result }) => /^(?:publication|subscription)$/.test(kind) && result === 'missing',
  },
  {
    why: 'the comment of the scratch database is the mark of the drill',
    isSilent: true,
    isExpected: ({ kind, facet }) => kind === 'database' && facet === 'comment',
  },
  {
    why: 'an object that changed while the dump ran may be in it as it was before or after',
    isExpected: ({ kind, name, result, facet, expected }, { evidence }) =>
      // Under its new name or its old one, where that changed: a function is called by the types of its arguments.
      (result === 'unexpected' || (facet !== null && expected === null)) &&
      evidence.omissions.some((one) => one.kind === 'changed during the dump' && one.object === `${kind} ${name}`),
  },
  {
    why: 'a materialized view that reads another server, or might, is not refreshed in a drill',
    isExpected: ({ kind, name, facet, restored }, { notes }) =>
      kind === 'materialized view' &&
      facet === 'populated' &&
      restored === 'false' &&
      notes.some((note) => note.includes(`REFRESH MATERIALIZED VIEW ${name};`)),
  },
  {
    why: 'a policy on a table of an extension is in no dump; evidence of older versions of pgproof has it',
    isSilent: true,
    // Tables of extensions are not in the evidence, every other one is.
    isExpected: ({ kind, name, result }, { evidence }) =>
      kind === 'policy' &&
      result === 'missing' &&
      !evidence.structure.some((one) => one.kind === 'table' && name.startsWith(`${one.name}.`)),
  },
  {
    why: 'a table that has lost its long columns keeps its TOAST table, but a restore makes none to carry the options',
    isSilent: true,
    isExpected: ({ name, facet, restored }, { withoutToast }) =>
      facet === 'toast options' && restored === null && withoutToast?.has(name) === true,
  },
  {
    why: 'a setting of the database that is not possible on the scratch server, such as a locale that it lacks',
    isSilent: true,
    isExpected: ({ kind, name, result }, { notes }) =>
      kind === 'database setting' &&
      result === 'missing' &&
      notes.some((note) => note.startsWith(refusedSettingNote({ name, reason: '' }))),
  },
  {
    why: 'an extension is created in the version that the scratch server has',
    isExpected: ({ kind, facet }) => kind === 'extension' && facet === 'version',
  },
  {
    why: 'CREATE EXTENSION sets the comment anew; a dump does not say that it was removed',
    isExpected: ({ kind, facet, expected }) => kind === 'extension' && facet === 'comment' && expected === null,
  },
  {
    why: 'a new database has the schema public and the extension plpgsql; a dump does not say that they were dropped',
    isExpected: ({ kind, name, result }) =>
      result === 'unexpected' &&
      ((kind === 'schema' && name === 'public') || (kind === 'extension' && name === 'plpgsql')),
  },
  {
    why: 'PostgreSQL 15 gave the schema public another owner, and took CREATE from PUBLIC',
    isExpected: ({ kind, name, facet }, { majors }) =>
      kind === 'schema' &&
      name === 'public' &&
      (facet === 'owner' || facet === 'grants') &&
      majors.source < 15 &&
      majors.scratch >= 15,
  },
  {
    why: 'what initdb grants differs between majors',
    isExpected: ({ kind }, { majors }) => kind === 'system object grants' && majors.source !== majors.scratch,
  },
  {
    why: 'since PostgreSQL 16 a locale of ICU is written as its language tag',
    isExpected: ({ kind, facet, expected, restored }, { majors }) =>
      kind === 'collation' &&
      facet === 'locale' &&
      expected !== null &&
      restored !== null &&
      // Whatever the source is: pg_upgrade takes a name over as an older major wrote it.
      majors.scratch >= 16 &&
      isLanguageTagOf(restored, expected),
  },
  {
    why: 'what somebody granted who is a superuser by now is restored as granted by the owner',
    isSilent: true,
    isExpected: ({ kind, name, facet, expected, restored }, { evidence: { structure }, superusers = new Set() }) => {
      if (facet !== 'grants' || expected === null || restored === null) return false
      const owner = ownerOf(kind, name, structure)
      return owner !== undefined && isGrantedByOwner(owner, superusers, { granted: expected, restored })
    },
  },
  {
    why: 'the parents of a table may be restored in another order',
    isSilent: true,
    isExpected: ({ kind, name, facet, expected, restored }, { evidence: { structure } }) =>
      /^(?:foreign )?table$/.test(kind) &&
      facet === 'inherits' &&
      expected !== null &&
      restored !== null &&
      inOrder(expected) === inOrder(restored) &&
      // A dump has its rows in columns of other tables without names: in another order they mean something else.
      !structure.some((one) => one.kind === 'column' && [name, `${name}[]`].includes(one.facets['type'] ?? '')),
  },
  {
    why: 'since PostgreSQL 17 partitions have the identity columns of their partitioned table',
    isSilent: true,
    isExpected: ({ kind, name, facet, expected, restored }, { evidence: { structure }, majors }) =>
      kind === 'column' &&
      facet === 'identity' &&
      expected === null &&
      majors.source < 17 &&
      majors.scratch >= 17 &&
      restored === inheritedIdentity(name, structure),
  },
  {
    why: 'a property that only the newer of two majors knows: rules of a collation, schemas of a publication',
    isSilent: true,
    isExpected: ({ kind, facet, expected, restored }, { majors: { source, scratch } }) =>
      laterFacets.some(
        (one) =>
          one.kind === kind &&
          one.facet === facet &&
          ((source < one.since && expected === null) || (scratch < one.since && restored === null)),
      ),
  },
  {
    why: 'the bootstrap superuser owns without being recorded as an owner, and may have another name on the scratch server',
    isSilent: true,
    isExpected: ({ kind, name, result }, { bootstrapRoles }) =>
      kind === 'role' &&
      bootstrapRoles !== undefined &&
      ((result === 'missing' && name === bootstrapRoles.scratch) ||
        (result === 'unexpected' && name === bootstrapRoles.source)),
  },
]

/** What is read from some major on; see the queries in src/structure/. */
const laterFacets = [
  { kind: 'publication', facet: 'schemas', since: 15 },
  { kind: 'collation', facet: 'rules', since: 16 },
] as const

/** A setting of the database that the scratch server cannot have, as `notes` has it. */
export function refusedSettingNote({ name, reason }: { readonly name: string; readonly reason: string }): string {
  return `database setting ${name}: not possible on the scratch server: ${reason}`
}

/** Asks for the differences besides those that are no defect; of these, the ones worth knowing go to `notes`. */
export function structureQuestion(
  restored: readonly StructureObject[],
  drill: Drilled & { readonly notes: string[] },
): StructureQuestion {
  const { evidence, majors, bootstrapRoles, notes } = drill
  const comparable = (objects: readonly StructureObject[]): readonly StructureObject[] =>
    bootstrapRoles === undefined ? objects : withoutRightsOf(bootstrapRoles, objects)
  return {
    expected: comparable(evidence.structure),
    restored: comparable(restored),
    isSameMajor: majors.source === majors.scratch,
    isExpected: (difference) => {
      const excused = seenIn(difference).map((seen) => ({
        seen,
        exception: structureExceptions.find(({ isExpected }) => isExpected(seen, drill)),
      }))
      if (excused.some(({ exception }) => exception === undefined)) return false
      for (const { seen, exception } of excused)
        if (exception !== undefined && exception.isSilent !== true) notes.push(noteOf(seen, exception))
      return true
    },
  }
}

function seenIn({ kind, name, result, facets }: StructureDifference): Seen[] {
  if (result !== 'differs') return [{ kind, name, result, facet: null, expected: null, restored: null }]
  return facets.map((facet) => ({ kind, name, result, ...facet }))
}

function noteOf({ kind, name, result, facet, expected, restored }: Seen, { why }: StructureException): string {
  const how = facet === null ? result : `${facet} ${expected ?? 'none'}, restored as ${restored ?? 'none'}`
  return `${kind} ${name}: ${how} (${why})`
}

/** The identity of the same column of the table that is partitioned; undefined if this one is of no partition. */
function inheritedIdentity(column: string, structure: readonly StructureObject[]): string | undefined {
  const find = (wanted: string, name: string): StructureObject | undefined =>
    structure.find((one) => one.kind === wanted && one.name === name)
  const partition = structure.find(
    ({ kind, name, facets }) =>
      kind === 'table' && facets['is partition'] === 'true' && column.startsWith(`${name}.`) && find('column', column),
  )
  if (partition === undefined) return undefined
  const parent = `${partition.facets['inherits']}${column.slice(partition.name.length)}`
  return find('column', parent)?.facets['identity'] ?? inheritedIdentity(parent, structure)
}

/** A list of names, in which a quoted one may hold a comma. */
function inOrder(names: string): string {
  return [...names.matchAll(/(?:"(?:[^"]|"")*"|[^",])+/g)]
    .map(([name]) => name.trim())
    .sort()
    .join(', ')
}
