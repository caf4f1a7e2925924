import { z } from 'zod'
import { boundSchema } from './evidence.ts'
import { decodeVersioned } from './manifest.ts'
import { structureObject } from './structure.ts'

/** What the roles of a server were when `pg_dumpall` wrote them. Stored encrypted: it names every role. */
export const rolesEvidenceFormat = 1

const rolesEvidenceSchema = z.strictObject({
  format: z.literal(rolesEvidenceFormat),
  label: z.string(),
  server: z.string(),
  /** What the manifest must say. */
  manifest: boundSchema,
  /** Roles, memberships, settings and rights on parameters, besides those that changed meanwhile. */
  roles: z.array(structureObject),
  /** Roles that were created, altered or dropped meanwhile: the script may have them either way. */
  changed: z.array(z.string()),
})

export type RolesEvidence = z.infer<typeof rolesEvidenceSchema>

export function encodeRolesEvidence(evidence: RolesEvidence): Uint8Array {
  return Buffer.from(`${JSON.stringify(rolesEvidenceSchema.parse(evidence))}\n`)
}

export function decodeRolesEvidence(bytes: Uint8Array, what: string): RolesEvidence {
  return decodeVersioned(bytes, rolesEvidenceSchema, rolesEvidenceFormat, what)
}
