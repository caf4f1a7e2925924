import { storesOf } from '../catalog/catalog.ts'
import type { Checklist } from '../domain/checklist.ts'
import type { DrillReport } from '../domain/drill-report.ts'
import type { Manifest } from '../domain/manifest.ts'
import {
  compareStructure,
  differenceText,
  type StructureAnswer,
  type StructureDifference,
  type StructureObject,
} from '../domain/structure.ts'
import { PgproofError } from '../errors.ts'
import { connect } from '../postgres/connect.ts'
import { checkSignature, readManifest, readRolesEvidence } from '../stored/read-backup.ts'
import { chooseRolesBackup, readRolesScript } from '../stored/read-roles.ts'
import { measureBytes } from '../streams/measure.ts'
import { readRoles, roleOf } from '../structure/roles.ts'
import type { DrillParts, DrillRequest } from './drill-request.ts'
import { type ScratchServer, scratchKind } from './scratch.ts'

export type RolesPlace = {
  /** Of the backup whose roles are wanted. */
  readonly manifest: Manifest
  /** The store whose copy of that backup is drilled: its roles come from there as well, if it has them. */
  readonly copy: string
  readonly scratch: ScratchServer
  /** Gets the roles backup, once its manifest is trusted, and notes of what was not compared. */
  readonly findings: { rolesBackup: DrillReport['rolesBackup']; readonly notes: string[] }
}

type Request = Pick<DrillRequest, 'keys' | 'trustedSigners' | 'scratch' | 'rolesBackup'>
type Parts = Pick<DrillParts, 'catalog' | 'stores'>

/**
 * The rung `roles`: replays the roles that belong to a backup on the scratch server, and shows that they are what they
 * were. It is skipped where there is nothing to compare, and then no roles backup has been drilled. Throws ROLES_FAILED,
 * SCRATCH_FAILED and what reading throws.
 */
export async function climbRoles(
  place: RolesPlace,
  request: Request,
  parts: Parts,
  checklist: Checklist,
  signal: AbortSignal,
): Promise<void> {
  const { result, detail } = await restoreRoles(place, request, parts, signal).catch((error: unknown) =>
    checklist.run('roles', () => Promise.reject(error)),
  )
  if (result === 'skipped') place.findings.rolesBackup = null
  checklist.add('roles', result, detail)
}

async function restoreRoles(
  { manifest, copy, scratch, findings }: RolesPlace,
  request: Request,
  parts: Parts,
  signal: AbortSignal,
): Promise<{ result: 'passed' | 'skipped'; detail: string }> {
  const chosen = request.rolesBackup ?? chooseRolesBackup(manifest, parts.catalog)
  if (chosen === undefined) return { result: 'skipped', detail: 'no roles backup in the store' }
  const store = parts.stores.reading(storesOf(chosen, copy).slice(0, 1))
  const read = await readManifest(chosen, store, signal)
  await checkSignature(read, request.trustedSigners, store, signal)
  findings.rolesBackup = { label: read.manifest.label, manifestSha256: read.sha256 }
  const script = await readRolesScript(read, request.keys, store, signal)
  const evidence = await readRolesEvidence(read, request.keys, store, signal)
  const replayed = await scratch.replayRoles(script, signal)
  const changed = new Set(evidence.changed)
  const lacking = replayed.lacking.find(({ role }) => !changed.has(role))
  if (lacking !== undefined) throw lacking.error

  await using held = await connect(scratch.connection, signal, 'pgproof drill')
  const restored = await readRoles(held.client, scratch.major, read.manifest.rolePasswords ?? 'absent')
  const isSameMajor = scratch.major === read.manifest.source.major
  // Options of a membership that PostgreSQL knows since 16.
  const isExpected = ({ kind, facets }: StructureDifference): boolean =>
    kind === 'membership' &&
    read.manifest.source.major < 16 &&
    facets.length > 0 &&
    facets.every(({ facet, expected }) => expected === null && /^(?:inherit|set) option$/.test(facet))
  const compareThose = (isWanted: (object: StructureObject) => boolean): StructureAnswer => {
    const [expected, found] = [evidence.roles.filter(isWanted), restored.filter(isWanted)]
    return compareStructure({ expected, restored: found, isSameMajor, isExpected })
  }

  const { existing, created, refusedSettings } = replayed
  const isRefused = (object: StructureObject): boolean =>
    object.kind === 'role setting' && refusedSettings.some(({ role }) => role === roleOf(object))
  const { compared, differences } = compareThose(
    (object) => !existing.has(roleOf(object)) && !changed.has(roleOf(object)) && !isRefused(object),
  )
  if (differences.length > 0) throw rolesDiffer(differences)
  // Of a role that was there before, what the script says can be compared all the same.
  const wrongPasswords = evidence.roles.filter(
    (object) =>
      object.kind === 'role' &&
      !changed.has(roleOf(object)) &&
      replayed.keptPasswords.has(roleOf(object)) &&
      digestOf(replayed.keptPasswords.get(roleOf(object)) ?? null) !== object.facets['password'],
  )
  if (wrongPasswords.length > 0) throw rolesDiffer(wrongPasswords.map(passwordDiffers))

  // Roles that were there before are left as they are: they say nothing about the backup.
  const named = new Set(evidence.roles.filter(({ kind }) => kind === 'role').map(roleOf))
  const left = new Set([...named].filter((role) => existing.has(role)))
  findings.notes.push(
    ...refusedSettings.map(({ role, reason }) => `a setting of role ${role} is not possible here: ${reason}`),
    ...[...changed].map((role) => `role ${role} changed while pg_dumpall was reading: not compared`),
  )
  // The superuser of an embedded server is that server's own, and is another one by intent.
  if (scratchKind(request.scratch) === 'server')
    findings.notes.push(
      ...notesOfLeft(compareThose((object) => left.has(roleOf(object)) && !changed.has(roleOf(object))).differences),
    )
  const uncompared = notCompared(left.size, [...changed].filter((role) => !left.has(role)).length)
  if (compared === 0) return { result: 'skipped', detail: `nothing to compare${uncompared}` }
  const detail = `${created.length} roles created, ${compared} roles, memberships and settings as they were${uncompared}`
  return { result: 'passed', detail }
}

function digestOf(verifier: string | null): string | undefined {
  return verifier === null ? undefined : `sha256:${measureBytes(Buffer.from(verifier)).sha256}`
}

function passwordDiffers({ kind, name }: StructureObject): StructureDifference {
  return { kind, name, result: 'differs', facets: [{ facet: 'password', expected: null, restored: null }] }
}

function notCompared(left: number, changed: number): string {
  const reasons = [
    ...(left > 0 ? [`${left} that existed before`] : []),
    ...(changed > 0 ? [`${changed} that changed during the backup`] : []),
  ]
  return reasons.length === 0 ? '' : `; roles not compared: ${reasons.join(', ')}`
}

/** One line for each difference of roles that existed: what of it is not as it was, but no value. */
function notesOfLeft(differences: readonly StructureDifference[]): string[] {
  return differences.map(
    (one) => `existed on the scratch server and was left as it is, other than in the backup: ${differenceText(one)}`,
  )
}

function rolesDiffer(differences: readonly StructureDifference[]): PgproofError {
  const lines = differences.map(differenceText)
  const shown = lines.slice(0, 5).join('; ') + (lines.length > 5 ? `; and ${lines.length - 5} more` : '')
  return new PgproofError('ROLES_FAILED', { reason: `not what they were: ${shown}` }, { details: lines.join('\n') })
}
