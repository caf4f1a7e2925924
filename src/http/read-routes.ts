import type { CatalogBackup } from '../catalog/catalog.ts'
import { PgproofError } from '../errors.ts'
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
import { pageOf } from './pages.ts'
import { backupsQuery, drillsQuery, labelParams, placeQuery } from './requests.ts'
import { type Route, route } from './route.ts'
import { readStatus, statusSchema } from './status.ts'

/** What the store and this process know; changes nothing. */
export function readRoutes(parts: HttpParts): Route[] {
  const { catalog } = parts.installation
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
      handle: ({ params: { label }, query }) => ({ status: 200, body: backupDetailsAnswer(findBackup(label, query)) }),
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
      handle: ({ params: { label } }) => {
        const report = catalog.findDrill(label)
        if (report === undefined) throw new PgproofError('LABEL_UNKNOWN', { label })
        return { status: 200, body: drillDetailsAnswer(report) }
      },
    }),
  ]

  function findBackup(label: string, place: Place): CatalogBackup {
    try {
      const backup = catalog.find(label, defined(place))
      if (backup !== undefined) return backup
    } catch (error) {
      if (!(error instanceof PgproofError) || error.code !== 'USAGE_INVALID') throw error
      throw new PgproofError('REQUEST_INVALID', { reason: error.message }, { cause: error })
    }
    throw catalog.absenceOf(label)
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
