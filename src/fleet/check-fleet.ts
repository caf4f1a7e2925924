import assert from 'node:assert/strict'
import type { Db } from 'pg-boss'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import type { FleetConfig } from '../config/fleet-config.ts'
import { PgproofError, toPgproofError } from '../errors.ts'
import { collect, type Finding, type Findings } from '../jobs/findings.ts'
import type { WorkerSign } from '../jobs/queue-view.ts'
import { type Client, type Connection, connect, isQueryFailure } from '../postgres/connect.ts'
import { isTransactionPooled } from '../postgres/facts.ts'
import { BossTables } from './boss-tables.ts'
import { mostOffsetMs } from './control.ts'
import { controlConnection } from './control-connection.ts'
import { controlReason, controlWords } from './control-words.ts'
import { queuesFor } from './entry-of.ts'
import { readSign } from './sign.ts'

type Look = {
  readonly fleet: FleetConfig
  readonly config: Pick<Config, 'servers'>
  readonly clock: Clock
  readonly findings: Findings
  readonly signal: AbortSignal
}

/** What this worker needs of the control database, and the fleet of its workers. Reads only. */
export async function checkFleet(
  fleet: FleetConfig,
  { config, clock }: Pick<Look, 'config' | 'clock'>,
  signal: AbortSignal,
): Promise<Finding[]> {
  const all: Finding[] = []
  const look = { fleet, config, clock, findings: collect('fleet', all), signal }
  await goOn(look, async () => {
    const connection = controlConnection(fleet)
    await using held = await connect(connection, signal, 'pgproof check')
    const { client } = held
    await goOn(look, () => checkPooler(client, connection, signal))
    const isInstalled = await goOn(look, () => checkRights(client, look))
    await goOn(look, () => checkClock(client, look))
    const signs = isInstalled === true ? await goOn(look, () => livingWorkers(client, look)) : []
    if (signs === undefined) return
    await goOn(look, () => checkName(signs, client, look))
    checkDuties(signs, look)
  })
  return all
}

/** What `work` gives; what it throws becomes a problem in the words of a control database, and the check goes on. */
async function goOn<T>({ findings, signal }: Look, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (thrown) {
    signal.throwIfAborted()
    const error = isQueryFailure(thrown)
      ? new PgproofError('FLEET_UNREACHABLE', { reason: controlReason(thrown) }, { cause: thrown })
      : toPgproofError(thrown)
    findings.problem(controlWords(error))
    return undefined
  }
}

async function checkPooler(client: Client, connection: Connection, signal: AbortSignal): Promise<void> {
  await using second = await connect(connection, signal, 'pgproof probe')
  if (await isTransactionPooled(client, second.client))
    throw new PgproofError('POOLER_DETECTED', { server: connection.server })
}

type Rights = {
  readonly version: string
  readonly role: string
  readonly database: string
  readonly is_standby: boolean
  readonly may_create: boolean
  readonly is_installed: boolean
  readonly may_look: boolean | null
  readonly may_use: boolean | null
  readonly owns: boolean | null
}

/** Whether the queue's tables are there; where they may not be used, or may not be made, that is a problem. */
async function checkRights(client: Client, { fleet: { schema }, findings }: Look): Promise<boolean> {
  // From the catalogs alone, so that a role without rights on the schema is answered, too.
  const { rows } = await client.query<Rights>(
    `SELECT pg_catalog.current_setting('server_version') AS version, current_user AS role,
            pg_catalog.current_database() AS database, pg_catalog.pg_is_in_recovery() AS is_standby,
            pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS may_create,
            j.oid IS NOT NULL AS is_installed, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS may_look,
            (SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege(c.oid, 'SELECT')
                AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
                AND pg_catalog.has_table_privilege(c.oid, 'DELETE'))
               FROM pg_catalog.pg_class c
              WHERE c.relnamespace = n.oid AND c.relname IN ('job', 'job_common', 'queue')) AS may_use,
            pg_catalog.pg_has_role(j.relowner, 'USAGE') AS owns
       FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1
       LEFT JOIN pg_catalog.pg_class j ON j.relnamespace = n.oid AND j.relname = 'job'`,
    [schema],
  )
  const [rights] = rows
  assert(rights !== undefined, 'a query of one row gave none')
  const { version, role, database, is_standby: isStandby, is_installed: isInstalled } = rights
  findings.ok(`control database: PostgreSQL ${version}, "${database}", as role "${role}"`)
  const missing = (what: string, mend: string): PgproofError =>
    new PgproofError('FLEET_RIGHTS_MISSING', { role, what, mend })
  if (isStandby) findings.problem(missing('write there: it is a standby', 'Name the primary in `fleet.url`.'))
  if (!isInstalled) {
    if (rights.may_create) findings.ok(`schema "${schema}" is made by the first worker`)
    else
      findings.problem(
        missing(
          `make the schema "${schema}"`,
          `GRANT CREATE ON DATABASE "${database}" TO "${role}", or make it the owner.`,
        ),
      )
    return false
  }
  if (rights.may_look !== true || rights.may_use !== true) {
    const mend = `Let all workers log in as one role that owns the schema, or give "${role}" that role.`
    findings.problem(missing(`use the tables in schema "${schema}"`, mend))
    return rights.may_look === true && rights.may_use === true
  }
  findings.ok(`the tables in schema "${schema}" may be used`)
  if (rights.owns !== true)
    findings.warn(
      `role "${role}" does not own the tables in schema "${schema}"`,
      'A version of pgproof that upgrades them must be started as their owner first: let all workers log in as one role.',
    )
  return true
}

