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
import { decryptBytes } from '../encryption/decrypt.ts'
import type { PrivateKeys } from '../encryption/keys.ts'
import { PgproofError } from '../errors.ts'
import { connect } from '../postgres/connect.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { measureBytes } from '../streams/measure.ts'
import { readRoles, roleOf } from '../structure/roles.ts'
import type { DrillParts, DrillRequest } from './drill-request.ts'
import { checkSignature, type ReadManifest, readManifest, readObject, readRolesEvidence } from './read-backup.ts'
import type { ScratchServer } from './scratch.ts'

const graceMs = 8 * 24 * 3_600_000

export type RolesPlace = {
  /** Of the backup whose roles are wanted. */
  readonly manifest: Manifest
  readonly scratch: ScratchServer
  /** Gets the roles backup, once its manifest is trusted, and notes of what was not compared. */
  readonly findings: { rolesBackup: DrillReport['rolesBackup']; readonly notes: string[] }
}

type Request = Pick<DrillRequest, 'keys' | 'trustedSigners' | 'scratch'>
type Parts = Pick<DrillParts, 'catalog' | 'store'>

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

/**
 * Of the newest roles backup that is at most eight days younger than the backup, because roles are taken weekly and a
 * new role is in the next one; else of the newest there is.
 */
async function restoreRoles(
  { manifest, scratch, findings }: RolesPlace,
  request: Request,
  parts: Parts,
  signal: AbortSignal,
): Promise<{ result: 'passed' | 'skipped'; detail: string }> {
  const latest = new Date(manifest.snapshotTime).getTime() + graceMs
  const candidates = parts.catalog.backups({ server: manifest.server, kind: 'roles' })
  const chosen =
    candidates.find((candidate) => new Date(candidate.manifest.snapshotTime).getTime() <= latest) ?? candidates[0]
  if (chosen === undefined) return { result: 'skipped', detail: 'no roles backup in the store' }
  const read = await readManifest(chosen, parts.store, signal)
  await checkSignature(read, request.trustedSigners, parts.store, signal)
  findings.rolesBackup = { label: read.manifest.label, manifestSha256: read.sha256 }
  const script = await readRolesScript(read, request.keys, parts.store, signal)
  const evidence = await readRolesEvidence(read, request.keys, parts.store, signal)
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
  if (request.scratch.kind === 'server')
    findings.notes.push(
      ...notesOfLeft(compareThose((object) => left.has(roleOf(object)) && !changed.has(roleOf(object))).differences),
    )
  const uncompared = notCompared(left.size, [...changed].filter((role) => !left.has(role)).length)
  if (compared === 0) return { result: 'skipped', detail: `nothing to compare${uncompared}` }
  const detail = `${created.length} roles created, ${compared} roles, memberships and settings as they were${uncompared}`
  return { result: 'passed', detail }
}

/** The script of one roles backup. It holds password verifiers. Throws OBJECT_MISMATCH or keys' errors. */
export async function readRolesScript(
  read: ReadManifest,
  keys: PrivateKeys,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<string> {
  const entry = read.manifest.objects.dump
  const key = `${read.folder}${entry.name}`
  const script = await decryptBytes(await readObject(read, entry, store, signal), keys, key)
  if (measureBytes(script).sha256 !== read.manifest.dump.sha256)
    throw new PgproofError('OBJECT_MISMATCH', { key, reason: 'the roles inside are not those of the manifest' })
  return Buffer.from(script).toString('utf8')
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
