import { z } from 'zod'
import { PgproofError, reasonOf } from '../errors.ts'
import { isLabel } from './backup-label.ts'

/** The newest manifest format that this program writes and reads; a newer one is refused, never guessed. */
export const manifestFormat = 1

const count = z.int().nonnegative()
const instant = z.iso.datetime()
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const fingerprint = z.string().regex(/^[0-9A-F]{40}$/)
const label = z.string().refine(isLabel, 'not a label')

/** One stored object: its name within the backup's folder, its size in bytes and its SHA-256 as stored. */
const storedObject = z.strictObject({ name: z.string().regex(/^[A-Za-z][A-Za-z0-9._-]*$/), bytes: count, sha256 })

/** A statement about what is not inside, without naming tables; the encrypted evidence names them. */
const omission = z.strictObject({ kind: z.string(), objects: count })

export const manifestSchema = z.strictObject({
  format: z.literal(manifestFormat),
  kind: z.enum(['database', 'roles']),
  label,
  server: z.string(),
  /** Null for a roles backup. */
  database: z.string().nullable(),
  /** One for all stores of an installation. */
  storeId: z.string(),
  /** Those that it was written to at first; `pgproof sync` may have copied it to more. */
  stores: z.array(z.strictObject({ name: z.string(), url: z.string() })).min(1),
  pgproofVersion: z.string(),
  startedAt: instant,
  /** The instant that the dump is consistent with; for roles, when `pg_dumpall` started. */
  snapshotTime: instant,
  finishedAt: instant,
  source: z.strictObject({
    /** As the server prints it, `15.18 (Debian …)`. */
    version: z.string(),
    major: z.int().positive(),
    /** Decimal; from `pg_control_system()`. Drills compare it with the scratch server's. */
    systemIdentifier: z.string().regex(/^\d+$/),
    isStandby: z.boolean(),
    /** Bytes on disk of the database, for planning a drill's space; null for roles. Never evidence. */
    databaseBytes: count.nullable(),
  }),
  program: z.strictObject({ name: z.enum(['pg_dump', 'pg_dumpall']), version: z.string() }),
  dump: z.strictObject({
    /** What `pg_dump` wrote, before compression by pgproof and encryption. */
    bytes: count,
    sha256,
    /** `zstd` is applied by pgproof outside the archive; the others are pg_dump's own inside it. */
    compression: z.enum(['zstd', 'gzip', 'lz4', 'none']),
  }),
  objects: z.strictObject({ dump: storedObject, evidence: storedObject.nullable(), recovery: storedObject }),
  /** Fingerprints of the recipients' primary keys, and of the key that signs this manifest. */
  encryption: z.strictObject({ recipients: z.array(fingerprint).min(1), signer: fingerprint.nullable() }),
  evidence: z.strictObject({ level: z.enum(['digest', 'count', 'off']), tables: count, rows: count }),
  omissions: z.array(omission),
  /** Only for roles: whether the password verifiers are inside. */
  rolePasswords: z.enum(['present', 'absent']).nullable(),
  /** The backup of the same kind and database before this one, and the SHA-256 of its manifest as stored. */
  previous: z.strictObject({ label, sha256 }).nullable(),
})

export type Manifest = z.infer<typeof manifestSchema>
export type StoredObject = z.infer<typeof storedObject>
export type Omission = z.infer<typeof omission>

export function encodeManifest(manifest: Manifest): Uint8Array {
  return Buffer.from(`${JSON.stringify(manifestSchema.parse(manifest), null, 2)}\n`)
}

/** Throws `STORE_FORMAT_NEWER` or `STORE_FORMAT_INVALID`; `what` names the object in the message. */
export function decodeManifest(bytes: Uint8Array, what: string): Manifest {
  return decodeVersioned(bytes, manifestSchema, manifestFormat, what)
}

/** Shared by every JSON document of the store: a newer `format` is told apart from a broken document. */
export function decodeVersioned<T>(bytes: Uint8Array, schema: z.ZodType<T>, knownFormat: number, what: string): T {
  let document: unknown
  try {
    document = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    throw new PgproofError('STORE_FORMAT_INVALID', { what, reason: reasonOf(error) }, { cause: error })
  }
  const format = typeof document === 'object' && document !== null && 'format' in document ? document.format : undefined
  if (typeof format === 'number' && format > knownFormat)
    throw new PgproofError('STORE_FORMAT_NEWER', { what, found: format, known: knownFormat })
  const parsed = schema.safeParse(document)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new PgproofError('STORE_FORMAT_INVALID', {
    what,
    reason: `${issue?.path.join('.') || 'document'}: ${issue?.message ?? 'invalid'}`,
  })
}
