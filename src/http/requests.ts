import { z } from 'zod'
import { isLabel } from '../domain/backup-label.ts'
import { PgproofError } from '../errors.ts'

/** What requests may hold. Unknown fields are refused: a misspelt one would order something else than was meant. */

const name = z.string().min(1).max(256)
const label = z.string().refine(isLabel, 'not a label').describe('A label, like `20261120T020000Z-4f7k`.')
const page = {
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe('How many at most.'),
  cursor: z.string().min(1).max(2000).optional().describe('`next` of the page before.'),
}

/** Of routes that other programs call, which may add what they like. */
export const anyQuery = z.unknown()
export const noQuery = z.strictObject({})

export const placeQuery = z.strictObject({
  kind: z.enum(['database', 'roles']).optional(),
  server: name.optional(),
  database: name.optional(),
})
export const backupsQuery = placeQuery.extend(page)
export const drillsQuery = z.strictObject({ server: name.optional(), database: name.optional(), ...page })
export const runsQuery = z.strictObject({
  server: name.optional(),
  database: name.optional(),
  job: z.enum(['backup', 'roles', 'drill', 'prune', 'sync']).optional(),
  state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled', 'inconclusive']).optional(),
  ...page,
})

export const labelParams = z.strictObject({ label: z.string().describe('A label, like `20261120T020000Z-4f7k`.') })
export const runParams = z.strictObject({ id: z.string() })

export const drillOrder = z
  .strictObject({
    server: name.describe('The name of a configured server.'),
    database: name.optional().describe('Without it: every database of the server that has a backup.'),
    backup: label.optional().describe('The label of the backup to drill; without it one is picked.'),
    pick: z
      .enum(['random', 'latest'])
      .optional()
      .describe('How to pick; `drill.pick` of the configuration by default.'),
    seed: z.int().nonnegative().optional().describe('Decides a random pick: the same seed picks the same backup.'),
  })
  .refine(({ backup, pick, seed }) => backup === undefined || (pick === undefined && seed === undefined), {
    message: 'names the backup, so there is nothing for pick and seed to decide',
    path: ['backup'],
  })
  .refine(({ backup, database }) => backup === undefined || database !== undefined, {
    message: 'a backup is one of a database, which has to be named',
    path: ['database'],
  })

export const backupOrder = z
  .strictObject({
    server: name.describe('The name of a configured server.'),
    database: name.optional().describe('The database to back up.'),
    roles: z.literal(true).optional().describe('Back up the roles of the server instead.'),
  })
  .refine(({ database, roles }) => (database === undefined) !== (roles === undefined), {
    message: 'give either a database or `"roles": true`',
    path: ['database'],
  })

/** Throws REQUEST_INVALID, which says where in the request what is wrong. */
export function checked<T extends z.ZodType>(schema: T, value: unknown, part: 'path' | 'query' | 'body'): z.output<T> {
  const { success, data, error } = schema.safeParse(value)
  if (success) return data
  const faults = error.issues.slice(0, 5).map(({ path, message }) => `${[part, ...path].join('.')}: ${message}`)
  throw new PgproofError('REQUEST_INVALID', { reason: faults.join('; ') })
}