async function checkClock(client: Client, { clock, findings }: Look): Promise<void> {
  const before = clock.now().getTime()
  const { rows } = await client.query<{ now: Date }>('SELECT pg_catalog.clock_timestamp() AS now')
  const after = clock.now().getTime()
  const offsetMs = (before + after) / 2 - (rows[0]?.now.getTime() ?? after)
  const seconds = String(Math.round(Math.abs(offsetMs) / 1000))
  if (Math.abs(offsetMs) <= mostOffsetMs) findings.ok(`its clock and this one differ by ${seconds} s`)
  else
    findings.problem(
      new PgproofError('FLEET_CLOCK_DIFFERS', { seconds, direction: offsetMs > 0 ? 'ahead of' : 'behind' }),
    )
}

async function livingWorkers(client: Client, { fleet: { schema, heartbeatMs } }: Look): Promise<readonly WorkerSign[]> {
  const db = { executeSql: (text: string, values?: unknown[]) => client.query(text, values) } as Db
  const tables = new BossTables(db, schema)
  const oldest = (await tables.now()).getTime() - heartbeatMs
  return (await tables.signs())
    .flatMap((data) => readSign(data) ?? [])
    .filter(({ seenAt }) => seenAt.getTime() > oldest)
}

/** The daemon of this machine has the name by right. It is known by its sessions, which come from the address of this one. */
async function checkName(signs: readonly WorkerSign[], client: Client, { fleet, findings }: Look): Promise<void> {
  const { worker } = fleet
  const others = signs.filter(({ name }) => name !== worker).map(({ name }) => name)
  findings.ok(`this worker is "${worker}"; others that live: ${others.sort().join(', ') || 'none'}`)
  if (others.length === signs.length) return
  const { rows } = await client.query(
    `SELECT FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()
        AND application_name = 'pgproof fleet' AND usename = current_user
        AND client_addr IS NOT DISTINCT FROM pg_catalog.inet_client_addr()`,
  )
  if (rows.length === 0)
    findings.warn(
      `a process that lives somewhere else calls itself "${worker}", too`,
      'Give each worker a `fleet.worker` of its own: of two with one name the earlier takes nothing.',
    )
}

/** What the schedules order and nobody takes. Before the first worker is started that is no fault yet. */
function checkDuties(signs: readonly WorkerSign[], { fleet, config, findings }: Look): void {
  const others = signs.filter(({ name }) => name !== fleet.worker)
  const places = { most: 2, taken: 0, takenByLong: 0 }
  const taken = new Set([fleet, ...others].flatMap((worker) => queuesFor(worker, places)))
  const isSomebodyThere = signs.length > 0
  for (const [queue, what] of needed(config)) {
    if (taken.has(queue)) continue
    const error = new PgproofError('FLEET_WORKER_MISSING', { what, queue })
    if (isSomebodyThere && queue !== 'prune') findings.problem(error)
    else findings.warn(error.message, error.hint)
  }
}

/** Queues, and what they are for in words. */
function needed({ servers }: Pick<Config, 'servers'>): ReadonlyMap<string, string> {
  const names = new Map<string, string[]>()
  const add = (job: 'backup' | 'drill', server: string, label: string | undefined): void => {
    const queue = label === undefined ? job : `${job}.${label}`
    names.set(queue, [...(names.get(queue) ?? []), server])
  }
  for (const { name, label, schedule } of servers) {
    if (schedule.backup !== undefined || schedule.roles !== undefined) add('backup', name, label)
    if (schedule.drill !== undefined) add('drill', name, label)
  }
  const needs = [...names].map(([queue, all]): [string, string] => {
    const shown = all.length > 5 ? `${all.slice(0, 5).join(', ')} and ${all.length - 5} more` : all.join(', ')
    return [queue, `${queue.startsWith('drill') ? 'drills' : 'backups'} of ${shown}`]
  })
  return new Map([...needs, ['prune', 'prunes of the whole store']])
}
