import type { CatalogBackup } from '../catalog/catalog.ts'
import { isLabel } from '../domain/backup-label.ts'
import { PgproofError, rethrowUnless } from '../errors.ts'
import {
  backupAnswer,
  backupDetailsAnswer,
  backupDetailsSchema,
  backupSchema,
  drillAnswer,
  drillDetailsAnswer,
  drillDetailsSchema,
  drillSchema,
  pageOfSchema,
} from './answers.ts'
import type { HttpParts } from './http-parts.ts'
import { LookAgain } from './look-again.ts'
import { pageOf } from './pages.ts'
import { queueAnswer, queueSchema } from './queue-answer.ts'
import { backupsQuery, drillsQuery, labelParams, placeQuery } from './requests.ts'
import { type Route, route } from './route.ts'
import { readStatus, statusSchema } from './status.ts'

/** What the store and this process know; changes nothing. */
export function readRoutes(parts: HttpParts): Route[] {
  const { catalog } = parts.installation
  const lookAgain = new LookAgain(parts)
  return [
    route({
      method: 'GET',
      path: '/v1/status',
      access: 'read',
      summary: 'What is protected, what is proven, what goes on and what went wrong.',
      answers: { 200: { description: 'The status.', schema: statusSchema } },
      handle: () => ({ status: 200, body: readStatus(parts) }),
    }),
    route({
      method: 'GET',
      path: '/v1/queue',
      access: 'read',
      summary: 'The queue and its workers: of the fleet, or of this process where there is none.',
      answers: { 200: { description: 'What waits, what goes on, and who does it.', schema: queueSchema } },
      handle: () => ({ status: 200, body: queueAnswer(parts.queueView()) }),
    }),
    route({
      method: 'GET',
      path: '/v1/backups',
      access: 'read',
      summary: 'The backups in the store, newest first.',
      query: backupsQuery,
      answers: { 200: { description: 'A page of them.', schema: pageOfSchema(backupSchema) } },
      handle: ({ query }) => {
        const backups = catalog.backups(defined({ kind: query.kind, server: query.server, database: query.database }))
        const { items, next } = pageOf(backups, query, ({ snapshotTime, folder }) => ({
          at: snapshotTime,
          key: folder,
        }))
        return { status: 200, body: { items: items.map(backupAnswer), next } }
      },
    }),
    route({
      method: 'GET',
      path: '/v1/backups/:label',
      access: 'read',
      summary: 'One backup with its manifest.',
      params: labelParams,
      query: placeQuery,
      answers: { 200: { description: 'The backup.', schema: backupDetailsSchema } },
      refusals: ['LABEL_UNKNOWN', 'BACKUP_PRUNED'],
      handle: async ({ params: { label }, query }) => {
        const backup = findBackup(label, query) ?? (await lookForBackup(label, query))
        if (backup === undefined) throw catalog.absenceOf(label)
        return { status: 200, body: backupDetailsAnswer(backup) }
      },
    }),
    route({
      method: 'GET',
      path: '/v1/drills',
      access: 'read',
      summary: 'The drills whose reports are in the store, newest first.',
      query: drillsQuery,
      answers: { 200: { description: 'A page of them.', schema: pageOfSchema(drillSchema) } },
      handle: ({ query }) => {
        const drills = catalog.drills(defined({ server: query.server, database: query.database }))
        const { items, next } = pageOf(drills, query, ({ finishedAt, server, database, label }) => ({
          at: new Date(finishedAt),
          key: JSON.stringify([server, database, label]),
        }))
        return { status: 200, body: { items: items.map(drillAnswer), next } }
      },
    }),
    route({
      method: 'GET',
      path: '/v1/drills/:label',
      access: 'read',
      summary: 'One drill with its checks and phases.',
      params: labelParams,
      answers: { 200: { description: 'The drill.', schema: drillDetailsSchema } },
      refusals: ['LABEL_UNKNOWN'],
      handle: async ({ params: { label } }) => {
        if (catalog.findDrill(label) === undefined && isLabel(label)) await lookAgain.everywhere()
        const report = catalog.findDrill(label)
        if (report === undefined) throw new PgproofError('LABEL_UNKNOWN', { label })
        return { status: 200, body: drillDetailsAnswer(report) }
      },
    }),
  ]

  /** Once more, after a look at the store, unless it is known why there is none. */
  async function lookForBackup(label: string, place: Place): Promise<CatalogBackup | undefined> {
    if (!isLabel(label) || catalog.absenceOf(label).code !== 'LABEL_UNKNOWN') return undefined
    const { kind, server, database } = place
    if (server !== undefined && database !== undefined && kind !== 'roles')
      await lookAgain.at({ kind: 'database', server, database })
    else if (server !== undefined && kind === 'roles') await lookAgain.at({ kind, server, database: null })
    else await lookAgain.everywhere()
    return findBackup(label, place)
  }

  function findBackup(label: string, place: Place): CatalogBackup | undefined {
    try {
      return catalog.find(label, defined(place))
    } catch (error) {
      rethrowUnless(error, PgproofError)
      throw new PgproofError('REQUEST_INVALID', { reason: error.message }, { cause: error })
    }
  }
}

type Place = {
  readonly kind?: 'database' | 'roles' | undefined
  readonly server?: string | undefined
  readonly database?: string | undefined
}

/** Without the fields that are undefined. */
function defined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
